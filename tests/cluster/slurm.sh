#!/usr/bin/env bash
# A real Slurm on this machine for tests: bash tests/cluster/slurm.sh start DIR ... stop DIR
#
# Needs root and Debian's slurm-wlm and munge. Two nodes on loopback: `node-cpu` in partition `cpu`, and
# `node-gpu` in partition `gpu` with two devices that Slurm takes for GPUs. All state is below DIR, except
# the link /etc/slurm/slurm.conf (Snakemake's job step drops SLURM_CONF) and munge's key and socket.
set -euo pipefail
action=$1
dir=$(realpath -m "$2")
conf=$dir/etc/slurm.conf
host=$(hostname -s)

start() {
  if [ -e /etc/slurm/slurm.conf ] && ! grep -qs '^ClusterName=seglibtest$' /etc/slurm/slurm.conf; then
    echo "slurm.sh: /etc/slurm/slurm.conf belongs to a cluster; this script replaces only its own" >&2
    exit 1
  fi
  mkdir -p "$dir"/{etc,state,log,spool-cpu,spool-gpu}
  configure
  install -d -o munge -g munge -m 0755 /run/munge
  install -d -o munge -g munge -m 0700 /var/lib/munge /var/log/munge
  if [ ! -e /etc/munge/munge.key ]; then
    install -d -o munge -g munge -m 0700 /etc/munge
    (umask 377 && head -c 1024 /dev/urandom >/etc/munge/munge.key)
    chown munge: /etc/munge/munge.key
  fi
  if ! munge -n 2>/dev/null | unmunge >/dev/null 2>&1; then
    runuser -u munge -- /usr/sbin/munged
    touch "$dir/own-munged"
  fi
  ln -sf "$conf" /etc/slurm/slurm.conf
  slurmctld -f "$conf"
  slurmd -f "$conf" -N node-cpu
  slurmd -f "$conf" -N node-gpu
  for _ in $(seq 60); do
    [ "$(sinfo -h -N -o %t 2>/dev/null | grep -c idle)" = 2 ] && return
    sleep 0.5
  done
  echo "slurm.sh: the nodes did not come up; see $dir/log" >&2
  tail -n 5 "$dir"/log/*.log >&2
  exit 1
}

configure() {
  # CPUs and memory are what Slurm hands out, not what the machine has: the jobs of the tests are small.
  cat >"$conf" <<C
ClusterName=seglibtest
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
SlurmctldPort=16817
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$dir/log/jobcomp.txt
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
MinJobAge=3600
KillWait=5
GresTypes=gpu
NodeName=node-cpu NodeHostname=$host NodeAddr=127.0.0.1 Port=16818 CPUs=16 RealMemory=200000
NodeName=node-gpu NodeHostname=$host NodeAddr=127.0.0.1 Port=16819 CPUs=16 RealMemory=200000 Gres=gpu:2
PartitionName=cpu Nodes=node-cpu Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=node-gpu MaxTime=INFINITE State=UP
C
  for i in 0 1; do [ -e "$dir/gpu$i" ] || mknod "$dir/gpu$i" c 1 5; done  # harmless devices, like /dev/zero
  echo "NodeName=node-gpu Name=gpu File=$dir/gpu[0-1]" >"$dir/etc/gres.conf"
}

stop() {
  local pid
  scancel --user="$(id -un)" 2>/dev/null || true
  for _ in $(seq 100); do
    [ -z "$(squeue -h 2>/dev/null)" ] && break
    sleep 0.1
  done
  for pid in "$dir"/slurmd-*.pid "$dir"/slurmctld.pid; do
    [ -e "$pid" ] && kill "$(cat "$pid")" 2>/dev/null || true
  done
  [ -e "$dir/own-munged" ] && kill "$(cat /run/munge/munged.pid)" 2>/dev/null || true
  [ "$(readlink /etc/slurm/slurm.conf)" = "$conf" ] && rm /etc/slurm/slurm.conf || true
}

stop_controller() {
  local pid
  pid=$(cat "$dir/slurmctld.pid")
  kill "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
}

case $action in
  start | stop) "$action" ;;
  start-controller) slurmctld -f "$conf" ;;
  stop-controller) stop_controller ;;
  *) echo "usage: slurm.sh start|stop|start-controller|stop-controller DIR" >&2 && exit 2 ;;
esac

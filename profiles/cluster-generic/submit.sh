#!/bin/sh
# Submit a job script and print the scheduler's id of the job:
#   submit.sh --queue Q --cpus N --gpus N --mem-mb N --minutes N SCRIPT
set -eu
while [ $# -gt 1 ]; do
  case $1 in
    --queue) queue=$2 ;;
    --cpus) cpus=$2 ;;
    --gpus) gpus=$2 ;;
    --mem-mb) mem_mb=$2 ;;
    --minutes) minutes=$2 ;;
    *) echo "submit.sh: $1 is no option" >&2 && exit 2 ;;
  esac
  shift 2
done
script=$1
logs=$PWD/logs/cluster
mkdir -p "$logs"
name=$(basename "$script" .sh)

if command -v qsub >/dev/null; then # PBS Professional, OpenPBS
  # PATH alone: everybody can read a job's variables with `qstat -f`, and some may be secret.
  qsub -N seglib -v PATH="$PATH" -q "$queue" -j oe -o "$logs/" \
    -l "select=1:ncpus=$cpus:ngpus=$gpus:mem=${mem_mb}mb" -l "walltime=$((minutes * 60))" "$script"
elif command -v bsub >/dev/null; then # LSF; a training gets SIGTERM two minutes before its limit
  [ "$gpus" = 0 ] || set -- -gpu "num=$gpus" "$script"
  bsub -J "$name" -q "$queue" -n "$cpus" -R "span[hosts=1]" -M "${mem_mb}MB" -W "$minutes" \
    -wa TERM -wt 2 -oo "$logs/%J.log" "$@" | sed -n 's/^Job <\([0-9]*\)>.*/\1/p'
elif command -v sbatch >/dev/null; then # Slurm, for which profiles/slurm does more
  [ "$gpus" = 0 ] || set -- --gpus="$gpus" "$script"
  sbatch --parsable --job-name="$name" --partition="$queue" --ntasks=1 --cpus-per-task="$cpus" \
    --mem="$mem_mb" --time="$minutes" --output="$logs/%j.log" "$@"
else
  echo "submit.sh: none of qsub, bsub, sbatch is on PATH; submit from a login node" >&2
  exit 1
fi

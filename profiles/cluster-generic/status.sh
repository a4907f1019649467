#!/bin/sh
# What became of a job: prints running, success or failed. While the scheduler does not answer: running, since
# a job that is taken for failed would be started a second time.
#   status.sh ID
set -u
id=$1

if command -v qstat >/dev/null; then # PBS: -x knows finished jobs too
  told=$(qstat -x -f "$id" 2>&1)
  state=$(echo "$told" | sed -n 's/^ *job_state = //p')
  code=$(echo "$told" | sed -n 's/^ *Exit_status = //p')
  case $state:$code in F:0) state=success ;; F:*) state=failed ;; esac
  case $told in *"Unknown Job Id"*) state=failed ;; esac
elif command -v bjobs >/dev/null; then # LSF
  told=$(bjobs -noheader -o stat "$id" 2>&1)
  case $told in DONE) state=success ;; EXIT | ZOMBI | *"is not found"*) state=failed ;; *) state=running ;; esac
else
  told=$(scontrol show job "$id" 2>&1)
  state=$(echo "$told" | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p' | head -n 1)
  case $state in
    COMPLETED) state=success ;;
    BOOT_FAIL | CANCELLED | DEADLINE | FAILED | NODE_FAIL | OUT_OF_MEMORY | TIMEOUT) state=failed ;;
  esac
  case $told in *"Invalid job id"*) state=failed ;; esac
fi
case $state in success | failed) echo "$state" ;; *) echo running ;; esac

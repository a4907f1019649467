#!/bin/sh
# End jobs, when Snakemake is interrupted: cancel.sh ID...
for command in qdel bkill scancel; do
  command -v $command >/dev/null && exec $command "$@"
done

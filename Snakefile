"""seglib: train, test and judge semantic segmentation methods.

    snakemake --cores all                                    the embedded data set, minutes on a CPU
    snakemake --cores all --configfile config/camvid.yaml    CamVid

Targets: `all` (default) builds reports/index.html; any single file is a target too. The settings
are explained in config/README.md, the rules are in workflow/rules.
"""

import shlex
import sys

# Rules call `python -m seglib`: from this checkout, whatever the working folder or environment.
sys.path.insert(0, workflow.basedir)
shell.prefix(f"export PYTHONPATH={shlex.quote(workflow.basedir)}:$PYTHONPATH; ")


if not workflow.configfiles:

    configfile: "config/default.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/cells.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        list_results,  # a page of what a failed run had would satisfy Snakemake by itself
        "<reports>/index.html",


onerror:
    shell(
        "python -m seglib report --config {CONFIG_JSON:q} --results {RESULTS:q} --out {REPORTS:q} --partial"
    )

"""seglib: train, test and judge semantic segmentation methods.

    snakemake --cores all                                    the embedded data set, minutes on a CPU
    snakemake --cores all --configfile config/camvid.yaml    CamVid

Targets: `all` (default) builds reports/index.html, `ablation_<name>` the page of config/ablations/<name>.yaml;
any single file is a target too. The settings are explained in config/README.md, the rules are in workflow/rules.
"""

import os
import shlex
import sys

# Rules call `python -m seglib`: from this checkout, whatever the working folder or environment.
sys.path.insert(0, workflow.basedir)
# `exec`: the shell becomes the step, which so gets the signals itself. A shell that waits for its step would die
# of a cluster's SIGTERM at once, and the step with it, before its checkpoint.
shell.prefix(f"export PYTHONPATH={shlex.quote(workflow.basedir)}:$PYTHONPATH; exec ")


# Only with `--sdm apptainer`; the Containerfile says how to build it.
container: "seglib.sif"


if not workflow.configfiles:

    configfile: "config/default.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/cells.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        RUN.list_results,  # a page of what a failed run had would satisfy Snakemake by itself
        "<reports>/index.html",


for ablation_name in RUN.ablations:

    rule:
        name:
            f"ablation_{ablation_name}"
        input:
            RUN.list_ablation_results(ablation_name),  # as for `all`
            f"<reports>/ablations/{ablation_name}/index.html",


onerror:
    for wanted, folder in list_wanted_reports():
        shell(
            "python -m seglib report --config {wanted:q} --results {RUN.config.results:q} --out {folder:q} --partial"
        )
        # Older than any result, so that the next run does not take this page for the whole one. (Snakemake
        # takes the time 0 for none.)
        os.utime(f"{folder}/index.html", (1, 1))

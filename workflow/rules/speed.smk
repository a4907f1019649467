"""How fast the models of a configuration are: `snakemake --cores all speeds`.

No default target, since its numbers belong to the machine that runs it. It has the machine to itself.
"""


rule speed:
    output:
        "<results>/speed/{model}.json",
    log:
        "<logs>/speed/{model}.log",
    conda:
        "../../environment.yml"
    threads: ALL_CORES
    resources:
        gpu=min(1, GPUS),
        cpus_per_task=8,
        mem_mb=grow(16000),
        runtime=grow(60),
    params:
        model=describe_model,
        code=digest_model_code("speed"),
        run=RunSetting(device=PLAN.config.device),
        python=launch,
    shell:
        "{params.python} -m seglib speed {params.model:q} --out {output:q} {params.run} > {log:q} 2>&1"


rule speeds:
    input:
        [file.replace(f"{RESULTS}/models/", f"{RESULTS}/speed/") for file in COSTS],

"""One cell: trained, tested, scored; and the cost of its model.

Memory (MB) and time (minutes) are what a cluster reserves: guesses that suit Cityscapes on one GPU, and
`set-resources` of a profile overrides them. A training that meets its limit goes on in the next attempt.
"""


rule train:
    input:
        manifest=find_manifest,
    output:
        model="<results>/cells/{cell}/train/model.safetensors",
        cell="<results>/cells/{cell}/train/cell.json",
        log="<results>/cells/{cell}/train/train_log.jsonl",
        provenance="<results>/cells/{cell}/train/provenance.json",
    log:
        "<logs>/cells/{cell}/train.log",
    conda:
        "../../environment.yml"
    threads: count_training_threads
    resources:
        gpu=count_training_gpus,
        cpus_per_task=count_training_cpus,
        mem_mb=grow(24000),
        runtime=grow(720),
    params:
        cell=describe_cell,
        data_digest=digest_data,
        code=digest_method_code("train"),
        folder=subpath(output.model, ancestor=2),
        data=subpath(input.manifest, parent=True),
        run=choose_training_options,
        python=launch,
    shell:
        "{params.python} -m seglib train --cell {params.cell:q} --data {params.data:q}"
        " --out {params.folder:q}/train --checkpoints {params.folder:q}/checkpoints"
        " {params.run} > {log:q} 2>&1"


rule predict:
    input:
        manifest=find_manifest,
        model="<results>/cells/{cell}/train/model.safetensors",
    output:
        directory("<results>/cells/{cell}/{test}/predictions"),
    log:
        "<logs>/cells/{cell}/{test}/predict.log",
    conda:
        "../../environment.yml"
    threads: count_training_threads
    resources:
        gpu=min(1, GPUS),
        cpus_per_task=count_cpus,
        mem_mb=grow(16000),
        runtime=grow(240),
    params:
        protocol=describe_protocol,
        split=name_split,
        data_digest=digest_data,
        code=digest_method_code("predict"),
        model=subpath(input.model, parent=True),
        data=subpath(input.manifest, parent=True),
        run=RunSetting(device=PLAN.config.device, workers=PLAN.config.workers),
        python=launch,
    shell:
        "{params.python} -m seglib predict --model {params.model:q} --data {params.data:q}"
        " --split {params.split} --protocol {params.protocol:q} --out {output:q}"
        " {params.run} > {log:q} 2>&1"


rule score:
    input:
        manifest=find_manifest,
        predictions="<results>/cells/{cell}/{test}/predictions",
    output:
        metrics="<results>/cells/{cell}/{test}/metrics.json",
        counts="<results>/cells/{cell}/{test}/counts.npz",
    log:
        "<logs>/cells/{cell}/{test}/score.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=grow(8000),
        runtime=grow(120),
    params:
        split=name_split,
        data=subpath(input.manifest, parent=True),
        data_digest=digest_data,
        num_classes=count_classes,
        boundary_ratio=PLAN.config.boundary_ratio,
        images=choose_scored_images,
        code=digest_code("score"),
    shell:
        "python -m seglib score --predictions {input.predictions:q} --labels {params.data:q}/labels/{params.split}"
        " --num-classes {params.num_classes} --class-names {params.data:q}/classes.txt"
        " --boundary-ratio {params.boundary_ratio} {params.images} --out {output.metrics:q}"
        " --workers {threads} > {log:q} 2>&1"


rule complexity:
    output:
        "<results>/models/{model}.json",
    log:
        "<logs>/models/{model}.log",
    conda:
        "../../environment.yml"
    params:
        model=describe_model,
        code=digest_model_code("complexity"),
    shell:
        "python -m seglib complexity {params.model:q} --out {output:q} > {log:q} 2>&1"


rule speed:
    output:
        "<results>/models/{model}.speed.json",
    log:
        "<logs>/models/{model}.speed.log",
    conda:
        "../../environment.yml"
    threads: ALL_CORES  # so that nothing runs beside a timing
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
        "{params.python} -m seglib speed {params.model:q} {params.run} --out {output:q} > {log:q} 2>&1"

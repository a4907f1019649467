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
    benchmark:
        "<logs>/cells/{cell}/train.tsv"
    wildcard_constraints:
        cell=RUN.cells_to_train,
    conda:
        "../../environment.yml"
    threads: RUN.count_training_threads
    resources:
        gpu=RUN.count_training_gpus,
        cpus_per_task=RUN.count_training_cpus,
        mem_mb=grow(24000),
        runtime=grow(720),
    params:
        cell=RUN.describe_cell,
        data_digest=digest_data,
        code=RUN.digest_code("train"),
        folder=subpath(output.model, ancestor=2),
        data=subpath(input.manifest, parent=True),
        run=RUN.options("train", "device", "workers", "checkpoint_interval_s", "cache"),
        seglib=RUN.launch,
    shell:
        "{params.seglib} train --cell {params.cell:q} --data {params.data:q}"
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
    benchmark:
        "<logs>/cells/{cell}/{test}/predict.tsv"
    wildcard_constraints:
        cell=RUN.cells_to_test,
    conda:
        "../../environment.yml"
    threads: RUN.count_training_threads
    resources:
        gpu=RUN.gpus,
        cpus_per_task=RUN.count_cpus,
        mem_mb=grow(16000),
        runtime=grow(240),
    params:
        protocol=RUN.describe_protocol,
        split=RUN.name_split,
        data_digest=digest_data,
        code=RUN.digest_code("predict"),
        model=subpath(input.model, parent=True),
        data=subpath(input.manifest, parent=True),
        run=RUN.options("predict", "device", "workers"),
        seglib=RUN.launch,
    shell:
        "{params.seglib} predict --model {params.model:q} --data {params.data:q}"
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
    benchmark:
        "<logs>/cells/{cell}/{test}/score.tsv"
    wildcard_constraints:
        cell=RUN.cells_to_test,
    conda:
        "../../environment.yml"
    resources:
        mem_mb=grow(8000),
        runtime=grow(120),
    params:
        split=RUN.name_split,
        data=subpath(input.manifest, parent=True),
        data_digest=digest_data,
        num_classes=RUN.count_classes,
        boundary_ratio=RUN.config.boundary_ratio,
        images=RUN.choose_scored_images,
        code=RUN.digest_code("score"),
        run=RUN.options("score"),
        seglib=RUN.launch,
    shell:
        "{params.seglib} score --predictions {input.predictions:q} --labels {params.data:q}/labels/{params.split}"
        " --num-classes {params.num_classes} --class-names {params.data:q}/classes.txt"
        " --boundary-ratio {params.boundary_ratio} {params.images} --out {output.metrics:q}"
        " --workers {threads} {params.run} > {log:q} 2>&1"


rule complexity:
    output:
        "<results>/models/{model}.json",
    log:
        "<logs>/models/{model}.log",
    benchmark:
        "<logs>/models/{model}.tsv"
    wildcard_constraints:
        model=RUN.models_to_measure,
    conda:
        "../../environment.yml"
    params:
        model=RUN.describe_model,
        code=RUN.digest_code("complexity"),
        run=RUN.options("complexity"),
        seglib=RUN.launch,
    shell:
        "{params.seglib} complexity {params.model:q} --out {output:q} {params.run} > {log:q} 2>&1"


rule speed:
    output:
        "<results>/models/{model}.speed.json",
    log:
        "<logs>/models/{model}.speed.log",
    benchmark:
        "<logs>/models/{model}.speed.tsv"
    wildcard_constraints:
        model=RUN.models_to_measure,
    conda:
        "../../environment.yml"
    threads: ALL_CORES  # so that nothing runs beside a timing
    resources:
        gpu=RUN.gpus,
        cpus_per_task=8,
        mem_mb=grow(16000),
        runtime=grow(60),
    params:
        model=RUN.describe_model,
        code=RUN.digest_code("speed"),
        run=RUN.options("speed", "device"),
        seglib=RUN.launch,
    shell:
        "{params.seglib} speed {params.model:q} {params.run} --out {output:q} > {log:q} 2>&1"

"""Data sets: fetched and checked, then converted to images, label maps and a manifest."""


# Nodes of a cluster often reach no network: fetched where Snakemake runs, whose environment holds the accounts.
localrules:
    download,


rule download:
    output:
        "<data>/{dataset}/raw/source.json",
    log:
        "<logs>/data/{dataset}/download.log",
    benchmark:
        "<logs>/data/{dataset}/download.tsv"
    retries: 2
    conda:
        "../../environment.yml"
    params:
        code=RUN.digest_code("download"),
        out=subpath(output[0], parent=True),
        data_root=RUN.choose_data_root,
        run=RUN.options("download"),
        seglib=RUN.launch,
    shell:
        "{params.seglib} download {wildcards.dataset} --out {params.out:q} {params.data_root:q} {params.run}"
        " > {log:q} 2>&1"


checkpoint prepare:
    input:
        "<data>/{dataset}/raw/source.json",
    output:
        manifest="<data>/{dataset}/manifest.json",
    log:
        "<logs>/data/{dataset}/prepare.log",
    benchmark:
        "<logs>/data/{dataset}/prepare.tsv"
    conda:
        "../../environment.yml"
    threads: ALL_CORES
    resources:
        cpus_per_task=8,
        mem_mb=grow(8000),
        runtime=grow(120),
    params:
        code=RUN.digest_code("prepare"),
        out=subpath(output.manifest, parent=True),
        raw=subpath(input[0], parent=True),
        run=RUN.options("prepare"),
        seglib=RUN.launch,
    shell:
        "{params.seglib} prepare {wildcards.dataset} --raw {params.raw:q} --out {params.out:q}"
        " --workers {threads} {params.run} > {log:q} 2>&1"

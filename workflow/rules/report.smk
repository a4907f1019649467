"""All cells side by side: the summary table, the page with its tables and figures, pages of ablations."""


rule compare:
    input:
        list_results,
        claims=PLAN.config.claims,
    output:
        summary="<results>/summary.csv",
        verdicts="<results>/verdicts.csv",
    log:
        "<logs>/compare.log",
    conda:
        "../../environment.yml"
    params:
        config=CONFIG_JSON,
        code=digest_code("compare"),
        results=subpath(output[0], parent=True),
    shell:
        "python -m seglib compare --config {params.config:q} --out {params.results:q} > {log:q} 2>&1"


rule report:
    input:
        list_results,
        claims=PLAN.config.claims,
        summary="<results>/summary.csv",
    output:
        "<reports>/index.html",
    log:
        "<logs>/report.log",
    conda:
        "../../environment.yml"
    params:
        config=CONFIG_JSON,
        code=digest_code("report"),
        results=subpath(input.summary, parent=True),
        out=subpath(output[0], parent=True),
    shell:
        "python -m seglib report --config {params.config:q} --results {params.results:q} --out {params.out:q}"
        " > {log:q} 2>&1"


rule ablation:
    input:
        list_results,
    output:
        "<reports>/ablations/{ablation}/index.html",
    log:
        "<logs>/ablations/{ablation}.log",
    conda:
        "../../environment.yml"
    params:
        config=describe_ablation,
        code=digest_code("report"),
        results=RESULTS,
        out=subpath(output[0], parent=True),
    shell:
        "python -m seglib report --config {params.config:q} --results {params.results:q} --out {params.out:q}"
        " > {log:q} 2>&1"

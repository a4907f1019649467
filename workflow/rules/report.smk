"""All cells side by side: summary, verdicts on the claims, the page with its tables and figures, ablations.

`snakemake --report report.zip` takes the outputs marked here along, with the captions in workflow/report.
"""

from seglib.claims import committed

PLANNED_ELSEWHERE = committed.digests()


rule compare:
    input:
        RUN.list_results,
        claims=list_claims,
    output:
        summary=report(
            "<results>/summary.csv",
            caption="../report/summary.rst",
            category="Results",
            labels={"table": "cells and tests"},
        ),
        verdicts=report(
            "<results>/verdicts.csv",
            caption="../report/verdicts.rst",
            category="Results",
            labels={"table": "claims and verdicts"},
        ),
    log:
        "<logs>/compare.log",
    benchmark:
        "<logs>/compare.tsv"
    conda:
        "../../environment.yml"
    params:
        config=RUN.json,
        planned_elsewhere=PLANNED_ELSEWHERE,
        claim_files=list_claims,
        code=RUN.digest_code("compare"),
        run=RUN.options("compare"),
        seglib=RUN.launch,
        results=subpath(output.summary, parent=True),
    shell:
        "{params.seglib} compare --config {params.config:q} --out {params.results:q} {params.run} > {log:q} 2>&1"


rule report:
    input:
        RUN.list_results,
        claims=list_claims,
        summary="<results>/summary.csv",
    output:
        page=report(
            "<reports>/index.html",
            caption="../report/page.rst",
            category="Page",
            labels={"page": "everything on one page"},
        ),
        figures=report(
            directory("<reports>/figures"),
            patterns=["{name}.svg"],
            caption="../report/figures.rst",
            category="Figures",
            labels={"figure": "{name}"},
        ),
        tables=report(
            directory("<reports>/tables"),
            patterns=["{name}.csv"],
            caption="../report/tables.rst",
            category="Tables",
            labels={"table": "{name}"},
        ),
    log:
        "<logs>/report.log",
    benchmark:
        "<logs>/report.tsv"
    conda:
        "../../environment.yml"
    params:
        config=RUN.json,
        planned_elsewhere=PLANNED_ELSEWHERE,
        claim_files=list_claims,
        code=RUN.digest_code("report"),
        run=RUN.options("report"),
        seglib=RUN.launch,
        results=subpath(input.summary, parent=True),
        out=subpath(output.page, parent=True),
    shell:
        "{params.seglib} report --config {params.config:q} --results {params.results:q} --out {params.out:q}"
        " {params.run} > {log:q} 2>&1"


rule ablation:
    input:
        RUN.list_results,
        claims=list_claims,
    output:
        "<reports>/ablations/{ablation}/index.html",
    log:
        "<logs>/ablations/{ablation}.log",
    benchmark:
        "<logs>/ablations/{ablation}.tsv"
    conda:
        "../../environment.yml"
    params:
        config=RUN.describe_ablation,
        planned_elsewhere=PLANNED_ELSEWHERE,
        claim_files=list_claims,
        code=RUN.digest_code("report"),
        run=RUN.options("report"),
        seglib=RUN.launch,
        results=RUN.config.results,
        out=subpath(output[0], parent=True),
    shell:
        "{params.seglib} report --config {params.config:q} --results {params.results:q} --out {params.out:q}"
        " {params.run} > {log:q} 2>&1"

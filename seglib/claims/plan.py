"""What a run would do, why, how long it would train and what it would need on disk, before anything starts.

    seglib plan [--config config/camvid.yaml] [-- SNAKEMAKE ARGUMENTS]

Snakemake itself is asked, through its own command line, so that the plan is what `snakemake` with the same
arguments does: targets, ``--forcerun``, ``--config key=value`` and profiles included. Nothing is computed
beside it that could disagree. Torch is not imported.
"""

import contextlib
import gc
import io
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seglib.claims.reasons import FOLLOWS, explain
from seglib.results import forecast

SNAKEFILE = Path(__file__).parents[2] / "Snakefile"
SHOWN = 3
"""Cells named per reason; ``--all`` names every one."""

TARGETS = {"all"}
"""Rules that only name what is wanted, beside those of the ablations."""
SAID = 12
"""Last lines of what Snakemake says that are shown when it cannot plan."""


@dataclass(frozen=True)
class PlannedJob:
    """One job that would run."""

    rule: str
    cell: str | None
    """Its id; ``None`` for jobs that several cells share."""
    test: str | None
    name: str
    """What tells it from other jobs of its rule: a cell, a test, a data set, a model."""
    reasons: tuple[str, ...]
    follows: bool
    """It needs no reason of its own: an earlier job of the plan makes what it reads."""


def run(*, config: Path | None, arguments: Sequence[str], show_all: bool, as_json: bool) -> None:
    """Print the plan of ``snakemake ARGUMENTS`` with the configuration file ``config``.

    Raises ``ValueError`` where Snakemake cannot plan; what it says goes to stderr.
    """
    if config is not None and not config.is_file():
        raise ValueError(f"{config}: no such configuration file")
    command = [*arguments, *(["--configfile", str(config)] if config else [])]  # targets come first
    jobs, plan = ask_snakemake(command)
    cost = forecast.estimate(
        plan,
        trained=[job.cell for job in jobs if job.rule == "train"],
        tested=[(job.cell, job.test) for job in jobs if job.rule == "predict"],
        downloaded=[job.name for job in jobs if job.rule == "download"],
    )
    if as_json:
        print(json.dumps({"jobs": [asdict(job) for job in jobs], **cost.to_json()}, indent=1))
    else:
        print("\n".join(_lines(jobs, show_all) + (cost.lines() if jobs else [])))


def ask_snakemake(arguments: Sequence[str]) -> tuple[list[PlannedJob], Any]:
    """The jobs of a dry run of ``snakemake ARGUMENTS`` in the working folder, in no particular order, and
    the :class:`seglib.experiment.config.Plan` of all cells that its rules know.
    """
    # Imported here: it takes half a second, and no other subcommand needs it.
    from snakemake import cli
    from snakemake.workflow import Workflow

    command = [*arguments, "--dry-run", "--quiet"]
    if not Path("Snakefile").exists() and not {"-s", "--snakefile"} & set(arguments):
        command += ["--snakefile", str(SNAKEFILE)]
    found: list[Any] = []
    build = Workflow._build_dag

    # Snakemake has no call that returns its graph of jobs, and as text it gives the reasons in a form that
    # cannot be taken apart again. The graph is therefore taken where Snakemake has just built it.
    def build_and_show(workflow: Workflow) -> None:
        build(workflow)
        found.append(workflow)

    said = io.StringIO()
    Workflow._build_dag = build_and_show
    gc.disable()  # millions of small objects that live until the end: collecting them costs a third
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            parser, options = cli.parse_args(command)
            is_planned = cli.args_to_api(options, parser)
    except SystemExit:
        is_planned = False
    except Exception as error:  # Snakemake's own way: it prints whatever it meets
        is_planned = False
        said.write(f"{error}\n")
    finally:
        gc.enable()
        Workflow._build_dag = build
    if not is_planned or not found:
        lines = [line for line in said.getvalue().splitlines() if line.strip()]
        print("\n".join(lines[-SAID:]), file=sys.stderr)
        raise ValueError("Snakemake cannot plan this run; what it said last stands above")
    workflow = found[-1]
    jobs = [_job(job, workflow.dag.reason(job)) for job in workflow.dag.needrun_jobs()]
    return [
        job for job in jobs if job.rule not in TARGETS and not job.rule.startswith("ablation_")
    ], workflow.globals["RUN"].whole


def _job(job: Any, reason: Any) -> PlannedJob:
    wildcards = job.wildcards_dict
    reasons = tuple(explain(reason))
    if job.rule.name == "train" and reasons == (FOLLOWS,):
        reasons = ("its data are prepared again: trained only if they turn out to have changed",)
    changed = reason.forced or reason.is_provenance_triggered()
    return PlannedJob(
        rule=job.rule.name,
        cell=wildcards.get("cell"),
        test=wildcards.get("test"),
        name=" ".join(map(str, wildcards.values())),
        reasons=reasons,
        # What is trained is always explained: it is what costs.
        follows=bool(reason.updated_input_run) and not changed and job.rule.name != "train",
    )


def _lines(jobs: Sequence[PlannedJob], show_all: bool) -> list[str]:
    """For a terminal: counts, then each reason with the jobs that have it."""
    if not jobs:
        return ["Nothing to be done."]
    counts = Counter(job.rule for job in jobs)
    trained = {job.cell for job in jobs if job.rule == "train"}
    lines = [
        f"{len(jobs)} jobs: {', '.join(f'{count} {rule}' for rule, count in _ordered(counts))}",
        f"{len(trained)} cells would be trained.",
        "",
    ]
    causes: dict[tuple[str, tuple[str, ...]], list[PlannedJob]] = defaultdict(list)
    for job in jobs:
        if not job.follows:
            causes[job.rule, job.reasons].append(job)
    order = [rule for rule, _ in _ordered(counts)]
    for (rule, reasons), group in sorted(causes.items(), key=lambda item: (order.index(item[0][0]), item[0])):
        lines += [f"{rule}: {reasons[0]}", *(f"{'':{len(rule)}}  {reason}" for reason in reasons[1:])]
        names = sorted(job.name for job in group if job.name)
        shown = names if show_all else names[:SHOWN]
        lines += [f"    {name}" for name in shown]
        if len(names) > len(shown):
            lines.append(f"    ... and {len(names) - len(shown)} more (--all shows them)")
    following = Counter(job.rule for job in jobs if job.follows)
    if following:
        what = ", ".join(f"{count} {rule}" for rule, count in _ordered(following))
        lines.append(f"follows from these: {what}")
    return [*lines, ""]


STEPS = ("download", "prepare", "train", "predict", "score", "complexity", "speed", "compare", "report")


def _ordered(counts: Counter) -> Iterator[tuple[str, int]]:
    """In the order of the workflow; rules that it does not know last."""
    yield from sorted(
        counts.items(), key=lambda item: STEPS.index(item[0]) if item[0] in STEPS else len(STEPS)
    )

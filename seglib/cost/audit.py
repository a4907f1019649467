"""Cost of every method at the size of its papers' experiments, by both counters.

    seglib audit --records results/audit --out seglib/cost/paper_scale.csv [--max-mem-gib 8] [--workers 2]

Each configuration of :mod:`seglib.cost.paper_scale` leaves its record in ``--records``, as ``seglib
complexity`` writes it, and is not measured again while its settings, code and libraries stay.
``--max-mem-gib 0`` leaves fvcore out: all of it then takes about three minutes on two cores and half a GiB
each, since torch counts without arithmetic. With fvcore every forward pass really runs.
"""

import contextlib
import dataclasses
import functools
import importlib.metadata
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from seglib.core import code_digest, files, progress
from seglib.core.tables import csv_text
from seglib.core.typed import plain
from seglib.cost import complexity, paper_scale
from seglib.cost.counters import CountersDisagree
from seglib.cost.paper_scale import Configuration, PaperScaleCost
from seglib.experiment.records import Audit, AuditIdentity, Cost, Rejection, read, write


def run(*, records: Path, out: Path, max_mem_gib: float, workers: int, datasets: list[str]) -> None:
    """Measure every configuration of ``datasets`` (all where empty) and write their table.

    Raises ``ValueError`` where the counters disagree, and names the configuration.
    """
    if workers < 1:
        raise ValueError(f"--workers {workers}: at least one is needed")
    planned = list(paper_scale.configurations())
    for name in datasets:
        if name not in paper_scale.CROPS:
            raise ValueError(f"--datasets: unknown data set {name!r}; valid: {', '.join(paper_scale.CROPS)}")
    asked = [configuration for configuration in planned if not datasets or configuration.dataset in datasets]
    work = functools.partial(measure, records=records, max_mem_gib=max_mem_gib)
    with ProcessPoolExecutor(workers) if workers > 1 else contextlib.nullcontext() as pool:
        for _ in progress.track((pool.map if pool else map)(work, asked), total=len(asked), what="audit"):
            pass
    costs = [row(one, read(Audit, record_file(records, one)).cost) for one in asked]
    with files.atomic_path(out) as temporary:
        temporary.write_text(table(costs), encoding="utf-8")
    traced = sum(cost.gmacs is not None for cost in costs)
    rejected = sum(bool(cost.rejected) for cost in costs)
    print(
        f"{len(costs)} configurations: {traced} by both counters, which agree; "
        f"{len(costs) - traced - rejected} by torch alone; {rejected} rejected by the method"
    )
    print(f"written: {out}")


def measure(configuration: Configuration, *, records: Path, max_mem_gib: float) -> None:
    """Write the record of a configuration unless one of the same settings and code is there."""
    torch.set_num_threads(1)
    identity = AuditIdentity(
        configuration=plain(configuration),
        max_mem_gib=max_mem_gib,
        code=code_digest.step_code("complexity", method=configuration.method),
        versions={name: importlib.metadata.version(name) for name in ("torch", "timm", "fvcore")},
    )
    file = record_file(records, configuration)
    if (before := read(Audit, file)) is not None and before.identity == identity:
        return
    cost: Cost | Rejection
    try:
        cost = complexity.measure(
            method=configuration.method,
            method_options={},
            backbone=configuration.backbone,
            input_hw=configuration.input_hw,
            num_classes=configuration.num_classes,
            max_mem_gib=max_mem_gib,
        )
    except CountersDisagree as error:
        raise ValueError(f"{configuration.name}: {error}") from None
    except ValueError as error:  # of the method: it cannot use these maps
        cost = Rejection(rejected=str(error))
    write(file, Audit(identity=identity, cost=cost))


def record_file(records: Path, configuration: Configuration) -> Path:
    return records / f"{configuration.name}.json"


def row(configuration: Configuration, cost: Cost | Rejection) -> PaperScaleCost:
    """The row of the table."""
    names = ("params", "params_head", "gmacs_conv_matmul", "gmacs_conv_matmul_head", "gmacs", "mem_gib")
    return PaperScaleCost(
        method=configuration.method,
        backbone=configuration.backbone.model,
        output_stride=configuration.backbone.output_stride,
        dataset=configuration.dataset,
        input_hw=configuration.input_hw,
        num_classes=configuration.num_classes,
        rejected=getattr(cost, "rejected", ""),
        **{name: getattr(cost, name, None) for name in names},
    )


def table(costs: list[PaperScaleCost]) -> str:
    """CSV; giga-MACs to the last multiply-add, memory to a hundredth."""
    names = [field.name for field in dataclasses.fields(PaperScaleCost)]
    return csv_text([names, *([_spell(name, getattr(one, name)) for name in names] for one in costs)])


def _spell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "input_hw":
        return "x".join(map(str, value))
    if name == "mem_gib":
        return f"{value:.2f}"
    return f"{value:.9f}" if isinstance(value, float) else str(value)

"""What the models of a report cost: parameters, multiply-adds and time."""

from collections.abc import Sequence

from seglib.core import tables
from seglib.core.tables import UNKNOWN, Column, Entry, Table
from seglib.experiment.records import Cost
from seglib.results.inventory import CellResult, method_label


def cost(records: Sequence[CellResult]) -> Table:
    """One row per model and input size; what only one of the counters could tell may be unknown."""
    columns = (
        Column(name="method", title="Method"),
        Column(name="backbone", title="Backbone"),
        Column(name="dataset", title="Data set"),
        Column(name="input_hw", title="Input", fixed=True),
        Column(name="params", title="Params, 10⁶", number=True),
        Column(name="params_head", title="of the head", number=True),
        Column(name="params_training_only", title="in training only", number=True),
        Column(name="gmacs", title="GMACs", number=True),
        Column(name="gmacs_conv_matmul", title="conv + matmul", number=True),
        Column(name="elementwise_share", title="element-wise, %", number=True),
        Column(name="unsupported_ops", title="Uncounted operators"),
    )
    rows = {}
    for record in records:
        if record.cost is None:
            continue
        cell, values = record.cell, record.cost
        size = "×".join(map(str, values.input_hw))
        rows[cell.dataset, cell.model_name, size] = (
            tables.text(method_label(cell)),
            tables.text(cell.backbone_name),
            tables.text(cell.dataset),
            tables.text(size),
            *(
                tables.number(getattr(values, name), lambda count: f"{count / 1e6:.2f}")
                for name in ("params", "params_head", "params_training_only")
            ),
            tables.number(values.gmacs, "{:.2f}".format),
            tables.number(values.gmacs_conv_matmul, "{:.2f}".format),
            tables.percent(values.elementwise_share),
            tables.text(_uncounted(values.unsupported_ops)),
        )
    return Table(
        name="cost", caption="Parameters and multiply-adds", columns=columns, rows=tuple(rows.values())
    )


def speed(records: Sequence[CellResult]) -> Table:
    """One row per model that was timed, with its hardware: times of different hardware do not compare."""
    columns = (
        Column(name="method", title="Method"),
        Column(name="backbone", title="Backbone"),
        Column(name="dataset", title="Data set"),
        Column(name="input_hw", title="Input", fixed=True),
        Column(name="batch_size", title="Batch", number=True),
        Column(name="latency_ms", title="Latency, ms", number=True),
        Column(name="latency_ms_q25", title="quartiles, from", number=True),
        Column(name="latency_ms_q75", title="to", number=True),
        Column(name="images_per_s", title="Images/s", number=True),
        Column(name="peak_mem_gib", title="Peak memory, GiB", number=True),
        Column(name="precision", title="Precision", fixed=True),
        Column(name="hardware", title="Hardware"),
    )
    rows = {}
    for record in (record for record in records if record.speed is not None):
        cell, values = record.cell, record.speed
        size, latency = "×".join(map(str, values.input_hw)), values.latency_ms
        threads = values.threads
        on_cpu = f"{values.cpu}, {threads} thread{'s' * (threads > 1)}"
        rows[cell.dataset, cell.model_name, size] = (
            tables.text(method_label(cell)),
            tables.text(cell.backbone_name),
            tables.text(cell.dataset),
            tables.text(size),
            Entry(text=str(values.batch_size), value=values.batch_size),
            *(tables.number(getattr(latency, name), "{:.1f}".format) for name in ("median", "q25", "q75")),
            tables.number(values.images_per_s, "{:.1f}".format),
            tables.number(values.peak_mem_gib, "{:.2f}".format),
            tables.text(values.precision),
            tables.text(values.gpu if values.device == "cuda" else on_cpu),
        )
    return Table(name="speed", caption="Speed of inference", columns=columns, rows=tuple(rows.values()))


def modules(cost: Cost) -> Table:
    """Where a model's parameters and multiply-adds are: its parts and their modules."""
    columns = (
        Column(name="module", title="Module"),
        Column(name="params", title="Params, 10⁶", number=True),
        Column(name="macs_conv_matmul", title="conv + matmul, GMACs", number=True),
        Column(name="macs", title="all, GMACs", number=True),
    )
    traced = cost.gmacs is not None
    rows = []
    for module in cost.modules:
        values = module.params, module.macs_conv_matmul, module.macs if traced else None
        name = Entry(text=("· " if module.depth else "") + module.name, value=module.name)
        scales = (1e6, 1e9, 1e9)
        shown = [tables.number(v, lambda v, s=s: f"{v / s:.3f}") for v, s in zip(values, scales, strict=True)]
        rows.append((name, *shown))
    size = "×".join(map(str, cost.input_hw))
    return Table(name="modules", caption=f"One image of {size}", columns=columns, rows=tuple(rows))


def _uncounted(operators: dict[str, int] | None) -> str:
    if operators is None:
        return UNKNOWN
    return ", ".join(f"{name} ({count})" for name, count in sorted(operators.items())) or "none"

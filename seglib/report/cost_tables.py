"""Tables of costs: parameters, multiply-adds and time of this run's models, and the complexity audit.

The audit sets reported costs beside seglib's, and lists seglib's for every model at the size of its papers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from seglib.claims.claim import Claim
from seglib.claims.comparable import family, open_questions
from seglib.claims.table import reported
from seglib.core import registry
from seglib.core.tables import Column, Entry, Table, millions, percent, size
from seglib.cost import paper_scale
from seglib.cost.paper_scale import PaperScaleCost
from seglib.experiment.records import Cost, ModuleCost, Speed
from seglib.results.inventory import CellResult, method_label

ONE_DIGIT, TWO_DIGITS = "{:.1f}".format, "{:.2f}".format
MODEL = (
    Column("method", "Method", lambda result: method_label(result.cell)),
    Column("backbone", "Backbone", lambda result: result.cell.backbone_name, on_page="varies"),
    Column("dataset", "Data set", lambda result: result.cell.dataset, on_page="varies"),
)
SPEED = (
    *MODEL,
    Column("input_hw", "Input", lambda result: size(result.speed.input_hw), fixed=True, on_page="varies"),
    Column("batch_size", "Batch", lambda result: result.speed.batch_size, str, on_page="varies"),
    Column("latency_ms", "Latency, ms", lambda result: result.speed.latency_ms.median, ONE_DIGIT),
    Column("latency_ms_q25", "quartiles, from", lambda result: result.speed.latency_ms.q25, ONE_DIGIT),
    Column("latency_ms_q75", "to", lambda result: result.speed.latency_ms.q75, ONE_DIGIT),
    Column("images_per_s", "Images/s", lambda result: result.speed.images_per_s, ONE_DIGIT),
    Column("peak_mem_gib", "Peak memory, GiB", lambda result: result.speed.peak_mem_gib, TWO_DIGITS),
    Column("precision", "Precision", lambda result: result.speed.precision, fixed=True, on_page="varies"),
    Column("hardware", "Hardware", lambda result: _hardware(result.speed), on_page="varies"),
)
COST = (
    *MODEL,
    Column("input_hw", "Input", lambda result: size(result.cost.input_hw), fixed=True, on_page="varies"),
    Column("params", "Params, 10⁶", lambda result: result.cost.params, millions),
    Column("params_head", "of the head", lambda result: result.cost.params_head, millions),
    Column(
        "params_training_only", "in training only", lambda result: result.cost.params_training_only, millions
    ),
    Column("gmacs", "GMACs", lambda result: result.cost.gmacs, TWO_DIGITS),
    Column("gmacs_conv_matmul", "conv + matmul", lambda result: result.cost.gmacs_conv_matmul, TWO_DIGITS),
    Column("elementwise_share", "element-wise, %", lambda result: result.cost.elementwise_share, percent),
    Column("unsupported_ops", "Uncounted operators", lambda result: _uncounted(result.cost)),
)
AUDIT = (
    Column("method", "Method", lambda row: row.claim.method),
    Column("backbone", "Backbone", lambda row: row.claim.backbone or "not stated"),
    Column("input_hw", "Input", lambda row: row.claim.protocol or "not stated", fixed=True),
    Column("reported", "Reported", lambda row: reported(row.claim), str),
    Column("ours_gmacs", "seglib, GMACs", lambda row: row.gmacs, ONE_DIGIT),
    Column("ratio_1", "reported / seglib", lambda row: row.ratio, TWO_DIGITS),
    Column("ratio_2", "at 2 per MAC", lambda row: row.ratio and row.ratio / 2, TWO_DIGITS),
    Column("reading", "What that says", lambda row: row.reading),
    Column("source", "Source", lambda row: row.claim.source, on_page="no"),
)
PAPER_NAMES = {model: name for name, model in paper_scale.BACKBONES.items()}
PAPER_SCALE = (
    Column("method", "Method", lambda cost: cost.method),
    Column("backbone", "Backbone", lambda cost: PAPER_NAMES.get(cost.backbone, cost.backbone)),
    Column("dataset", "Crop of", lambda cost: cost.dataset),
    Column("input_hw", "Input", lambda cost: size(cost.input_hw), fixed=True),
    Column("output_stride", "Output stride", lambda cost: cost.output_stride, str),
    Column("num_classes", "Classes", lambda cost: cost.num_classes, str),
    Column("params", "Params, 10⁶", lambda cost: cost.params, millions),
    Column("params_head", "of the head", lambda cost: cost.params_head, millions),
    Column("gmacs_conv_matmul", "conv + matmul, GMACs", lambda cost: cost.gmacs_conv_matmul, ONE_DIGIT),
    Column("gmacs", "all, GMACs", lambda cost: cost.gmacs, ONE_DIGIT),
    Column("counters", "Counters", lambda cost: _counters(cost)),
)


def costs(results: Sequence[CellResult]) -> Table:
    """One row per model and input size; what only one of the counters could tell may be unknown."""
    return Table("cost", "Parameters and multiply-adds", COST, _models(results, "cost"))


def speeds(results: Sequence[CellResult]) -> Table:
    """One row per model that was timed, with its hardware: times of different hardware do not compare."""
    return Table("speed", "Speed of inference", SPEED, _models(results, "speed"))


def modules(cost: Cost) -> Table:
    """Where a model's parameters and multiply-adds are: its parts and their modules."""

    def name(module: ModuleCost) -> Entry:
        return Entry(text=("· " if module.depth else "") + module.name, value=module.name)

    def macs(module: ModuleCost) -> float | None:
        return None if cost.gmacs is None else module.macs

    columns = (
        Column("module", "Module", name),
        Column("params", "Params, 10⁶", lambda module: module.params, lambda count: f"{count / 1e6:.3f}"),
        Column("macs_conv_matmul", "conv + matmul, GMACs", lambda module: module.macs_conv_matmul, _billions),
        Column("macs", "all, GMACs", macs, _billions),
    )
    return Table("modules", f"One image of {size(cost.input_hw)}", columns, cost.modules)


def audit(claims: Sequence[Claim], costs: Sequence[PaperScaleCost]) -> Table:
    """Every reported cost beside seglib's at the stated input, read both ways: 1 or 2 operations per MAC."""
    rows = [Audited(claim, *_nearest(claim, costs)) for claim in claims if claim.metric == "gmacs"]
    return Table("complexity-audit", "Reported multiply-adds against those of seglib", AUDIT, rows)


def paper_scale_costs(costs: Sequence[PaperScaleCost]) -> Table:
    """Every method and backbone at the size of its papers' experiments, also what does not go together."""
    return Table("paper-scale-costs", "Models at paper scale", PAPER_SCALE, costs)


@dataclass(frozen=True)
class Audited:
    """A reported cost, and seglib's convolutions and matrix products of the nearest model."""

    claim: Claim
    gmacs: float | None
    words: str
    """What was assumed of the model, or why there is none."""

    @property
    def ratio(self) -> float | None:
        return None if self.gmacs is None else float(self.claim.value) / self.gmacs

    @property
    def reading(self) -> str:
        if self.ratio is None:
            return self.words
        ways = {"1": self.ratio, "2": self.ratio / 2}
        if self.claim.bound:
            holds = " and at ".join(way for way, ratio in ways.items() if ratio <= 1)
            verdict = f"the bound holds at {holds} per MAC" if holds else "the bound does not hold"
        else:
            way, ratio = min(ways.items(), key=lambda item: abs(item[1] - 1))
            near = "within 1 %" if abs(ratio - 1) <= 0.01 else f"{100 * (ratio - 1):+.0f} %".replace("-", "−")
            verdict = f"nearest at {way} per MAC: {near}"
        return f"{verdict}; {self.words}"


def _nearest(claim: Claim, costs: Sequence[PaperScaleCost]) -> tuple[float | None, str]:
    """Conv + matmul GMACs of the claimed model at its input, and what was assumed; or why there are none."""
    if claim.method not in registry.METHODS:
        return None, f"seglib does not have {claim.method}"
    if claim.backbone is None or claim.conditions.input_hw is None:
        return None, open_questions(claim)[0]
    wanted = claim.method, claim.dataset, claim.conditions.input_hw, family(claim.backbone)
    for cost in costs:
        of_cost = cost.method, cost.dataset, cost.input_hw, family(cost.backbone)
        if of_cost == wanted and cost.gmacs_conv_matmul is not None:
            stride = f"output stride {cost.output_stride}" if cost.output_stride else "its own output stride"
            words = f"seglib: {cost.backbone}, {stride}, {cost.num_classes} classes"
            return cost.gmacs_conv_matmul, words
    return None, "not among seglib's paper-scale models"


def _models(results: Sequence[CellResult], measured: str) -> list[CellResult]:
    """One result of each model and input size for which ``measured`` is known."""
    models = {}
    for result in results:
        if (record := getattr(result, measured)) is not None:
            models[result.cell.dataset, result.cell.model_name, record.input_hw] = result
    return list(models.values())


def _hardware(speed: Speed) -> str:
    if speed.device == "cuda":
        return speed.gpu
    return f"{speed.cpu}, {speed.threads} thread{'s' * (speed.threads > 1)}"


def _uncounted(cost: Cost) -> str | None:
    if cost.unsupported_ops is None:
        return None
    operators = sorted(cost.unsupported_ops.items())
    return ", ".join(f"{name} ({count})" for name, count in operators) or "none"


def _counters(cost: PaperScaleCost) -> str:
    if cost.rejected:
        return f"rejected: {cost.rejected}"
    if cost.gmacs is not None:
        return "fvcore and torch agree"
    return "torch only" + (f" ({cost.mem_gib:.1f} GiB a forward pass)" if cost.mem_gib else "")


def _billions(count: float) -> str:
    return f"{count / 1e9:.3f}"

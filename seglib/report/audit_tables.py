"""The complexity audit: reported costs beside ours, and ours for every model at the size of its papers."""

from collections.abc import Sequence

from seglib.claims.claim import Claim
from seglib.claims.comparable import family, open_questions
from seglib.claims.evidence import protocol_of
from seglib.claims.table import source_url
from seglib.core import registry, tables
from seglib.core.tables import Column, Entry, Table
from seglib.cost import paper_scale
from seglib.cost.paper_scale import Cost


def audit(claims: Sequence[Claim], costs: Sequence[Cost]) -> Table:
    """Every reported cost beside ours at the stated input, read both ways: 1 or 2 operations per MAC."""
    columns = (
        Column(name="method", title="Method"),
        Column(name="backbone", title="Backbone"),
        Column(name="input_hw", title="Input", fixed=True),
        Column(name="reported", title="Reported", number=True),
        Column(name="ours_gmacs", title="Ours, GMACs", number=True),
        Column(name="ratio_1", title="reported / ours", number=True),
        Column(name="ratio_2", title="at 2 per MAC", number=True),
        Column(name="reading", title="What that says"),
        Column(name="source", title="Source"),
    )
    rows = []
    for claim in claims:
        if claim.metric != "gmacs":
            continue
        ours, words = _nearest_cost(claim, costs)
        value = float(claim.value)
        ratios = (None, None) if ours is None else (value / ours, value / (2 * ours))
        spoken, url = f"{claim.bound}{claim.value} {claim.unit}", source_url(claim.source)
        rows.append(
            (
                tables.text(claim.method),
                tables.text(claim.backbone or "not stated"),
                tables.text(protocol_of(claim) or "not stated"),
                Entry(text=spoken, value=value, links=((spoken, url),) if url else ()),
                tables.number(ours, "{:.1f}".format),
                *(tables.number(ratio, "{:.2f}".format) for ratio in ratios),
                tables.text(_reading(claim, ratios, words)),
                tables.text(claim.source),
            )
        )
    return Table(
        name="complexity-audit",
        caption="Reported multiply-adds against ours",
        columns=columns,
        rows=tuple(rows),
    )


def _nearest_cost(claim: Claim, costs: Sequence[Cost]) -> tuple[float | None, str]:
    """Conv + matmul GMACs of the claimed model at its input, and what was assumed; or why there are none."""
    if claim.method not in registry.METHODS:
        return None, f"seglib does not have {claim.method}"
    if claim.backbone is None or claim.conditions.input_hw is None:
        return None, open_questions(claim)[0]
    for cost in costs:
        same = (cost.method, cost.dataset, cost.input_hw) == (
            claim.method,
            claim.dataset,
            claim.conditions.input_hw,
        )
        if same and family(cost.backbone) == family(claim.backbone) and cost.gmacs_conv_matmul is not None:
            stride = f"output stride {cost.output_stride}" if cost.output_stride else "its own output stride"
            return cost.gmacs_conv_matmul, f"ours: {cost.backbone}, {stride}, {cost.num_classes} classes"
    return None, "not among our paper-scale models"


def _reading(claim: Claim, ratios: tuple[float | None, float | None], words: str) -> str:
    once, twice = ratios
    if once is None:
        return words
    if claim.bound:
        holds = [way for way, ratio in (("1", once), ("2", twice)) if ratio <= 1]
        said = f"the bound holds at {' and at '.join(holds)} per MAC" if holds else "the bound does not hold"
    else:
        way, ratio = min((("1", once), ("2", twice)), key=lambda item: abs(item[1] - 1))
        near = "within 1 %" if abs(ratio - 1) <= 0.01 else f"{100 * (ratio - 1):+.0f} %".replace("-", "−")
        said = f"nearest at {way} per MAC: {near}"
    return f"{said}; {words}"


def paper_scale_costs(costs: Sequence[Cost]) -> Table:
    """Every method and backbone at the size of its papers' experiments, also what does not go together."""
    columns = (
        Column(name="method", title="Method"),
        Column(name="backbone", title="Backbone"),
        Column(name="dataset", title="Crop of"),
        Column(name="input_hw", title="Input", fixed=True),
        Column(name="output_stride", title="Output stride", number=True),
        Column(name="num_classes", title="Classes", number=True),
        Column(name="params", title="Params, 10⁶", number=True),
        Column(name="params_head", title="of the head", number=True),
        Column(name="gmacs_conv_matmul", title="conv + matmul, GMACs", number=True),
        Column(name="gmacs", title="all, GMACs", number=True),
        Column(name="counters", title="Counters"),
    )
    paper_names = {model: name for name, model in paper_scale.BACKBONES.items()}
    rows = tuple(
        (
            tables.text(cost.method),
            tables.text(paper_names.get(cost.backbone, cost.backbone)),
            tables.text(cost.dataset),
            tables.text("×".join(map(str, cost.input_hw))),
            tables.number(cost.output_stride, str),
            tables.number(cost.num_classes, str),
            *(tables.number(n, lambda n: f"{n / 1e6:.2f}") for n in (cost.params, cost.params_head)),
            *(tables.number(n, "{:.1f}".format) for n in (cost.gmacs_conv_matmul, cost.gmacs)),
            tables.text(_counters(cost)),
        )
        for cost in costs
    )
    return Table(name="paper-scale-costs", caption="Models at paper scale", columns=columns, rows=rows)


def _counters(cost: Cost) -> str:
    if cost.rejected:
        return f"rejected: {cost.rejected}"
    if cost.gmacs is not None:
        return "fvcore and torch agree"
    return "torch only" + (f" ({cost.mem_gib:.1f} GiB a forward pass)" if cost.mem_gib else "")

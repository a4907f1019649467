"""Tables of differences: variants beside their parents, methods beside the baselines of their papers."""

from collections.abc import Callable, Sequence

from seglib.claims import verdicts
from seglib.core.tables import Column, Table, percent, points, probability
from seglib.results.aggregate import Leaderboard
from seglib.results.pairs import METRICS, Pair


def variants(board: Leaderboard, pairs: Sequence[Pair]) -> Table:
    name = Column("variant", "Variant", lambda pair: pair.variant.cell.variant)
    columns = _columns(name, parent="parent", variant="Variant")
    return Table(f"ablations.{board.name}", f"Ablations: {board.title}", columns, pairs)


def gains(board: Leaderboard, pairs: Sequence[Pair]) -> Table:
    """With what the seeds say of each difference in mIoU."""
    name = Column("baseline", "Baseline", lambda pair: pair.parent.cell.method)
    columns = _columns(name, parent="baseline", variant="Method")
    columns.append(Column("reading", "Over seeds", reading))
    return Table(f"gains.{board.name}", f"Over the baselines: {board.title}", columns, pairs)


def reading(pair: Pair) -> str:
    """Whether the seeds show a gain in mIoU, in a word."""
    difference = pair.over_seeds["miou"]
    if difference is None or difference.n < verdicts.MIN_SEEDS:
        return "too few seeds"
    if difference.low > 0:
        return "a gain"
    return "a loss" if difference.high < 0 else "no difference shown"


def _columns(name: Column, *, parent: str, variant: str) -> list[Column]:
    columns = [
        Column("method", "Method", lambda pair: pair.variant.cell.method),
        name,
        Column("backbone", "Backbone", lambda pair: pair.variant.cell.backbone_name, on_page="varies"),
        Column("recipe", "Recipe", lambda pair: pair.variant.recipe, on_page="varies"),
        Column(
            f"miou_{parent}",
            f"{parent.capitalize()} mIoU, %",
            lambda pair: pair.parent.estimate("miou"),
            percent,
            interval=True,
        ),
        Column(
            "miou", f"{variant} mIoU, %", lambda pair: pair.variant.estimate("miou"), percent, interval=True
        ),
    ]
    for metric, title in METRICS.items():
        columns += [
            Column(f"{metric}_difference", f"Δ {title}, points", _over_seeds(metric), points, interval=True),
            Column(f"{metric}_difference_low", "over images, from", _over_images(metric, "low"), points),
            Column(f"{metric}_difference_high", "to", _over_images(metric, "high"), points),
            Column(
                f"{metric}_improvement",
                "P(better)",
                _over_images(metric, "probability_of_improvement"),
                probability,
            ),
        ]
    return columns


def _over_seeds(metric: str) -> Callable[[Pair], object]:
    return lambda pair: pair.over_seeds[metric]


def _over_images(metric: str, name: str) -> Callable[[Pair], object]:
    return lambda pair: getattr(pair.over_images.get(metric), name, None)

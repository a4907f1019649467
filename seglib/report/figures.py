"""Figures for papers and for the page: SVG and PNG, equal bytes for equal numbers.

Methods differ in marker as well as in colour, so that the figures read in grey and for colour-blind
eyes. Every colour has a contrast of at least 3:1 on white and on the page's dark background.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seglib.metrics.statistics import Interval
from seglib.report import naming
from seglib.report.results_tables import class_means, class_names
from seglib.results.aggregate import Group, Leaderboard
from seglib.results.inventory import method_label
from seglib.results.pairs import Pair

INK, FAINT, RULE = "#1b1e22", "#5f666e", "#d5d9de"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a95aa1", "#7d7d3b", "#3f8fa8", "#c2485e", "#6f6fc4")
MARKERS = "osD^vP*X"
FILLS = ("full", "none", "left", "bottom")
"""Tell the backbones and recipes of a method apart; where there are more, the titles of the points do."""
THEMED = {INK: "currentColor", FAINT: "var(--faint)", RULE: "var(--rule)", "#ffffff": "var(--ground)"} | {
    colour: f"var(--s{index})" for index, colour in enumerate(COLOURS)
}
"""Fixed colour -> what takes its place on the page, which has a dark mode."""
WIDTH_IN, LABEL_LENGTH = 4.0, 28
STYLE = {
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "seglib",
    "text.color": INK,
    "text.parse_math": False,  # a "$" in a name is a dollar sign
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True)
class Point:
    """What a marker stands for: shown when pointed at, on the page."""

    title: str
    link: str


@dataclass(frozen=True)
class Drawing:
    name: str
    caption: str
    svg: str
    png: bytes
    points: dict[str, Point]

    def inline(self, linked: bool = True) -> str:
        """The SVG for the page: colours follow its theme, ids are unique, points have titles and links.

        ``linked``: whether the pages that the points lead to are there.
        """
        svg = self.svg[self.svg.index("<svg") :]
        for fixed, themed in THEMED.items():
            svg = svg.replace(fixed, themed)
        for id, point in self.points.items():
            start = svg.index(f'<g id="{id}">')
            end = svg.index("</g>", svg.index("</g>", start) + 1) + len("</g>")  # a group within a group
            tag = f'a href="{escape(point.link)}"' if linked else "g"
            title = f"<title>{escape(point.title)}</title>"
            svg = f"{svg[:start]}<{tag}>{title}{svg[start:end]}</{tag[0]}>{svg[end:]}"
        svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{self.name}-", svg)
        size = re.search(r'viewBox="[^"]*"', svg).group()
        label = escape(self.caption)
        head = f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" role="img" aria-label="{label}" {size}>'
        return re.sub(r"<svg[^>]*>", head, svg, count=1)


def style(index: int) -> tuple[str, str]:
    """Colour and marker of the method of that number."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def mark(axes: Axes, right: float, up: float, marker: str, colour: str, fill: str, id: str) -> None:
    """A point; ``id``: of its group in the SVG."""
    axes.plot(
        right,
        up,
        marker,
        color=colour,
        fillstyle=fill,
        markerfacecoloralt="white",
        markersize=6,
        zorder=3,
        gid=id,
    )


def accuracy_against_cost(board: Leaderboard) -> Drawing | None:
    """mIoU against multiply-adds; ``None`` unless two groups have both.

    All multiply-adds where they are known of every model, else those of convolutions and matrix products.
    """
    costs = [group.cost for group in board.measured if group.cost is not None]
    if all(cost.gmacs is not None for cost in costs):
        field, words = "gmacs", "multiply-adds"
    else:
        field, words = "gmacs_conv_matmul", "conv + matmul multiply-adds"
    return _scatter(
        board,
        name=f"accuracy-gmacs.{board.name}",
        caption=f"mIoU against multiply-adds, {board.title}",
        x=lambda group: _exact(getattr(group.cost, field, None)),
        x_label=f"{words} at the training crop, 10⁹ (GMACs)",
        connect=True,
    )


def region_against_boundary(board: Leaderboard) -> Drawing | None:
    """mIoU (up) against mean Boundary IoU (right): methods off the trend trade one for the other."""
    return _scatter(
        board,
        name=f"miou-boundary-iou.{board.name}",
        caption=f"mIoU against mean Boundary IoU, {board.title}",
        x=lambda group: _percent(group, "boundary_iou"),
        x_label="mean Boundary IoU, %",
        connect=False,
    )


def per_class(board: Leaderboard) -> Drawing | None:
    """IoU of every class (rows) for every group (columns), lighter is better."""
    groups = board.measured
    if not groups:
        return None
    names = class_names(board)
    values = np.array([[np.nan if v is None else v for v in class_means(group, "iou")] for group in groups]).T
    labels = [_short(board.label(group)) for group in groups]
    width_in = 1.4 + 0.07 * max(map(len, map(_short, names))) + 0.42 * len(groups)
    height_in = 0.4 + 0.07 * max(map(len, labels)) + max(1.2, 0.17 * len(names))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(min(16.0, width_in), min(40.0, height_in)))
        axes = figure.subplots()
        image = axes.imshow(100 * values, cmap="cividis", vmin=0, vmax=100, aspect="auto")
        axes.grid(False)
        axes.set_yticks(range(len(names)), [_short(name) for name in names])
        axes.set_xticks(range(len(groups)), labels, rotation=90)
        axes.tick_params(length=0)
        if len(groups) <= 16:
            _write_values(axes, 100 * values)
        figure.colorbar(image, ax=axes, label="IoU, %")
        return render(figure, f"per-class-iou.{board.name}", f"IoU per class, {board.title}", {})


def ablations(board: Leaderboard, pairs: Sequence[Pair]) -> Drawing | None:
    """Differences of variants to their parents in mIoU, with the intervals over images and over seeds."""
    if not pairs:
        return None
    points = {}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 1.0 + 0.35 * len(pairs)))
        axes = figure.subplots()
        axes.axvline(0, color=FAINT, linewidth=0.8)
        for row, pair in enumerate(pairs):
            seeds, images = pair.over_seeds["miou"], pair.over_images.get("miou")
            if seeds is None:
                continue
            if images is not None:
                axes.plot([100 * images.low, 100 * images.high], [row, row], color=COLOURS[0], linewidth=1.2)
            if seeds.half_width is not None:
                ends = [100 * seeds.low, 100 * seeds.high]
                axes.plot(ends, [row, row], color=COLOURS[0], linewidth=4, alpha=0.45)
            id = f"point{row}"
            axes.plot(100 * seeds.mean, row, "o", color=COLOURS[0], markersize=5, gid=id)
            title = f"{board.label(pair.variant)}: {100 * seeds.mean:+.2f} points"
            points[id] = Point(title, naming.page(pair.variant.cell.id))
        axes.set_yticks(range(len(pairs)), _variant_labels(board, pairs))
        axes.set_ylim(len(pairs) - 0.5, -0.5)
        axes.grid(False, axis="y")
        axes.set_xlabel("Δ mIoU, points")  # short: long names leave the axis little room
        lines = "thin line 95 % over images, thick line 95 % over seeds"
        caption = f"Ablations, {board.title}: variant minus parent; {lines}"
        return render(figure, f"ablations.{board.name}", caption, points)


def _variant_labels(board: Leaderboard, pairs: Sequence[Pair]) -> list[str]:
    """With the method, unless it is the same for all, in a line of its own."""
    methods = [pair.variant.cell.method for pair in pairs]
    labels = [
        _short(board.label(p.variant).removeprefix(f"{m} · ")) for p, m in zip(pairs, methods, strict=True)
    ]
    if len(set(methods)) == 1:
        return labels
    return [f"{_short(method)}\n{label}" for method, label in zip(methods, labels, strict=True)]


def _scatter(
    board: Leaderboard,
    *,
    name: str,
    caption: str,
    x: Callable[[Group], Interval | None],
    x_label: str,
    connect: bool,
) -> Drawing | None:
    """mIoU (up) of each group against ``x``; ``connect``: with lines through those of a method and recipe."""
    places = {group: (x(group), _percent(group, "miou")) for group in board.measured}
    places = {group: place for group, place in places.items() if None not in place}
    if len(places) < 2:
        return None
    methods = list(dict.fromkeys(method_label(group.cell) for group in places))
    settings = list(dict.fromkeys(_apart(board, group) for group in places))
    points = {}
    with matplotlib.rc_context(STYLE):
        rows = -(-(len(methods) + min(len(settings), len(FILLS))) // 2)
        figure = Figure(figsize=(WIDTH_IN, 2.8 + 0.19 * rows))
        axes = figure.subplots()
        for index, method in enumerate(methods):
            colour, marker = style(index)
            family = [group for group in places if method_label(group.cell) == method]
            family.sort(key=lambda group: places[group][0].mean)
            for recipe in dict.fromkeys(g.cell.recipe_name for g in family) if connect else ():
                same = [places[group] for group in family if group.cell.recipe_name == recipe]
                line = [[place.mean for place in side] for side in zip(*same, strict=True)]
                axes.plot(*line, color=colour, linewidth=0.8, alpha=0.5, zorder=1)
            for group in family:
                right, up = places[group]
                axes.errorbar(
                    right.mean,
                    up.mean,
                    xerr=right.half_width,
                    yerr=up.half_width,
                    color=colour,
                    elinewidth=0.9,
                    capsize=2,
                    zorder=2,
                )
                fill, id = FILLS[settings.index(_apart(board, group)) % len(FILLS)], f"point{len(points)}"
                mark(axes, right.mean, up.mean, marker, colour, fill, id)
                points[id] = Point(_title(group, x_label, right.mean, up.mean), naming.page(group.cell.id))
            axes.plot([], [], marker, color=colour, label=_short(method))
        for apart, fill in zip(settings, FILLS, strict=False):
            if apart:
                look = {"color": FAINT, "fillstyle": fill, "markerfacecoloralt": "white"}
                axes.plot([], [], "o", label=_short(apart), **look)
        axes.margins(0.08)
        axes.set_xlabel(x_label)
        axes.set_ylabel("mIoU, %")
        figure.legend(loc="outside lower left", ncols=2, handletextpad=0.2, fontsize=8)
        return render(figure, name, caption, points)


def _percent(group: Group, metric: str) -> Interval | None:
    estimate = group.estimate(metric)
    if estimate is None:
        return None
    half_width = None if estimate.half_width is None else 100 * estimate.half_width
    return Interval(100 * estimate.mean, half_width, estimate.n)


def _exact(value: float | None) -> Interval | None:
    return None if value is None else Interval(value, None, 1)


def _apart(board: Leaderboard, group: Group) -> str:
    """What tells a group from others of its method: ``resnet18, long``; empty where nothing does."""
    return board.label(group).removeprefix(method_label(group.cell)).removeprefix(", ")


def _write_values(axes: Axes, values: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = "white" if value < 55 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=ink)


def render(figure: Figure, name: str, caption: str, points: dict[str, Point]) -> Drawing:
    """Both files of a figure. ``points``: SVG id of a marker -> what it stands for."""
    svg, png = io.StringIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
    text = svg.getvalue()
    # matplotlib names clip paths by floats whose last digit may differ from run to run.
    for number, id in enumerate(dict.fromkeys(re.findall(r'<clipPath id="(\w+)"', text))):
        text = text.replace(id, f"clip{number}")
    return Drawing(name, caption, text, png.getvalue(), points)


def _title(group: Group, x_label: str, right: float, up: float) -> str:
    combination = f"{method_label(group.cell)}, {group.cell.backbone_name}, {group.cell.recipe_name}"
    return f"{combination}: mIoU {up:.2f} %, {x_label} {right:.2f}"


def _short(name: str) -> str:
    """Names of any length leave room for the data; tables have them in full."""
    name = " ".join(name.split())
    return name if len(name) <= LABEL_LENGTH else name[: LABEL_LENGTH - 1] + "…"

"""Reported numbers against measured ones, as a figure."""

from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.figure import Figure

from seglib.claims.verdicts import Judgement
from seglib.report.figures import FAINT, RULE, STYLE, WIDTH_IN, Drawing, Point, mark, render, style


def reported_against_measured(
    judgements: Sequence[Judgement], *, tolerance_points: float, page: Callable[[str], str]
) -> Drawing | None:
    """Measured mIoU (up) against reported (right); ``None`` unless a claim has a measurement.

    Filled markers may be compared; hollow ones differ in protocol and are shown to see by how much. The
    band is the tolerance, the bars are 95 % over seeds. ``page``: address of a measurement's page.
    """
    measured = [j for j in judgements if j.measured is not None and j.claim.metric == "miou"]
    if not measured:
        return None
    methods = list(dict.fromkeys(judgement.claim.method for judgement in measured))
    numbers = [value for j in measured for value in (float(j.claim.value), j.measured, *(j.interval or ()))]
    ends = [min(numbers) - 2, max(numbers) + 2]
    points = {}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, WIDTH_IN + 0.19 * -(-(len(methods) + 2) // 2)))
        axes = figure.subplots()
        axes.plot(ends, ends, color=FAINT, linewidth=0.8, zorder=1)
        low, high = ([end + side * tolerance_points for end in ends] for side in (-1, 1))
        axes.fill_between(ends, low, high, color=RULE, linewidth=0, zorder=0)
        for judgement in measured:
            reported, id = float(judgement.claim.value), f"point{len(points)}"
            colour, marker = style(methods.index(judgement.claim.method))
            if judgement.interval is not None:
                axes.plot([reported] * 2, judgement.interval, color=colour, linewidth=0.9, zorder=2)
            fill = "none" if judgement.verdict == "not comparable" else "full"
            mark(axes, reported, judgement.measured, marker, colour, fill, id)
            title = f"{judgement.claim.text}: reported {reported:.2f}, measured {judgement.measured:.2f}"
            points[id] = Point(
                f"{title} ({judgement.verdict})", page(judgement.measurement.name) or "#papers"
            )
        for index, method in enumerate(methods):
            colour, marker = style(index)
            axes.plot([], [], marker, color=colour, label=method)
        axes.plot([], [], "o", color=FAINT, fillstyle="none", label="not comparable")
        axes.plot([], [], color=RULE, linewidth=6, label=f"± {tolerance_points:g} points")
        axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel="reported mIoU, %", ylabel="measured mIoU, %")
        figure.legend(loc="outside lower left", ncols=2, handletextpad=0.4, fontsize=8)
        return render(figure, "reported-measured", "Reported against measured mIoU", points)

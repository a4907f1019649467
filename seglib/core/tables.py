"""One table, four spellings: HTML (through the page's template), CSV, Markdown and LaTeX (booktabs).

CSV holds the plain values in full precision with a column per interval; the others hold what a
reader sees.
"""

import csv
import io
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

UNKNOWN = "–"


@dataclass(frozen=True, kw_only=True)
class Column:
    name: str
    """Header in CSV, with the unit."""
    title: str
    """Header for readers."""
    number: bool = False
    fixed: bool = False
    """Whether its texts are short and never broken, like a commit."""
    interval: bool = False
    """Whether its entries may carry the half-width of an interval, which gets its own CSV column."""
    bar: Literal["", "first", "second"] = ""
    """Show the depth of its entries as the length of a bar, in one of two colours."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One cell of a table."""

    text: str
    value: Any = None
    """For CSV and sorting; ``None``: unknown."""
    half_width: float | None = None
    note: str = ""
    """Small print behind the text, e.g. the interval."""
    bold: bool = False
    heat: float | None = None
    """0..1: depth of the background, or length of the bar."""
    colour: str = ""
    """CSS colour of a small square in front of the text."""
    links: tuple[tuple[str, str], ...] = ()
    """(text, address) instead of ``text``, in HTML."""


@dataclass(frozen=True, kw_only=True)
class Table:
    name: str
    """File name without its ending."""
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]

    def __post_init__(self):
        assert all(len(row) == len(self.columns) for row in self.rows), self.name


def text(value: str, **more: Any) -> Entry:
    return Entry(text=value, value=value, **more)


def number(value: float | None, show: Callable[[float], str], **more: Any) -> Entry:
    if value is None:
        return Entry(text=UNKNOWN)
    return Entry(text=show(value), value=value, **more)


def percent(value: float | None, **more: Any) -> Entry:
    """A fraction, shown in percent."""
    return number(value, lambda fraction: f"{100 * fraction:.2f}", **more)


def without_constants(table: Table, names: Collection[str]) -> tuple[Table, str]:
    """The table without those of the named columns that say the same in every row, and what they say."""
    constant = {
        i: table.rows[0][i].text
        for i, column in enumerate(table.columns)
        if column.name in names and len({row[i].text for row in table.rows}) == 1
    }
    said = ", ".join(
        f"{table.columns[i].title.lower()} {text}" for i, text in constant.items() if text != UNKNOWN
    )

    return without(table, {table.columns[i].name for i in constant}), said


def without(table: Table, names: Collection[str]) -> Table:
    """The table without the named columns."""
    left = [i for i, column in enumerate(table.columns) if column.name not in names]

    def kept(items: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(items[i] for i in left)

    return replace(table, columns=kept(table.columns), rows=tuple(map(kept, table.rows)))


def to_csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header = []
    for column in table.columns:
        header += [column.name, f"{column.name}_half_width_95"] if column.interval else [column.name]
    writer.writerow(header)
    for row in table.rows:
        values = []
        for column, entry in zip(table.columns, row, strict=True):
            values.append(plain(entry.value))
            if column.interval:
                values.append(plain(entry.half_width))
        writer.writerow(values)
    return out.getvalue()


def to_markdown(table: Table) -> str:
    head = [markdown(column.title) for column in table.columns]
    lines = [_pipes(head), _pipes("--:" if column.number else ":--" for column in table.columns)]
    for row in table.rows:
        shown = []
        for entry in row:
            words = markdown(" ".join(filter(None, (entry.text, entry.note))))
            shown.append(f"**{words}**" if entry.bold else words)
        lines.append(_pipes(shown))
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A ``tabular`` for the booktabs package, with the caption as a comment."""
    align = "".join("r" if column.number else "l" for column in table.columns)
    lines = [
        f"% {_one_line(table.caption)}",
        f"\\begin{{tabular}}{{{align}}}",
        "\\toprule",
        " & ".join(_latex(column.title) for column in table.columns) + " \\\\",
        "\\midrule",
    ]
    for row in table.rows:
        shown = []
        for entry in row:
            words = f"\\textbf{{{_latex(entry.text)}}}" if entry.bold else _latex(entry.text)
            shown.append(f"{words} {{\\small {_latex(entry.note)}}}" if entry.note else words)
        lines.append(" & ".join(shown) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def markdown(words: str) -> str:
    """Any text as one line of Markdown that shows it and does nothing else."""
    words = _one_line(words).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for sign in "|*_`[]$~":
        words = words.replace(sign, f"\\{sign}")
    return words


def plain(value: Any) -> str:
    """One spelling per value: six digits behind the point for fractions, nothing for unknown."""
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _pipes(words: Sequence[str]) -> str:
    return "| " + " | ".join(words) + " |"


LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "Δ": r"$\Delta$",
        "⁶": r"$^6$",
        "⁹": r"$^9$",
        "·": r"$\cdot$",
        "×": r"$\times$",
        "–": "--",
        "−": "$-$",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
    }
    | {sign: f"\\{sign}" for sign in "&%$#_{}"}
)


def _latex(words: str) -> str:
    return _one_line(words).translate(LATEX)


def _one_line(words: str) -> str:
    return " ".join(words.split())


def points(fraction: float) -> str:
    """A difference of fractions in points, with its sign."""
    text = f"{100 * fraction:+.2f}".replace("-", "−")
    return "0.00" if text in ("+0.00", "−0.00") else text


def probability(share: float) -> str:
    """Draws of a bootstrap never make anything certain."""
    return "<0.01" if share < 0.005 else ">0.99" if share > 0.995 else f"{share:.2f}"

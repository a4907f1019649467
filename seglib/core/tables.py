"""Tables: columns x rows, in HTML (through the page's templates), CSV, Markdown, LaTeX (booktabs) and text.

A row is any object. Each column says how its value is taken from a row and how a reader sees it:

    columns = (
        Column("method", "Method", lambda cell: cell.method),
        Column("params", "Params, 10⁶", lambda cell: cell.cost.params, millions),
    )
    to_csv(Table("cost", "Parameters", columns, cells))

CSV has the plain values, and a second column for the half-width of an interval; all others have what a reader
sees. The writers are the only ones of the project, and plain Python: ``seglib score`` would pay half a second
to import pandas, whose writers take integers with gaps for floats (CSV), need another package (Markdown), and
escape fewer signs than these names need (LaTeX).
"""

import csv
import io
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

UNKNOWN = "–"


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
    link: str = ""
    """Address that the text leads to, in HTML."""


@dataclass(frozen=True)
class Column:
    name: str
    """Header in CSV, with the unit."""
    title: str
    """Header for readers."""
    get: Callable[[Any], Any]
    """Row -> value, ``None`` where it is unknown; or a whole :class:`Entry`, where a value is not enough."""
    show: Callable[[Any], str] | None = None
    """Number -> its text; ``None``: a column of texts."""
    fixed: bool = False
    """Whether its texts are short and never broken, like a commit."""
    interval: bool = False
    """Whether its values are intervals of fractions: mean and half-width, which gets its own CSV column."""
    shade: Literal["", "heat", "bar first", "bar second"] = ""
    """Show numbers (0..1) as depth of the background, or as length of a bar in one of two colours."""
    on_page: Literal["yes", "varies", "no"] = "yes"
    """``varies``: the page leaves it out where every row says the same; ``no``: it is for the files alone."""
    link: Callable[[Any], str] | None = None
    """Row -> address, empty where there is none."""
    bold: Callable[[Any], bool] | None = None

    @property
    def is_number(self) -> bool:
        return self.show is not None

    def entry(self, row: Any) -> Entry:
        value = self.get(row)
        if isinstance(value, Entry):
            return value
        if value is None:
            return Entry(text=UNKNOWN)
        half_width, note = None, ""
        if self.interval:
            value, half_width = value.mean, value.half_width
            note = "1 run" if half_width is None else f"±{100 * half_width:.2f}"
        return Entry(
            text=value if self.show is None else self.show(value),
            value=value,
            half_width=half_width,
            note=note,
            bold=self.bold is not None and self.bold(row),
            heat=value if self.shade else None,
            link="" if self.link is None else self.link(row),
        )


@dataclass(frozen=True)
class Table:
    name: str
    """File name without its ending."""
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Any]
    status: Callable[[Any], str] | None = None
    """Row -> a word to filter rows by, on the page."""
    shared: str = ""
    """What columns that were left out say in every row, see :func:`on_page`."""
    foot: int = 0
    """How many of the last rows sum the others up."""

    @cached_property
    def entries(self) -> tuple[tuple[Entry, ...], ...]:
        """The cells, row by row."""
        return tuple(tuple(column.entry(row) for column in self.columns) for row in self.rows)

    @cached_property
    def statuses(self) -> list[str] | None:
        return None if self.status is None else [self.status(row) for row in self.rows]


def on_page(table: Table) -> Table:
    """The table as the page has it, see ``Column.on_page``; ``shared`` says what all rows have in common."""
    columns, words = [], []
    texts = zip(*table.entries, strict=True) if table.rows else [()] * len(table.columns)
    for column, entries in zip(table.columns, texts, strict=True):
        distinct = {entry.text for entry in entries}
        if column.on_page == "yes" or (column.on_page == "varies" and len(distinct) != 1):
            columns.append(column)
        elif column.on_page == "varies" and distinct != {UNKNOWN}:
            words.append(f"{column.title.lower()} {distinct.pop()}")
    return replace(table, columns=columns, shared=", ".join(words))


def to_csv(table: Table, *, digits: int | None = 6) -> str:
    """``digits`` behind the point of a fraction; ``None``: as many as tell it from any other."""
    header = []
    for column in table.columns:
        header += [column.name, f"{column.name}_half_width_95"] if column.interval else [column.name]
    lines = [header]
    for entries in table.entries:
        line = []
        for column, entry in zip(table.columns, entries, strict=True):
            line.append(plain(entry.value, digits))
            if column.interval:
                line.append(plain(entry.half_width, digits))
        lines.append(line)
    return csv_text(lines)


def csv_text(lines: Iterable[Sequence[str]]) -> str:
    """CSV of texts, the first line of which is the header."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def plain(value: Any, digits: int | None = 6) -> str:
    """One spelling per value: nothing for unknown."""
    if value is None:
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float) and digits is not None else str(value)


def to_markdown(table: Table) -> str:
    lines = [
        _pipes(markdown(column.title) for column in table.columns),
        _pipes("--:" if column.is_number else ":--" for column in table.columns),
    ]
    for entries in table.entries:
        words = [markdown(" ".join(filter(None, (entry.text, entry.note)))) for entry in entries]
        lines.append(_pipes(f"**{w}**" if e.bold else w for w, e in zip(words, entries, strict=True)))
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A ``tabular`` for the booktabs package, with the caption as a comment."""
    lines = [
        f"% {_one_line(table.caption)}",
        f"\\begin{{tabular}}{{{''.join('r' if column.is_number else 'l' for column in table.columns)}}}",
        "\\toprule",
        " & ".join(_latex(column.title) for column in table.columns) + " \\\\",
        "\\midrule",
    ]
    for number, entries in enumerate(table.entries):
        if table.foot and number == len(table.rows) - table.foot:
            lines.append("\\midrule")
        lines.append(" & ".join(map(_latex_entry, entries)) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def to_text(table: Table) -> str:
    """For the terminal: names to the left, numbers to the right."""
    lines = [[column.title for column in table.columns]]
    lines += [[entry.text for entry in entries] for entries in table.entries]
    widths = [max(map(_width, texts)) for texts in zip(*lines, strict=True)]
    rooms = [[w - _width(text) for text, w in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(
        "  ".join(
            " " * room + text if column.is_number else text + " " * room
            for column, text, room in zip(table.columns, line, line_rooms, strict=True)
        ).rstrip()
        for line, line_rooms in zip(lines, rooms, strict=True)
    )


def percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


def points(fraction: float) -> str:
    """A difference of fractions in points, with its sign."""
    text = f"{100 * fraction:+.2f}".replace("-", "−")
    return "0.00" if text in ("+0.00", "−0.00") else text


def probability(share: float) -> str:
    """Draws of a bootstrap never make anything certain."""
    return "<0.01" if share < 0.005 else ">0.99" if share > 0.995 else f"{share:.2f}"


def millions(count: float) -> str:
    return f"{count / 1e6:.2f}"


def size(size_hw: Iterable[int]) -> str:
    """e.g. ``480×640``"""
    return "×".join(map(str, size_hw))


def markdown(words: str) -> str:
    """Any text as one line of Markdown that shows it and does nothing else."""
    words = _one_line(words).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for sign in "|*_`[]$~":
        words = words.replace(sign, f"\\{sign}")
    return words


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


def _latex_entry(entry: Entry) -> str:
    words = f"\\textbf{{{_latex(entry.text)}}}" if entry.bold else _latex(entry.text)
    return f"{words} {{\\small {_latex(entry.note)}}}" if entry.note else words


def _latex(words: str) -> str:
    return _one_line(words).translate(LATEX)


def _pipes(words: Iterable[str]) -> str:
    return f"| {' | '.join(words)} |"


def _one_line(words: str) -> str:
    return " ".join(words.split())


def _width(words: str) -> int:
    """Columns of a terminal that a text takes: two for each East Asian character."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in words)

"""Paper cards: what a paper is, what it claims in words, and what is known of its recipe.

One TOML file per paper beside the claims; the file's name is the ``paper`` of its rows. What could
not be verified stays empty.
"""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from seglib.claims.reading import DATA, ELSEWHERE, toml_files
from seglib.core import typed


@dataclass(frozen=True, kw_only=True)
class Paper:
    title: str
    authors: tuple[str, ...] = ()
    year: int | None = None
    venue: str | None = None
    arxiv: str | None = None
    code: str | None = None
    claims: tuple[str, ...] = ()
    """What it claims, in our words."""
    known: tuple[str, ...] = ()
    """What is known of its recipe and numbers, and from where."""
    unknown: tuple[str, ...] = ()
    """What no source available to us says; such a choice is ours."""
    relative: tuple[tuple[str, str], ...] = ()
    """(method, baseline) pairs: differences are derived as relative claims, and shown of what ran here."""


def load_papers(paths: Iterable[Path] = (DATA,)) -> dict[str, Paper]:
    """The cards of the given folders, and of given CSV files those of their names, by paper.

    Raises ``ValueError`` naming the file for a card that is not valid, or given twice.
    """
    papers: dict[str, Paper] = {}
    for file in dict.fromkeys(file for path in map(Path, paths) for file in toml_files(path)):
        if file.name == ELSEWHERE:
            continue
        if file.stem in papers:
            raise ValueError(f"{file}: there is another card of the paper {file.stem!r}")
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file}: not valid TOML: {error}") from None
        papers[file.stem] = typed.parse(Paper, values, str(file))
    return papers

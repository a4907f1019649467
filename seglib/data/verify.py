"""Check every file of a data set against what download and prepare recorded; changes nothing.

    python -m seglib verify camvid [--data data/camvid]

Prepared files are compared with ``manifest.json``, raw ones with ``raw/files.sha256``, splits and classes
with what is published. Prints one line for whatever is missing, extra or changed, and ends with exit code 1
if there is any.
"""

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from seglib.core import registry
from seglib.core.files import sha256_file
from seglib.core.progress import track
from seglib.data.manifest import read_manifest_file
from seglib.data.prepare import class_file, class_table, data_digest
from seglib.data.sets.base import DataSet, read_checksums
from seglib.experiment import records
from seglib.experiment.records import Manifest, RawData

MAX_LINES = 20
"""Lines per kind of finding; the rest is counted by folder."""
REMEDY = (
    "download restores raw files, prepare writes labels and manifest again; a folder of your own and "
    "extra files are yours to mend"
)


class RecordedFile(NamedTuple):
    """Digest and size of a file when it was recorded."""

    sha256: str
    size_bytes: int | None
    source: str
    """The file that records them."""


@dataclass(frozen=True)
class Finding:
    kind: str
    """``missing``, ``extra``, ``changed``, ``unreadable`` (files) or ``wrong`` (anything else)."""
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}" + (f": {self.detail}" if self.detail else "")


def run(*, dataset: str, data: Path | None, raw: Path | None, workers: int) -> None:
    """Print each difference from the records; ``SystemExit(1)`` if there is any.

    ``data``: the prepared data set (default ``data/<dataset>``); ``raw``: what download made (default
    ``raw`` in it). Raises ``ValueError`` where there is no manifest to check against.
    """
    if workers < 1:
        raise ValueError(f"--workers {workers}: at least one is needed")
    data = data or Path("data", dataset)
    raw = raw or data / "raw"
    description = registry.resolve(registry.DATASETS[dataset])()
    manifest = read_manifest_file(data)
    if manifest.dataset != dataset:
        raise ValueError(f"{data}/manifest.json is of data set {manifest.dataset}, not {dataset}")
    root, listing, findings = _raw_files(raw)
    files = _expected(manifest, data, root, listing)
    findings += _tables(description, manifest, data)
    findings += _extra(data / "labels", files, lambda path: True)
    if listing:
        findings += _extra(root, files, description.has)
    with ThreadPoolExecutor(workers) as pool:  # hashing runs outside Python's lock
        checked = pool.map(lambda item: _compare(*item), files.items())
        for findings_of_file in track(checked, total=len(files), what=f"verify {description.TITLE}"):
            findings += findings_of_file
    for line in _lines(findings):
        print(line.encode("utf-8", "backslashreplace").decode())  # a name may hold bytes that are no text
    counts = Counter(finding.kind for finding in findings)
    if findings:
        said = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
        print(f"{dataset}: {said} ({len(files):,} files checked). {REMEDY}")
        sys.exit(1)
    sizes = ", ".join(f"{name} {len(pairs):,}" for name, pairs in manifest.all_splits.items())
    print(f"{dataset}: all {len(files):,} files are as recorded; {sizes} images; {manifest.data_digest}")


def _raw_files(raw: Path) -> tuple[Path, dict[str, str], list[Finding]]:
    """The folder of the raw files, download's records of each, and which of these records are gone."""
    findings, root, listing = [], raw, {}
    marker = raw / "source.json"
    try:
        source = records.read(RawData, marker)
        if source is None:
            findings.append(Finding("missing", str(marker), "the raw files may be incomplete"))
        elif source.data_root is not None:
            root = Path(source.data_root)
    except ValueError as error:
        findings.append(Finding("changed", str(marker), str(error).removeprefix(f"{marker}: ")))
    try:
        listing = read_checksums(raw / "files.sha256")
    except FileNotFoundError:
        findings.append(
            Finding("missing", str(raw / "files.sha256"), "raw labels and lists cannot be checked")
        )
    except ValueError:
        findings.append(Finding("changed", str(raw / "files.sha256"), "not a list of checksums"))
    return root, listing, findings


def _expected(
    manifest: Manifest, data: Path, root: Path, listing: dict[str, str]
) -> dict[Path, list[RecordedFile]]:
    """Every recorded file, with its records."""
    files = defaultdict(list)
    for path, digest in listing.items():
        files[_normal(root / path)].append(RecordedFile(digest, None, "raw/files.sha256"))
    for pair in (pair for pairs in manifest.all_splits.values() for pair in pairs):
        recorded = {pair.image: RecordedFile(pair.image_sha256, pair.image_bytes, "manifest.json")}
        if pair.label is not None:
            recorded[pair.label] = RecordedFile(pair.label_file_sha256, pair.label_bytes, "manifest.json")
        for path, record in recorded.items():
            files[_normal(data / path)].append(record)
    return dict(files)


def _compare(path: Path, records: list[RecordedFile]) -> list[Finding]:
    try:
        size_bytes = path.stat().st_size
        expected = {record.size_bytes for record in records} - {None, size_bytes}
        if expected:
            return [Finding("changed", str(path), f"{size_bytes:,} bytes instead of {min(expected):,}")]
        digest = sha256_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return [Finding("missing", str(path))]
    except OSError as error:
        return [Finding("unreadable", str(path), error.strerror)]
    sources = [record.source for record in records if record.sha256 != digest]
    return [Finding("changed", str(path), f"not the content in {' and '.join(sources)}")] if sources else []


def _tables(description: DataSet, manifest: Manifest, data: Path) -> Iterator[Finding]:
    """Split sizes, classes and digest: what follows from the manifest and the description alone."""
    path = str(data / "manifest.json")
    for name, split in description.SPLITS.items():
        found = len(manifest.all_splits.get(name, ()))
        is_left_out = split.labels is None and not found  # as anyone may who has no use for it
        if found != split.size and not is_left_out:
            yield Finding("wrong", f"split {name}", f"{found:,} images, published are {split.size:,}")
    classes = {name: getattr(manifest, name) for name in class_table(description)}
    if classes != class_table(description):
        yield Finding("wrong", path, "its classes are not those of this version; prepare the data set again")
    if data_digest(manifest.splits, classes) != manifest.data_digest:
        yield Finding("wrong", path, "its data digest is not that of its files; prepare again")
    if (data / ".prepare.jsonl").exists():
        yield Finding("wrong", str(data / ".prepare.jsonl"), "prepare was interrupted; run it to its end")
    names = data / "classes.txt"
    if not names.is_file():
        yield Finding("missing", str(names))
    elif names.read_bytes() != class_file(description):
        yield Finding("changed", str(names), "not the classes of this version")


def _extra(
    folder: Path, files: dict[Path, list[RecordedFile]], belongs: Callable[[str], bool]
) -> Iterator[Finding]:
    """Files that look like part of the data set, and are not."""
    for parent, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = Path(parent, name)
            if _normal(path) not in files and belongs(path.relative_to(folder).as_posix()):
                yield Finding("extra", str(_normal(path)))


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _lines(findings: list[Finding]) -> Iterator[str]:
    """One line each, by kind; of many, the first and how many more there are in which folder."""
    kinds = defaultdict(list)
    for finding in findings:
        kinds[finding.kind].append(finding)
    for kind, same in kinds.items():
        yield from map(str, same[:MAX_LINES])
        if more := same[MAX_LINES:]:
            folders = Counter(str(Path(finding.what).parent) for finding in more)
            where = ", ".join(f"{folder} ({count:,})" for folder, count in folders.most_common(5))
            rest = f" and {len(folders) - 5} more folders" if len(folders) > 5 else ""
            yield f"{kind}: {len(more):,} more, in {where}{rest}"

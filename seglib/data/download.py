"""Bring the raw files of a data set into place and check each of them.

    python -m seglib download camvid --out data/camvid/raw [--mirror DIR|URL | --data-root DIR]

``out`` then holds the files (with ``data_root`` they stay where they are), ``files.sha256`` with the
SHA-256 of each (``sha256sum -c`` reads it too), and last ``source.json``: where they came from. With
``data_root``, ``.data_root`` says so too: the checksums are of the user's files there, and bind no archive.
A run with everything in place only checks it; a run after an interruption does what is missing.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from seglib.core import registry
from seglib.core.files import atomic_path, format_checksums, read_checksums, sha256_file
from seglib.core.progress import track
from seglib.data.archives import extract
from seglib.data.sets.base import DataSet, Source
from seglib.data.transfer import Transfer, fetch
from seglib.experiment import paths, records
from seglib.experiment.records import RawData

THREADS = 4
FETCHED = ".archives"
"""Folder below the raw folder for fetched archives, which are deleted after use; the user's never are."""


def run(*, dataset: str, out: Path, mirror: str | None, data_root: str | None) -> None:
    """Fetch or find ``dataset`` and check it.

    ``mirror``: a folder or a URL that holds the archives under their published names. A generated
    data set needs no archive and ignores it. ``data_root``: a folder with the unpacked files, which
    is only read.

    Raises ``ValueError`` naming the file, or ``OSError``.
    """
    description = registry.resolve(registry.DATASETS[dataset])()
    if mirror and data_root:
        raise ValueError("give mirror or data_root, not both")
    out = Path(out)
    marker = out / "source.json"
    if data_root:
        root = Path(data_root).absolute()
        origin = {"source": "data_root", "data_root": str(root)}
        checksums = _check_own(description, root)
        out.mkdir(parents=True, exist_ok=True)
        paths.data_root_record(out).write_text(str(root), encoding="utf-8")
    elif description.SOURCES:
        root = out
        origin = {
            "source": "archives",
            "archives": tuple(_origin(source, mirror) for source in description.SOURCES),
        }
        checksums = _unpack(description, out, mirror, marker)
    else:
        root = out
        origin = {"source": "generated"}
        checksums = _generate(description, out)
    if not description.checksums() and description.SOURCES:
        print(f"{description.TITLE}: no checksums of files are published; recorded new ones", file=sys.stderr)
    print(f"{description.TITLE}: licence {description.LICENCE}. Cite {description.CITATION}", file=sys.stderr)
    os.sync()
    listing = format_checksums(checksums)
    with atomic_path(out / "files.sha256") as temporary:
        temporary.write_text(listing, encoding="utf-8")
    size_bytes = sum((root / path).stat().st_size for path in checksums)
    raw_data = RawData(
        dataset=dataset,
        **origin,
        files=len(checksums),
        bytes=size_bytes,
        manifest_sha256=hashlib.sha256(listing.encode()).hexdigest(),
    )
    records.write(marker, raw_data)


def _check_own(description: DataSet, root: Path) -> dict[str, str]:
    """Checksums of the user's files; refused if any is missing or differs from the published one."""
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; data_root must hold the unpacked files")
    expected = description.checksums()
    digests = _digests(root, expected or _files(description, root))
    wrong = [path for path in expected if digests[path] != expected[path]]
    if wrong:
        what = "differs from the published file" if digests[wrong[0]] else "is missing"
        raise ValueError(
            f"{root / wrong[0]}: {what} ({len(wrong)} of {len(expected)} such files); "
            f"data_root must be the folder that holds {wrong[0].split('/')[0]}, complete and unchanged"
        )
    return digests


def _unpack(description: DataSet, out: Path, mirror: str | None, marker: Path) -> dict[str, str]:
    """Make ``out`` hold every file of the archives; archives that were fetched are deleted at the end."""
    recorded = out / "files.sha256"
    record = paths.data_root_record(out)
    own = record.exists()
    expected = description.checksums() or (read_checksums(recorded) if recorded.exists() and not own else {})
    digests = _digests(out, expected)
    todo = {path for path in expected if digests[path] != expected[path]}
    if expected and not todo:
        return digests
    if not own:
        marker.unlink(missing_ok=True)
    archives = {source: _locate(description, source, out, mirror) for source in description.SOURCES}
    fetched = [archive for archive in archives.values() if archive.parent == out / FETCHED]
    jobs = [
        Transfer(
            url=_address(description, source, mirror),
            target=archive,
            size_mib=source.size_mib,
            account=_account() if mirror else None,
        )
        for source, archive in archives.items()
        if archive in fetched and not archive.exists()
    ]
    if own:  # it stays in use until all archives are located
        marker.unlink(missing_ok=True)
        recorded.unlink(missing_ok=True)
        record.unlink()  # last, so that a stop before it changes nothing
    fetch(jobs)
    for source, archive in archives.items():
        try:
            _check_archive(archive, source.checksum)
            place = _placing(description, source, todo)
            digests |= extract(archive, place=place, into=out, expected=expected)
        except ValueError:
            if archive in fetched:
                archive.unlink()  # so that the next run fetches it anew
            raise
    incomplete = None  # or the error, raised once the archives are deleted: the next run must fetch them
    if not expected:
        try:
            digests = _digests(out, _files(description, out))
        except (ValueError, FileNotFoundError) as error:
            _refuse_unknown_files(description, out, digests)
            incomplete = error
    elif wrong := sorted(path for path in todo if digests[path] != expected[path]):
        state = "is missing" if digests[wrong[0]] is None else "is damaged"
        incomplete = ValueError(
            f"{', '.join(map(str, archives.values()))}: holds no {wrong[0]}, which {state} in {out} "
            f"({len(wrong)} such files); it is incomplete or another release: fetch it again"
        )
    if (out / FETCHED).exists():
        shutil.rmtree(out / FETCHED)
    if incomplete:
        raise incomplete
    return digests


def _refuse_unknown_files(description: DataSet, out: Path, unpacked: Collection[str]) -> None:
    """``ValueError`` for files that look like part of the data set and are in none of the archives."""
    paths = (
        Path(folder, name).relative_to(out).as_posix()
        for folder, _, names in os.walk(out, followlinks=True)
        for name in names
    )
    unknown = sorted(path for path in paths if description.has(path) and path not in unpacked)
    if unknown:
        raise ValueError(
            f"{out / unknown[0]}: is in none of the archives ({len(unknown)} such files); move it away"
        ) from None


def _locate(description: DataSet, source: Source, out: Path, mirror: str | None) -> Path:
    """The path of the archive: in the mirror's folder; in ``out``, where the user put it there; else below
    ``out``, for fetching.
    """
    if mirror is None or _is_url(mirror):
        own = out / source.file_name
        return own if own.exists() else out / FETCHED / source.file_name
    archive = Path(mirror, source.file_name)
    if not archive.is_file():
        how = f" ({description.INSTRUCTIONS})" if source.url is None else ""
        raise ValueError(f"{archive}: no such file; a mirror holds the archives under these names{how}")
    return archive


def _address(description: DataSet, source: Source, mirror: str | None) -> str:
    if mirror and urlsplit(mirror).password:
        raise ValueError("mirror: an address must hold no password; put it into ~/.netrc")
    if mirror:
        return f"{mirror.rstrip('/')}/{source.file_name}"
    if source.url is None:
        files = ", ".join(f"{one.file_name} ({_size(one)})" for one in description.SOURCES)
        raise ValueError(
            f"{description.TITLE} cannot be fetched without an account or a form. "
            f"{description.INSTRUCTIONS}. Then give the folder of the archives as mirror ({files}), "
            f"or the unpacked one as data_root"
        )
    return source.url


def _account() -> tuple[str, str] | None:
    """The account at a mirror, from the environment: it does not belong in a configuration."""
    user, password = (os.environ.get(f"SEGLIB_MIRROR_{name}") for name in ("USER", "PASSWORD"))
    return (user, password) if user and password else None


def _check_archive(archive: Path, checksum: str | None) -> None:
    if checksum:
        algorithm, _, expected = checksum.partition(":")
        with open(archive, "rb") as file:
            actual = hashlib.file_digest(file, algorithm).hexdigest()
        if actual != expected:
            raise ValueError(
                f"{archive}: its {algorithm} is {actual}, not {expected}; fetch the archive again"
            )


def _placing(description: DataSet, source: Source, todo: set[str]) -> Callable[[str], str | None]:
    """The path of each member of an archive; ``todo``: the paths that are needed, empty for all."""

    def place(member: str) -> str | None:
        path = description.place(member, source)
        return path if not todo or path in todo else None

    return place


def _generate(description: DataSet, out: Path) -> dict[str, str]:
    checksums = {}
    total = 2 * sum(split.size for split in description.SPLITS.values())
    for path, content in track(description.generate(), total=total, what=f"generate {description.TITLE}"):
        checksums[path] = hashlib.sha256(content).hexdigest()
        if not (out / path).exists() or sha256_file(out / path) != checksums[path]:
            with atomic_path(out / path, sync=False) as temporary:
                temporary.write_bytes(content)
    return checksums


def _files(description: DataSet, root: Path) -> list[str]:
    """Every file of the data set below ``root``, split lists included."""
    lists = [split.list_file for split in description.SPLITS.values() if split.list_file]
    return [path for item in description.find(root) for path in (item.image, item.label) if path] + lists


def _digests(root: Path, paths: Iterable[str]) -> dict[str, str | None]:
    """SHA-256 of each file below ``root``; ``None`` for one that is not there."""
    paths = list(paths)
    if not paths:
        return {}
    with ThreadPoolExecutor(THREADS) as pool:
        digests = pool.map(lambda path: sha256_file(root / path) if (root / path).is_file() else None, paths)
        return dict(zip(paths, track(digests, total=len(paths), what="check files"), strict=True))


def _is_url(mirror: str) -> bool:
    return mirror.startswith(("http://", "https://"))


def _size(source: Source) -> str:
    return "size not known" if source.size_mib is None else f"about {source.size_mib / 1024:.2g} GiB"


def _origin(source: Source, mirror: str | None) -> str:
    """The origin of an archive, without the path or account of this machine."""
    return source.file_name if mirror or source.url is None else source.url

"""Bring the raw files of a data set into place and prove that they are the right ones.

    python -m seglib download camvid --out data/camvid/raw [--mirror DIR|URL | --data-root DIR]

``out`` then holds the files (with ``data_root`` they stay where they are), ``files.sha256`` with the
SHA-256 of each (``sha256sum -c`` reads it too), and last ``source.json``: where they came from.
A run with everything in place only checks it; a run after an interruption does what is missing.
"""

import hashlib
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from seglib import registry
from seglib.archives import extract
from seglib.datasets.base import DataSet, Source
from seglib.files import atomic_path, format_checksums, read_checksums, sha256_file, write_json
from seglib.progress import track
from seglib.transfer import fetch

THREADS = 4


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
    elif description.SOURCES:
        root = out
        origin = {
            "source": "archives",
            "archives": [_shown(source, mirror) for source in description.SOURCES],
        }
        checksums = _unpack(description, out, mirror, marker)
    else:
        root = out
        origin = {"source": "generated"}
        checksums = _generate(description, out)
    os.sync()
    listing = format_checksums(checksums)
    with atomic_path(out / "files.sha256") as temporary:
        temporary.write_text(listing, encoding="utf-8")
    size_bytes = sum((root / path).stat().st_size for path in checksums)
    write_json(
        marker,
        {
            "schema": 1,
            "dataset": dataset,
            **origin,
            "files": len(checksums),
            "bytes": size_bytes,
            "manifest_sha256": hashlib.sha256(listing.encode()).hexdigest(),
        },
    )


def _check_own(description: DataSet, root: Path) -> dict[str, str]:
    """Checksums of the user's files; refused if any is missing or differs from the published one."""
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; data_root must hold the unpacked files")
    expected = description.checksums()
    found = _digests(root, expected or _files(description, root))
    wrong = [path for path in expected if found[path] != expected[path]]
    if wrong:
        what = "differs from the published file" if found[wrong[0]] else "is missing"
        raise ValueError(
            f"{root / wrong[0]}: {what} ({len(wrong)} of {len(expected)} such files); "
            f"data_root must be the folder that holds {wrong[0].split('/')[0]}, complete and unchanged"
        )
    return found


def _unpack(description: DataSet, out: Path, mirror: str | None, marker: Path) -> dict[str, str]:
    """Make ``out`` hold every file of the archives; archives that were fetched are deleted at the end."""
    recorded = out / "files.sha256"
    expected = description.checksums() or (read_checksums(recorded) if recorded.exists() else {})
    found = _digests(out, expected)
    todo = {path for path in expected if found[path] != expected[path]}
    if expected and not todo:
        return found
    marker.unlink(missing_ok=True)
    wanted = todo.__contains__ if expected else description.has
    fetched = []
    for source in description.SOURCES:
        archive, is_ours = _archive(description, source, out, mirror)
        if is_ours:
            fetched.append(archive)
        try:
            if source.sha256 and sha256_file(archive) != source.sha256:
                raise ValueError(f"{archive}: its SHA-256 is not {source.sha256}; fetch the archive again")
            found |= extract(
                archive, top_folder=source.top_folder, into=out, wanted=wanted, expected=expected
            )
        except ValueError:
            if is_ours:
                archive.unlink()  # so that the next run fetches it anew
            raise
    missing = sorted(path for path in todo if found[path] is None)
    if missing:
        for archive in fetched:
            archive.unlink()
        raise ValueError(
            f"{archive}: holds no {missing[0]} ({len(missing)} such files); "
            f"it is incomplete or another release: fetch it again"
        )
    if not expected:
        found = _digests(out, _files(description, out))
        print(
            f"{description.TITLE}: no checksums are published; recorded these in {recorded}", file=sys.stderr
        )
    for archive in fetched:
        archive.unlink()
    return found


def _archive(description: DataSet, source: Source, out: Path, mirror: str | None) -> tuple[Path, bool]:
    """Where the archive lies, and whether this program put it there."""
    if mirror and not _is_url(mirror):
        archive = Path(mirror, source.file_name)
        if not archive.is_file():
            raise ValueError(f"{archive}: no such file; a mirror holds the archives under these names")
        return archive, False
    if mirror and urlsplit(mirror).password:
        raise ValueError("mirror: no password in an address, please; put it into ~/.netrc")
    url = f"{mirror.rstrip('/')}/{source.file_name}" if mirror else source.url
    if url is None:
        raise ValueError(
            f"{description.TITLE} cannot be fetched without an account. {description.INSTRUCTIONS}"
        )
    archive = out / source.file_name
    if not archive.exists():
        fetch(url, archive, size_mib=source.size_mib)
    return archive, True


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
    return [path for item in description.find(root) for path in (item.image, item.label)] + lists


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


def _shown(source: Source, mirror: str | None) -> str:
    """Where an archive came from, without the path or account of this machine."""
    return source.file_name if mirror or source.url is None else source.url

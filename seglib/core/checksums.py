"""What a step wrote, with the SHA-256 of every file: ``<step>.sha256`` beside the files, written last.

The format is that of ``sha256sum``, so a seal can be checked without seglib, years later::

    cd results/cells/scenes/fcn/resnet10t/quick/seed0/train && sha256sum -c train.sha256

A file that was changed, or lost, after its step had ended no longer agrees with the seal: ``seglib
verify-results`` checks all seals of a folder, ``seglib trace`` those on the way of one number.
"""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from seglib.core.files import atomic_path, format_checksums, read_checksums, sha256_file

THREADS = 4
"""Hashing runs outside Python's lock."""
GONE = "gone"
LARGE = ("model.safetensors", "predictions")
"""Of a training and of a test: left behind where results are published or handed on. The seals stay."""


@dataclass(frozen=True)
class Fault:
    """A sealed file that is no longer what its step wrote."""

    path: Path
    what: str
    """That it changed, :data:`GONE`, or why the seal itself cannot be read."""

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def seal(path: Path, files: Iterable[Path]) -> None:
    """Write the checksums of ``files``, which lie in the folder of ``path`` or below it, to ``path``."""
    checksums = _checksums(path.parent, [file.relative_to(path.parent).as_posix() for file in files])
    with atomic_path(path) as temporary:
        temporary.write_text(format_checksums(checksums), encoding="utf-8")


def sealed_files(path: Path) -> dict[Path, str]:
    """File -> SHA-256 of the seal at ``path``. ``ValueError`` when it is no list of checksums."""
    try:
        return {path.parent / name: digest for name, digest in read_checksums(path).items()}
    except (UnicodeDecodeError, ValueError):
        raise ValueError(f"{path}: not a list of checksums; repeat the step that wrote it") from None


def faults(path: Path) -> Iterator[Fault]:
    """What disagrees with the seal at ``path``."""
    try:
        expected = sealed_files(path)
    except ValueError as error:
        yield Fault(path, str(error).removeprefix(f"{path}: "))
        return
    with ThreadPoolExecutor(THREADS) as pool:
        for (file, digest), found in zip(expected.items(), pool.map(digest_of, expected), strict=True):
            if found != digest:
                yield Fault(file, GONE if found is None else "changed after it was written")


def files_digest(folder: Path, names: Iterable[str]) -> str:
    """One SHA-256 over the names and contents of files below ``folder``."""
    return checksums_digest(_checksums(folder, names))


def checksums_digest(checksums: dict[str, str]) -> str:
    """What :func:`files_digest` gives for files with these checksums."""
    return hashlib.sha256(format_checksums(checksums).encode()).hexdigest()


def _checksums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    names = list(names)
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(names, pool.map(lambda name: sha256_file(folder / name), names), strict=True))


def digest_of(path: Path) -> str | None:
    """SHA-256 of a file, ``None`` for one that is gone."""
    try:
        return sha256_file(path)
    except FileNotFoundError:
        return None


def digest_written(path: Path, seal: Path) -> str | None:
    """:func:`digest_of` a file; of one that was left behind, what its seal says."""
    return digest_of(path) or digest_sealed(path, seal)


def digest_sealed(path: Path, seal: Path) -> str | None:
    """What the seal says of a file; ``None`` without a seal."""
    return sealed_files(seal).get(path) if seal.is_file() else None

"""Files that are either complete under their final name or absent."""

import errno
import fcntl
import glob
import hashlib
import json
import os
import platform
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

UMASK = os.umask(0)  # asked for once: it can only be read by setting it, which threads must not do
os.umask(UMASK)
PYTHON_PARSER = threading.Lock()
"""Held while a thread parses Python, as NumPy does to read a file: two at once may fail on Python 3.11."""
UNFINISHED = ".unfinished"
"""Ends the name of a temporary folder, so that no folder of the user's is taken for one."""


@contextmanager
def atomic_path(path: str | os.PathLike, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` on success, remove it on failure.

    The parent folder is made. The data reach the disk before the name does, so that a power loss
    leaves the old file or the new one, never half of one. ``sync=False`` gives that up (waiting for
    the disk takes longer than writing a small file): for many files that one :func:`os.sync` secures
    before the file that declares them complete is written.

    A full disk is reported as by :func:`naming_full_disk`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(temporary)
    try:
        with naming_full_disk(path):
            yield temporary
            if sync:
                with open(temporary, "rb+") as file:
                    os.fsync(file.fileno())
        temporary.chmod(0o666 & ~UMASK)  # mkstemp makes files that only their owner may read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Like :func:`atomic_path` for a whole folder; an existing folder is replaced on success.

    One process at a time writes a folder: what a killed one left beside it, which may be large, is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.????????{UNFINISHED}"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(UNFINISHED, f".{path.name}.", path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~UMASK)
        os.sync()  # the files reach the disk before the name does; to wait for each takes longer
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def naming_full_disk(path: str | os.PathLike) -> Iterator[None]:
    """Let a full disk raise an ``OSError`` that names the file and says what to do; Python's does neither."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        advice = f"{error.strerror}; free some and run again (what is finished stays)"
        raise OSError(error.errno, advice, str(path)) from None


@contextmanager
def only_one(folder: str | os.PathLike, *, what: str) -> Iterator[None]:
    """Hold the lock of ``folder``; ``ValueError`` while another process holds it.

    Also between the machines that share a disk. The lock ends with its process, however that ends. The folder
    is made, and removed if it is left empty. ``what`` the holder does there is for the message.
    """
    path = Path(folder, ".lock")
    with _locked(path, what) as lock:
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}")
        lock.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()


def _locked(path: Path, what: str) -> TextIO:
    """The file at ``path``, open and locked.

    A holder that ends removes it: to lock what was opened before that, and has no name now, keeps nobody out.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), ExitStack() as stack:
            lock = stack.enter_context(open(path, "a+", encoding="utf-8"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read() or "another process"
                raise ValueError(
                    f"{what} is under way already: {holder} holds {path}; wait for it, or end it"
                ) from None
            if os.path.samestat(os.fstat(lock.fileno()), os.stat(path)):
                stack.pop_all()
                return lock


def zip_folder(folder: str | os.PathLike, path: str | os.PathLike) -> None:
    """All files of a folder as the archive ``path``, atomically; equal files give equal bytes.

    Nothing is compressed: how would depend on the version of zlib, and git compresses what it stores.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in sorted(file for file in Path(folder).rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix())  # of 1980-01-01
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())


def json_text(value: Any) -> str:
    """``value`` as indented JSON; NaN and infinity are refused."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write :func:`json_text` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json_text(value), encoding="utf-8")


def sha256_file(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checksums(path: str | os.PathLike) -> dict[str, str]:
    """Path -> SHA-256 from a file in the format of ``sha256sum``."""
    lines = Path(path).read_text("utf-8").splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def format_checksums(checksums: dict[str, str]) -> str:
    """The inverse of :func:`read_checksums`, sorted by path: one spelling per content."""
    return "".join(f"{checksums[path]}  {path}\n" for path in sorted(checksums))


def disk_time_s(folder: str | os.PathLike) -> float:
    """What the disk of ``folder`` takes for now, in seconds since 1970: the time of a file made there.

    A shared disk has a clock of its own. ``ValueError`` where no file can be made.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError as error:
        raise ValueError(
            f"{folder}: no file can be made there ({error.strerror}), so its clock is unknown"
        ) from None

"""Extract files from untrusted archives: zip, tar, and an archive within an archive."""

import gzip
import hashlib
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO

from seglib.core.files import atomic_path, naming_full_disk
from seglib.core.progress import track

CHUNK_BYTES = 1 << 20
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, RuntimeError),
)
"""Errors of Python for unreadable members: truncated, damaged, encrypted, of an unknown method."""


@dataclass(frozen=True)
class Member:
    """One file of an archive."""

    name: str
    open: Callable[[], IO[bytes]]


def extract(
    archive: Path, *, place: Callable[[str], str | None], into: Path, expected: dict[str, str]
) -> dict[str, str]:
    """Write the wanted members of an archive below ``into``; return path -> SHA-256 of each.

    ``place``: path below ``into`` of a member's name, ``None`` for one that is not wanted. A zip archive
    among the members is unpacked likewise (one level deep). A file whose SHA-256 differs from ``expected``
    is not kept. Raises ``ValueError`` for an archive that is damaged or no archive, that has any member that
    would leave its folder or is a link, or two members for one path, before any of its files is written.
    """
    with closing(_open(archive, str(archive))) as opened:
        wanted, inner = _sort(str(archive), opened, place)
        checksums = _write(str(archive), wanted, into, expected)
        for member in inner:
            copy, title = into / f".{Path(member.name).name}", f"{archive}/{member.name}"
            try:
                into.mkdir(parents=True, exist_ok=True)
                with naming_full_disk(copy):
                    _copy(str(archive), member, copy)
                with closing(_open(copy, title)) as opened_inner:
                    more, _ = _sort(title, opened_inner, place)
                    if twice := more.keys() & checksums.keys():
                        raise ValueError(
                            f"{title}: {min(twice)} is in {archive} twice; use the published archive"
                        )
                    checksums |= _write(title, more, into, expected)
            finally:
                copy.unlink(missing_ok=True)
    return checksums


def _write(title: str, members: dict[str, Member], into: Path, expected: dict[str, str]) -> dict[str, str]:
    checksums = {}
    for path, member in track(members.items(), total=len(members), what=f"extract {Path(title).name}"):
        with atomic_path(into / path, sync=False) as temporary:
            checksums[path] = _copy(title, member, temporary)
            if checksums[path] != expected.get(path, checksums[path]):
                raise ValueError(
                    f"{title}: {member.name} has SHA-256 {checksums[path]} instead of "
                    f"{expected[path]}: another release, or damaged; fetch the archive again"
                )
    return checksums


def _open(archive: Path, title: str) -> zipfile.ZipFile | tarfile.TarFile:
    try:
        return tarfile.open(archive) if tarfile.is_tarfile(archive) else zipfile.ZipFile(archive)
    except DAMAGE:
        with open(archive, "rb") as file:
            start = file.read(256).lstrip().lower()
        what = "a web page (of an error or a login)" if start.startswith(b"<") else "truncated or damaged"
        raise ValueError(f"{title}: {what}, not a whole zip or tar archive; fetch it again") from None


def _members(title: str, opened: zipfile.ZipFile | tarfile.TarFile) -> Iterator[Member]:
    """Every file; links, devices and the like are an error."""
    is_zip = isinstance(opened, zipfile.ZipFile)
    try:
        for info in opened.infolist() if is_zip else opened.getmembers():
            name = info.filename if is_zip else info.name
            mode = stat.S_IFMT(info.external_attr >> 16) if is_zip else 0
            plain = mode in (0, stat.S_IFREG, stat.S_IFDIR) if is_zip else info.isreg() or info.isdir()
            if not plain:
                raise ValueError(f"{title}: member {name!r} is a link or a device, not a file")
            _refuse_outside(title, name)
            if not (info.is_dir() if is_zip else info.isdir()):
                yield Member(
                    name, lambda info=info: opened.open(info) if is_zip else opened.extractfile(info)
                )
    except DAMAGE as error:
        raise ValueError(f"{title}: truncated or damaged ({error}); fetch it again") from None


def _refuse_outside(title: str, name: str) -> None:
    anywhere = PureWindowsPath(name)  # knows drives and both slashes
    if anywhere.drive or anywhere.root or ".." in anywhere.parts:
        raise ValueError(f"{title}: member {name!r} would be written outside its folder")


def _sort(
    title: str, opened: zipfile.ZipFile | tarfile.TarFile, place: Callable[[str], str | None]
) -> tuple[dict[str, Member], list[Member]]:
    """The wanted members by path, and the zip archives among the others."""
    wanted, inner = {}, []
    for member in list(_members(title, opened)):  # all are checked before any is used
        path = place(member.name)
        if path is None:
            inner += [member] if member.name.endswith(".zip") else []
        elif path in wanted:
            raise ValueError(f"{title}: holds {path} twice; use the archive as it was published")
        elif not path.isprintable():
            raise ValueError(f"{title}: the name of member {member.name!r} is not UTF-8 text; pack it again")
        else:
            wanted[path] = member
    return wanted, inner


def _copy(title: str, member: Member, target: Path) -> str:
    """Write one member to ``target`` and return its SHA-256."""
    digest = hashlib.sha256()
    try:
        with member.open() as packed, open(target, "wb") as written:
            while chunk := packed.read(CHUNK_BYTES):
                digest.update(chunk)
                written.write(chunk)
    except DAMAGE as error:
        raise ValueError(
            f"{title}: {member.name} cannot be unpacked ({error}); fetch the archive again"
        ) from None
    return digest.hexdigest()

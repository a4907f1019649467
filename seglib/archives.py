"""Take files out of archives that nobody has to trust."""

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

from seglib.files import atomic_path
from seglib.progress import track

CHUNK_BYTES = 1 << 20


def extract(
    archive: Path, *, top_folder: str, into: Path, wanted: Callable[[str], bool], expected: dict[str, str]
) -> dict[str, str]:
    """Write the wanted members of a zip archive below ``into``; return path -> SHA-256 of each.

    Paths are the members' names without ``top_folder``. A file whose SHA-256 differs from
    ``expected`` gets no name. Raises ``ValueError`` for an archive that is damaged or no archive,
    or that has any member that would leave its folder or is a link, before a file is written.
    """
    checksums = {}
    with _open(archive) as opened:
        members = {path: member for path, member in _members(archive, opened, top_folder) if wanted(path)}
        for path, member in track(members.items(), total=len(members), what=f"extract {archive.name}"):
            with atomic_path(into / path, sync=False) as temporary:
                checksums[path] = _copy(archive, opened, member, temporary)
                if checksums[path] != expected.get(path, checksums[path]):
                    raise ValueError(
                        f"{archive}: {member.filename} has SHA-256 {checksums[path]} instead of "
                        f"{expected[path]}: another release, or damaged; fetch the archive again"
                    )
    return checksums


def _open(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except zipfile.BadZipFile:
        with open(archive, "rb") as file:
            start = file.read(256).lstrip().lower()
        what = "a web page (of an error or a login)" if start.startswith(b"<") else "truncated or damaged"
        raise ValueError(f"{archive}: {what}, not a whole zip archive; fetch it again") from None


def _members(archive: Path, opened: zipfile.ZipFile, top_folder: str) -> list[tuple[str, zipfile.ZipInfo]]:
    """Path below ``top_folder`` and member, for every file; every member's name is checked."""
    members = []
    for member in opened.infolist():
        anywhere = PureWindowsPath(member.filename)  # knows drives and both slashes
        if anywhere.drive or anywhere.root or ".." in anywhere.parts:
            raise ValueError(f"{archive}: member {member.filename!r} would be written outside its folder")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ValueError(f"{archive}: member {member.filename!r} is a link or a device, not a file")
        path = PurePosixPath(member.filename)
        if not member.is_dir() and path.is_relative_to(top_folder):
            members.append((path.relative_to(top_folder).as_posix(), member))
    return members


def _copy(archive: Path, opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> str:
    """Write one member to ``target`` and return its SHA-256."""
    digest = hashlib.sha256()
    try:
        with opened.open(member) as packed, open(target, "wb") as written:
            while chunk := packed.read(CHUNK_BYTES):
                digest.update(chunk)
                written.write(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(
            f"{archive}: {member.filename} cannot be unpacked ({error}); fetch the archive again"
        ) from None
    return digest.hexdigest()

import dataclasses
import errno
import http.server
import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
import threading
import zipfile

import pytest
import requests

from seglib.core import files
from seglib.data import archives, download, transfer
from seglib.data.download import FETCHED
from seglib.data.sets.scenes import Scenes
from tests.unit.data import mini as minis
from tests.unit.data import miniatures
from tests.unit.data.mini import ARCHIVE, FILES, NAME, contents


@pytest.fixture
def mini(monkeypatch):
    return minis.register(monkeypatch)


@pytest.fixture
def release(tmp_path, mini):
    """A folder with the published archive in it; the files' checksums are known."""
    unpacked = minis.write(tmp_path / "unpacked")
    minis.pack(unpacked, tmp_path / "mirror" / ARCHIVE)
    mini.published = minis.checksums(unpacked)
    return tmp_path / "mirror"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "data" / "mini" / "raw"


def run(out, mirror=None, data_root=None):
    download.run(dataset=NAME, out=out, mirror=mirror and str(mirror), data_root=data_root and str(data_root))


def payload(out):
    return {path for path in contents(out) if path not in ("source.json", "files.sha256")}


def test_files_come_from_a_mirror(release, out, mini):
    run(out, mirror=release)
    assert minis.checksums(out).items() >= mini.published.items()
    assert payload(out) == set(mini.published)  # neither the README nor a temporary file
    source = json.loads((out / "source.json").read_text())
    size_bytes = sum((out / path).stat().st_size for path in mini.published)
    assert source == {
        "schema": 1,
        "dataset": NAME,
        "source": "archives",
        "archives": [ARCHIVE],
        "files": FILES,
        "bytes": size_bytes,
        "manifest_sha256": files.sha256_file(out / "files.sha256"),
    }
    assert (release / ARCHIVE).exists()


@pytest.mark.parametrize("named", [True, False])
def test_archives_that_the_user_put_into_the_raw_folder_stay(release, out, mini, named):
    out.mkdir(parents=True)
    shutil.copy(release / ARCHIVE, out)
    run(out, mirror=out if named else None)
    assert payload(out) == {*mini.published, ARCHIVE}


def test_one_that_is_still_being_copied_there_stays(release, out, mini):
    out.mkdir(parents=True)
    whole = (release / ARCHIVE).read_bytes()
    (out / ARCHIVE).write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="truncated or damaged"):
        run(out)
    assert (out / ARCHIVE).read_bytes() == whole[:-100]


def test_a_second_run_only_checks(release, out):
    run(out, mirror=release)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*_*.png")}
    (out / "source.json").unlink()  # as Snakemake does before it runs a rule again
    shutil.rmtree(release)
    run(out, mirror=release)
    assert (out / "source.json").exists()
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_damaged_file_is_replaced_and_no_other(release, out):
    run(out, mirror=release)
    good = contents(out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*_*.png")}
    damaged = out / "images/train/bonn/b0_rgb.png"
    damaged.write_bytes(b"x")
    run(out, mirror=release)
    assert contents(out) == good
    changed = {path for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {damaged}


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("state", ["damaged", "missing"])
def test_a_bad_file_that_the_archive_lacks_is_an_error_and_no_new_sum(release, out, mini, state, published):
    if not published:
        mini.published = {}
    run(out, mirror=release)
    before = (out / "files.sha256").read_bytes()
    (out / "val.txt").write_text("x") if state == "damaged" else (out / "val.txt").unlink()
    spoil_missing_member(release / ARCHIVE)
    message = rf"{ARCHIVE}: holds no val\.txt, which is {state} in {out} \(1 such files\); .*: fetch it again"
    with pytest.raises(ValueError, match=message):
        run(out, mirror=release)
    assert not (out / "source.json").exists()
    assert (out / "files.sha256").read_bytes() == before


def test_damage_that_cannot_be_repaired_is_not_declared_complete(release, out):
    run(out, mirror=release)
    (out / "val.txt").unlink()
    shutil.rmtree(release)
    with pytest.raises(ValueError, match="no such file; a mirror holds the archives"):
        run(out, mirror=release)
    assert not (out / "source.json").exists()


def spoil_truncated(archive):
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])


def spoil_html(archive):
    archive.write_text("\n<!DOCTYPE html><html><body>Please log in</body></html>")


def spoil_empty(archive):
    archive.write_bytes(b"")


def spoil_member_bytes(archive):
    """Flip bytes inside a member's packed data: only its CRC tells."""
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        member = opened.getinfo("Mini-1.0/images/train/aachen/a0_rgb.png")
        start = member.header_offset + 30 + len(member.filename)
    data[start + 50 : start + 60] = bytes(10)
    archive.write_bytes(data)


def spoil_content(archive):
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("Mini-1.0/val.txt", "another list\n")


def spoil_missing_member(archive):
    with zipfile.ZipFile(archive) as old:
        kept = [(name, old.read(name)) for name in old.namelist() if "val.txt" not in name]
    with zipfile.ZipFile(archive, "w") as packed:
        for name, data in kept:
            packed.writestr(name, data)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_truncated, "truncated or damaged, not a whole zip or tar archive; fetch it again"),
        (spoil_html, "a web page .*, not a whole zip or tar archive"),
        (spoil_empty, "truncated or damaged"),
        (spoil_member_bytes, "Mini-1.0/images/train/aachen/a0_rgb.png cannot be unpacked"),
        (spoil_content, "Mini-1.0/val.txt has SHA-256 .* instead of"),
        (spoil_missing_member, "holds no val.txt"),
    ],
)
def test_a_bad_archive_is_named_and_a_good_one_continues(release, out, mini, tmp_path, spoil, message):
    good = shutil.copy(release / ARCHIVE, tmp_path)
    spoil(release / ARCHIVE)
    with pytest.raises(ValueError, match=message) as error:
        run(out, mirror=release)
    assert str(release / ARCHIVE) in str(error.value)
    assert "\n" not in str(error.value)
    assert (release / ARCHIVE).exists()  # it is the user's
    assert not (out / "source.json").exists()
    for path in payload(out):
        assert files.sha256_file(out / path) == mini.published[path]
    shutil.copy(good, release / ARCHIVE)
    run(out, mirror=release)
    assert payload(out) == set(mini.published)


def test_the_archive_itself_may_be_pinned(release, out, mini):
    (source,) = mini.SOURCES
    for sha256 in ("0" * 64, files.sha256_file(release / ARCHIVE)):
        mini.SOURCES = (dataclasses.replace(source, checksum=f"sha256:{sha256}"),)
        if sha256 == "0" * 64:
            with pytest.raises(ValueError, match=f"{ARCHIVE}: its sha256 is .*, not 0000"):
                run(out, mirror=release)
            assert payload(out) == set()
        else:
            run(out, mirror=release)
            assert len(payload(out)) == FILES


@pytest.mark.parametrize(
    "name",
    [
        "../outside.txt",
        "Mini-1.0/../../outside.txt",
        "/tmp/outside.txt",
        "C:/outside.txt",
        "C:\\outside.txt",
        "Mini-1.0\\..\\..\\outside.txt",
    ],
)
def test_no_member_leaves_its_folder(release, out, tmp_path, name):
    minis.pack(tmp_path / "unpacked", release / ARCHIVE, extra={name: "bad"})
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"would be written outside its folder") as error:
        run(out, mirror=release)
    assert str(release / ARCHIVE) in str(error.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_no_member_is_a_link_or_a_device(release, out, tmp_path, kind):
    with zipfile.ZipFile(release / ARCHIVE, "a") as packed:
        member = zipfile.ZipInfo("Mini-1.0/images/x")
        member.external_attr = (kind | 0o777) << 16
        packed.writestr(member, "/etc/passwd")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"'Mini-1.0/images/x' is a link or a device"):
        run(out, mirror=release)
    assert contents(tmp_path) == before


def as_tar(archive, mode="w:gz", extra=()):
    """The same files, and more members, as a tar archive under the same name."""
    with zipfile.ZipFile(archive) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    archive.write_bytes(miniatures.in_tar(files, mode))
    if extra:
        with tarfile.open(archive, "w") as opened:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                opened.addfile(member, io.BytesIO(content))
            for member in extra:
                opened.addfile(member)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_archive_is_as_good_and_a_cut_one_is_named(release, out, mini, mode):
    as_tar(release / ARCHIVE, mode)
    whole = (release / ARCHIVE).read_bytes()
    for length in (len(whole) // 3, 2 * len(whole) // 3):
        (release / ARCHIVE).write_bytes(whole[:length])
        with pytest.raises(
            ValueError, match=r"truncated or damaged|cannot be unpacked|holds no .* fetch it again"
        ) as error:
            run(out, mirror=release)
        assert str(release / ARCHIVE) in str(error.value)
        assert all(files.sha256_file(out / path) == mini.published[path] for path in payload(out))
        assert not (out / "source.json").exists()
    (release / ARCHIVE).write_bytes(whole)
    run(out, mirror=release)
    assert payload(out) == set(mini.published)


def tar_member(name, kind=tarfile.REGTYPE, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (tar_member("../outside.txt"), "would be written outside its folder"),
        (tar_member("/tmp/outside.txt"), "would be written outside its folder"),
        (tar_member("Mini-1.0/x", tarfile.SYMTYPE, "/etc/passwd"), "is a link or a device"),
        (tar_member("Mini-1.0/x", tarfile.LNKTYPE, "../../outside"), "is a link or a device"),
        (tar_member("Mini-1.0/x", tarfile.CHRTYPE), "is a link or a device"),
        (tar_member("Mini-1.0/images/train/a\udce9_rgb.png"), "is not UTF-8 text; pack it again"),
        (tar_member("again/val.txt"), "holds val.txt twice"),
    ],
)
def test_no_member_of_a_tar_does_harm(release, out, tmp_path, mini, member, message):
    mini.published = {}
    as_tar(release / ARCHIVE, extra=[member])
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        run(out, mirror=release)
    assert str(release / ARCHIVE) in str(error.value)
    assert contents(tmp_path) == before


def test_a_zip_with_one_file_twice_is_refused(release, out, tmp_path):
    minis.pack(tmp_path / "unpacked", release / ARCHIVE, extra={"copy/val.txt": "x"})
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"holds val\.txt twice; use the archive as it was published"):
        run(out, mirror=release)
    assert contents(tmp_path) == before


def nest(archive, inner):
    archive.write_bytes(miniatures.in_zip({"release/README": b"x", "release/inner.zip": inner}))


def test_an_archive_in_an_archive_is_unpacked_and_leaves_nothing(release, out, mini):
    whole = (release / ARCHIVE).read_bytes()
    for inner, message in (
        (whole[:-40], r"inner\.zip: truncated or damaged"),
        (miniatures.in_zip({"../val.txt": b"x"}), r"inner\.zip: member .* outside its folder"),
        (miniatures.in_zip({"inner.zip": whole}), "holds no "),  # one level deep, so that it ends
    ):
        nest(release / ARCHIVE, inner)
        with pytest.raises(ValueError, match=message):
            run(out, mirror=release)
        assert contents(out) == {}
    nest(release / ARCHIVE, whole)
    run(out, mirror=release)
    assert payload(out) == set(mini.published)


def test_files_are_found_whatever_folders_lie_around_them(release, out, mini):
    with zipfile.ZipFile(release / ARCHIVE) as packed:
        members = {name.removeprefix("Mini-1.0/"): packed.read(name) for name in packed.namelist()}
    members |= {"__MACOSX/images/train/bonn/._b0_rgb.png": b"left by a Mac"}
    for top in ("", "./", "my/own/copy/"):
        content = miniatures.in_zip({top + name: data for name, data in members.items()})
        (release / ARCHIVE).write_bytes(content)
        shutil.rmtree(out, ignore_errors=True)
        run(out, mirror=release)
        assert payload(out) == set(mini.published)


def test_encrypted_archives_are_named(release, out, monkeypatch):
    def refuse(self, member):
        raise RuntimeError("File is encrypted, password required for extraction")

    monkeypatch.setattr(zipfile.ZipFile, "open", refuse)
    with pytest.raises(ValueError, match=r"cannot be unpacked .*password required"):
        run(out, mirror=release)


def interrupt_copies(monkeypatch, error, after):
    copy = archives._copy

    def interrupted(shown, member, target):
        nonlocal after
        after -= 1
        if after < 0:
            target.write_bytes(b"half of it")
            raise error
        return copy(shown, member, target)

    monkeypatch.setattr(archives, "_copy", interrupted)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyboardInterrupt(), None),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            r"No space left on device; free some and run again",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "Permission denied"),
    ],
)
def test_a_broken_run_leaves_whole_files_and_the_next_goes_on(
    release, out, mini, monkeypatch, error, message
):
    with monkeypatch.context() as patched:
        interrupt_copies(patched, error, after=3)
        with pytest.raises(type(error), match=message) as raised:
            run(out, mirror=release)
    if message:
        assert getattr(raised.value, "filename", None)
    assert len(payload(out)) == 3
    assert all(files.sha256_file(out / path) == mini.published[path] for path in payload(out))
    assert not (out / "source.json").exists()

    unpacked = []
    copy = archives._copy

    def counted(shown, member, target):
        unpacked.append(member.name)
        return copy(shown, member, target)

    monkeypatch.setattr(archives, "_copy", counted)
    run(out, mirror=release)
    assert len(unpacked) == FILES - 3
    assert payload(out) == set(mini.published)


def test_a_folder_that_may_not_be_written_is_named(release, out, monkeypatch):
    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied", str(out))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(PermissionError, match=str(out)):
        run(out, mirror=release)
    assert payload(out) == set()


def test_a_set_without_published_checksums_records_its_own(release, out, mini, capsys):
    mini.published = {}
    run(out, mirror=release)
    assert "no checksums of files are published; recorded new ones" in capsys.readouterr().err
    assert len(payload(out)) == FILES
    (out / "source.json").unlink()
    (out / "images/train/bonn/b0_rgb.png").write_bytes(b"x")
    run(out, mirror=release)
    assert len((out / "images/train/bonn/b0_rgb.png").read_bytes()) > 1
    assert (out / "source.json").exists()


def test_a_set_behind_a_login_says_how_to_get_it(release, out, mini):
    mini.SOURCES = (dataclasses.replace(mini.SOURCES[0], url=None),)
    with pytest.raises(ValueError, match=r"cannot be fetched without an account or a form\. Ask the authors"):
        run(out)
    run(out, mirror=release)
    assert len(payload(out)) == FILES


def test_two_origins_are_refused(release, out, tmp_path):
    with pytest.raises(ValueError, match="give mirror or data_root, not both"):
        run(out, mirror=release, data_root=tmp_path / "unpacked")


# data_root: the user's own folder


def test_the_users_folder_is_read_in_place(release, out, tmp_path, mini):
    own = tmp_path / "own"
    own.mkdir()
    for part in ("images", "labels", "val.txt"):  # links to a disk that others share
        (own / part).symlink_to(tmp_path / "unpacked" / part)
    before = contents(own)
    run(out, data_root=own)
    assert contents(own) == before
    assert set(contents(out)) == {"source.json", "files.sha256", ".data_root"}
    source = json.loads((out / "source.json").read_text())
    assert source["source"] == "data_root"
    assert source["data_root"] == str(own)
    assert source["files"] == FILES


def test_the_users_folder_without_published_checksums(release, out, tmp_path, mini):
    expected, mini.published = mini.published, {}
    run(out, data_root=tmp_path / "unpacked")
    assert minis.checksums(tmp_path / "unpacked") == expected
    assert len((out / "files.sha256").read_text().splitlines()) == FILES


@pytest.mark.parametrize("rerun", ["snakemake", "command"])
def test_checksums_of_the_users_folder_do_not_bind_archives(release, out, tmp_path, mini, monkeypatch, rerun):
    """Nor do they after a stop, nor where files of the archives lie there from before."""
    published, mini.published = mini.published, {}
    run(out, mirror=release)
    own = tmp_path / "own"
    shutil.copytree(tmp_path / "unpacked", own)
    (own / "labels/val/ulm/u0_ids.png").write_bytes(b"another release")
    run(out, data_root=own)
    if rerun == "snakemake":
        (out / "source.json").unlink()
    with monkeypatch.context() as patched:
        interrupt_copies(patched, KeyboardInterrupt(), after=3)
        with pytest.raises(KeyboardInterrupt):
            run(out, mirror=release)
    assert not (out / "source.json").exists()
    run(out, mirror=release)
    assert payload(out) == set(published)
    assert files.read_checksums(out / "files.sha256") == published
    assert json.loads((out / "source.json").read_text())["source"] == "archives"


def test_without_archives_the_users_folder_stays_in_use(release, out, tmp_path, mini):
    mini.published = {}
    run(out, data_root=tmp_path / "unpacked")
    before = payload(out), (out / "source.json").read_bytes(), (out / "files.sha256").read_bytes()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no such file; a mirror holds the archives"):
        run(out, mirror=tmp_path / "empty")
    after = payload(out), (out / "source.json").read_bytes(), (out / "files.sha256").read_bytes()
    assert after == before


@pytest.mark.parametrize("change", ["missing", "different"])
def test_the_users_folder_must_be_the_release(release, out, tmp_path, change):
    path = tmp_path / "unpacked" / "labels/val/ulm/u0_ids.png"
    path.unlink() if change == "missing" else path.write_bytes(b"x")
    message = "is missing" if change == "missing" else "differs from the published file"
    with pytest.raises(ValueError, match=f"labels/val/ulm/u0_ids.png: {message} .1 of 7"):
        run(out, data_root=tmp_path / "unpacked")
    assert not out.exists()


def test_the_users_folder_must_exist(release, out, tmp_path):
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        run(out, data_root=tmp_path / "nowhere")


# generated


class FewScenes(Scenes):
    SPLITS = {name: dataclasses.replace(split, size=2) for name, split in Scenes.SPLITS.items()}


def test_a_generated_set_needs_no_network_and_is_not_written_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(download.registry, "resolve", lambda target: FewScenes)
    out = tmp_path / "raw"
    download.run(dataset="scenes", out=out, mirror="/ignored", data_root=None)
    assert len(payload(out)) == 12
    assert json.loads((out / "source.json").read_text())["source"] == "generated"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    damaged = out / "images/val/0001.png"
    good = damaged.read_bytes()
    damaged.write_bytes(b"x")
    download.run(dataset="scenes", out=out, mirror=None, data_root=None)
    assert damaged.read_bytes() == good
    assert {path for path in before if path.stat().st_mtime_ns != before[path]} == {damaged}


# over HTTP


@pytest.fixture
def server(monkeypatch):
    """Serves ``server.files``; breaks off after ``server.cut`` bytes, or answers ``server.status``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server = self.server
            name = self.path.split("?")[0].rsplit("/", 1)[1]
            server.requests.append(self.headers.get("Range"))
            server.authorizations.append(self.headers.get("Authorization"))
            server.before.get(name, lambda: None)()
            if server.account and server.authorizations[-1] != requests.auth._basic_auth_str(*server.account):
                self.send_error(401)
                return
            if status := server.statuses_of.get(name):
                self.send_error(status)
                return
            if server.statuses and (status := server.statuses.pop(0)) != 200:
                self.send_error(status)
                return
            data = server.files[name]
            start = 0
            if server.ranges and (wanted := self.headers.get("Range")):
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(data):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(data)}")
                    self.end_headers()
                    return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            cut = server.cuts.pop(0) if server.cuts else len(data)
            if name in server.after_first_bytes:  # the rest comes later
                self.wfile.write(data[start : start + 128])
                self.wfile.flush()
                start += 128
                server.after_first_bytes[name].wait(10)
            self.wfile.write(data[start : start + cut])
            server.sent += len(data[start : start + cut])

        def log_message(self, *_):
            pass

    monkeypatch.setattr(transfer, "FIRST_PAUSE_S", 0)
    monkeypatch.setattr(transfer, "CHUNK_BYTES", 64)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.requests, server.statuses, server.cuts = {}, [], [], []
        server.ranges, server.sent, server.account, server.authorizations = True, 0, None, []
        server.before, server.statuses_of, server.after_first_bytes = {}, {}, {}
        server.url = f"http://127.0.0.1:{server.server_port}/set"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def served(server, release):
    server.files[ARCHIVE] = (release / ARCHIVE).read_bytes()
    return server


def test_an_archive_is_fetched_and_not_kept(served, out, mini):
    run(out, mirror=served.url)
    assert payload(out) == set(mini.published)
    assert json.loads((out / "source.json").read_text())["archives"] == [ARCHIVE]


def test_the_public_address_is_used_and_recorded(served, out, mini):
    url = f"{served.url}/{ARCHIVE}"
    mini.SOURCES = (dataclasses.replace(mini.SOURCES[0], url=url),)
    run(out)
    assert json.loads((out / "source.json").read_text())["archives"] == [url]


def test_a_broken_connection_is_resumed(served, out, mini):
    served.cuts = [1000, 500]
    run(out, mirror=served.url)
    assert payload(out) == set(mini.published)
    assert served.requests[0] is None
    assert len(served.requests) == 3
    assert served.sent < len(served.files[ARCHIVE]) + 2 * transfer.CHUNK_BYTES  # but for broken chunks


def test_a_server_that_cannot_resume_sends_all_again(served, out, mini):
    served.cuts, served.ranges = [1000], False
    run(out, mirror=served.url)
    assert payload(out) == set(mini.published)


def test_a_stopped_download_is_resumed_by_the_next_run(served, out, mini, monkeypatch):
    class Stop(transfer.ProgressBar):
        calls = 0

        def advance(self, *_):
            self.calls += 1
            if self.calls == 10:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(transfer, "ProgressBar", Stop)
        with pytest.raises(KeyboardInterrupt):
            run(out, mirror=served.url)
    assert set(contents(out)) == {f"{FETCHED}/{ARCHIVE}.part"}
    run(out, mirror=served.url)
    assert served.requests[1] == "bytes=640-"
    assert payload(out) == set(mini.published)


def test_a_part_that_was_complete_is_used(served, out, mini):
    (out / FETCHED).mkdir(parents=True)
    (out / FETCHED / f"{ARCHIVE}.part").write_bytes(served.files[ARCHIVE])
    run(out, mirror=served.url)
    assert payload(out) == set(mini.published)
    assert served.sent == 0


def test_a_part_of_another_file_is_thrown_away(served, out, mini):
    (out / FETCHED).mkdir(parents=True)
    (out / FETCHED / f"{ARCHIVE}.part").write_bytes(b"x" * (len(served.files[ARCHIVE]) + 5))
    run(out, mirror=served.url)
    assert payload(out) == set(mini.published)


def test_attempts_that_get_further_do_not_count(served, out, mini):
    served.cuts = [300] * 3 * transfer.ATTEMPTS
    run(out, mirror=served.url)
    assert len(served.requests) > transfer.ATTEMPTS
    assert payload(out) == set(mini.published)


def test_a_server_that_never_gets_further_is_given_up(served, out):
    served.statuses = [503] * 99
    with pytest.raises(ValueError, match="HTTP 503"):
        run(out, mirror=served.url)
    assert len(served.requests) == transfer.ATTEMPTS


@pytest.mark.parametrize("place", ["environment", "netrc"])
def test_an_account_is_used_and_reaches_no_log(served, out, mini, tmp_path, monkeypatch, capsys, place):
    served.account = "me", "s3cret"
    with pytest.raises(ValueError, match=r"HTTP 401; check the account in the environment or ~/\.netrc"):
        run(out, mirror=served.url)
    if place == "environment":
        monkeypatch.setenv("SEGLIB_MIRROR_USER", "me")
        monkeypatch.setenv("SEGLIB_MIRROR_PASSWORD", "s3cret")
    else:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password s3cret")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    run(out, mirror=served.url)
    assert payload(out) == set(mini.published)
    printed = "".join(capsys.readouterr())
    kept = b"".join(contents(out).values())
    assert "s3cret" not in printed
    assert b"s3cret" not in kept


def test_the_account_of_a_mirror_goes_to_no_public_address(served, out, mini, monkeypatch):
    monkeypatch.setenv("SEGLIB_MIRROR_USER", "me")
    monkeypatch.setenv("SEGLIB_MIRROR_PASSWORD", "s3cret")
    mini.SOURCES = (dataclasses.replace(mini.SOURCES[0], url=f"{served.url}/{ARCHIVE}"),)
    run(out)
    assert served.authorizations == [None]


def test_archives_are_fetched_side_by_side_and_stop_together(server, out, mini):
    """The first waits until the second was asked for; then the second fails, and the first keeps its part."""
    both = threading.Barrier(2, timeout=10)
    server.before = {"a.zip": both.wait, "b.zip": both.wait}
    server.files = {"a.zip": b"x" * 500, "b.zip": b""}
    server.statuses_of = {"b.zip": 404}
    server.after_first_bytes = {"a.zip": threading.Event()}
    mini.SOURCES = tuple(
        dataclasses.replace(mini.SOURCES[0], file_name=name, url=f"{server.url}/{name}")
        for name in ("a.zip", "b.zip")
    )
    stopped = server.after_first_bytes["a.zip"]
    threading.Timer(0.3, stopped.set).start()
    with pytest.raises(ValueError, match=r"cannot fetch b\.zip from 127\.0\.0\.1: HTTP 404"):
        run(out)
    assert set(contents(out)) == {f"{FETCHED}/a.zip.part"}


def test_a_busy_server_is_asked_again(served, out, mini):
    served.statuses = [503, 429]
    run(out, mirror=served.url)
    assert len(served.requests) == 3


def test_a_refusal_ends_at_once_and_hides_the_address(served, out):
    served.statuses = [404] * 9
    with pytest.raises(ValueError, match=f"cannot fetch {ARCHIVE} from 127.0.0.1: HTTP 404") as error:
        run(out, mirror=f"{served.url}")
    assert len(served.requests) == 1
    assert "/set" not in str(error.value)
    assert payload(out) == set()


def test_a_dead_server_is_named(release, out, monkeypatch):
    monkeypatch.setattr(transfer, "FIRST_PAUSE_S", 0)
    with pytest.raises(ValueError, match=r"cannot fetch .* from 127.0.0.1: ConnectionError; check"):
        run(out)


def test_a_login_page_is_not_kept(served, out, mini):
    archive = served.files[ARCHIVE]
    served.files[ARCHIVE] = b"<html>log in</html>"
    with pytest.raises(ValueError, match="a web page"):
        run(out, mirror=served.url)
    assert contents(out) == {}
    served.files[ARCHIVE] = archive
    run(out, mirror=served.url)
    assert payload(out) == set(mini.published)


def test_a_stray_file_is_named_and_costs_no_second_fetch(served, out, mini):
    mini.published = {}
    stray = out / "images/train/bonn/stray_rgb.png"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"x")
    with pytest.raises(
        ValueError, match=r"stray_rgb\.png: is in none of the archives .1 such files.; move it"
    ):
        run(out, mirror=served.url)
    assert not (out / "source.json").exists()
    stray.unlink()
    run(out, mirror=served.url)
    assert len(served.requests) == 1
    assert ARCHIVE not in payload(out)
    assert len(payload(out)) == FILES


def test_a_check_that_breaks_off_costs_no_second_fetch(served, out, mini, monkeypatch):
    mini.published = {}
    with monkeypatch.context() as patched:
        patched.setattr(mini, "find", lambda *_: os.stat(os.devnull + "/x"))  # as of a disk that went away
        with pytest.raises(NotADirectoryError):
            run(out, mirror=served.url)
    run(out, mirror=served.url)
    assert len(served.requests) == 1
    assert len(payload(out)) == FILES


@pytest.mark.parametrize("published", [True, False])
def test_an_incomplete_archive_is_fetched_anew(served, release, out, mini, published):
    whole = served.files[ARCHIVE]
    spoil_missing_member(release / ARCHIVE)
    served.files[ARCHIVE] = (release / ARCHIVE).read_bytes()
    if not published:
        mini.published = {}
    with pytest.raises((ValueError, FileNotFoundError), match=r"val\.txt"):
        run(out, mirror=served.url)
    served.files[ARCHIVE] = whole
    run(out, mirror=served.url)
    assert len(served.requests) == 2
    assert len(payload(out)) == FILES


def test_two_archives_make_one_set_and_the_good_one_is_kept(served, out, mini, release, tmp_path):
    """The second archive is bad at first: the first is not fetched again."""
    split = {"images": tmp_path / "images", "labels": tmp_path / "labels"}
    for kind, folder in split.items():
        shutil.copytree(tmp_path / "unpacked" / kind, folder / kind)
        served.files[f"{kind}.zip"] = minis.pack(folder, tmp_path / f"{kind}.zip").read_bytes()
    shutil.copy(tmp_path / "unpacked" / "val.txt", split["labels"])
    whole = minis.pack(split["labels"], tmp_path / "labels.zip").read_bytes()
    served.files["labels.zip"] = whole[:-100]
    mini.SOURCES = tuple(
        dataclasses.replace(mini.SOURCES[0], file_name=f"{kind}.zip", url=f"{served.url}/{kind}.zip")
        for kind in split
    )
    with pytest.raises(ValueError, match=r"labels\.zip: truncated or damaged"):
        run(out)
    served.files["labels.zip"] = whole
    run(out)
    assert payload(out) == set(mini.published)
    assert len(served.requests) == 3


def test_passwords_do_not_belong_into_addresses(release, out):
    with pytest.raises(ValueError, match=r"put it into ~/.netrc") as error:
        run(out, mirror="https://me:secret@example.org/x")
    assert "secret" not in str(error.value)


def test_a_disk_that_fills_up_during_a_fetch_is_named(served, out, monkeypatch):
    class Full(transfer.ProgressBar):
        def advance(self, *_):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "ProgressBar", Full)
    with pytest.raises(OSError, match="free some and run again") as error:
        run(out, mirror=served.url)
    assert error.value.filename == os.fspath(out / FETCHED / f"{ARCHIVE}.part")

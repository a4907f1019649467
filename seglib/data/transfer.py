"""Fetch large files over HTTP in parallel, each from the byte at which an earlier attempt stopped.

Why not pooch: it starts every attempt from the first byte, and COCO's images are 18 GiB in one file.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from seglib.core.files import naming_full_disk
from seglib.core.progress import ProgressBar

PARALLEL = 4
ATTEMPTS = 5
FIRST_PAUSE_S = 1.0
TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """One file to fetch."""

    url: str
    target: Path
    """Appears only when it is complete; until then what has arrived lies in ``<target>.part``."""
    size_mib: int | None
    """Approximate size, for the progress display where the server does not tell."""
    account: tuple[str, str] | None = None
    """User and password; ``None``: those of ``~/.netrc``, if it names the host."""

    @property
    def place(self) -> str:
        """Name and host: an address is never shown in full, since it may hold a token."""
        return f"{self.target.name} from {urlsplit(self.url).hostname}"


def fetch(jobs: Sequence[Transfer]) -> None:
    """Download every job's file.

    A ``.part`` is completed by the next attempt or the next run, if the server can continue. When one file
    cannot be had, or on Ctrl-C, the others stop as well and keep what they have. Raises ``ValueError`` when a
    server refuses, or stays out of reach for ``ATTEMPTS`` attempts without a byte of progress.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(PARALLEL) as pool:
        try:
            for done in as_completed([pool.submit(_fetch, job, stop) for job in jobs]):
                done.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _fetch(job: Transfer, stop: threading.Event) -> None:
    part = job.target.with_name(job.target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    failures = 0
    while failures < ATTEMPTS:
        before = _size(part)
        try:
            _fetch_rest(job, part, stop)
            part.replace(job.target)
            return
        except requests.RequestException as error:
            status = error.response.status_code if error.response is not None else None
            reason = f"HTTP {status}" if status else type(error).__name__
            if status is not None and status < 500 and status not in (408, 429):
                break
            failures = 1 if _size(part) > before else failures + 1
            if failures < ATTEMPTS:
                stop.wait(FIRST_PAUSE_S * 2 ** (failures - 1))
    hint = "the account in the environment or ~/.netrc" if status in (401, 403) else "the connection"
    raise ValueError(
        f"cannot fetch {job.place}: {reason}; check {hint} and the address, "
        f"or put the file into a folder and give that as mirror"
    )


def _fetch_rest(job: Transfer, part: Path, stop: threading.Event) -> None:
    done = _size(part)
    wanted = {"Range": f"bytes={done}-", "Accept-Encoding": "identity"} if done else {}
    with requests.get(job.url, headers=wanted, auth=job.account, stream=True, timeout=TIMEOUT_S) as response:
        if response.status_code == 416:  # nothing lies beyond the bytes at hand
            if response.headers.get("Content-Range") == f"bytes */{done}":
                return
            part.unlink()
            raise requests.ConnectionError("the file at the server is another one by now")
        response.raise_for_status()
        if response.status_code != 206:
            done = 0
        left = int(response.headers.get("Content-Length", 0))
        total_mib = round((done + left) / 2**20) if left else job.size_mib or 0
        with (
            naming_full_disk(part),
            open(part, "ab" if done else "wb") as file,
            ProgressBar(total=total_mib, what=f"fetch {job.place} (MiB)", start=done >> 20) as progress,
        ):
            for chunk in response.iter_content(CHUNK_BYTES):
                if stop.is_set():
                    raise InterruptedError(f"{job.place}: stopped")
                file.write(chunk)
                done += len(chunk)
                progress.advance((done >> 20) - progress.done)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0

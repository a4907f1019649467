"""Fetch a large file over HTTP, going on where an earlier attempt stopped."""

import time
from pathlib import Path
from urllib.parse import urlsplit

import requests

from seglib.files import naming_full_disk
from seglib.progress import Progress

ATTEMPTS = 5
FIRST_PAUSE_S = 1.0
TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 20


def fetch(url: str, target: Path, *, size_mib: int) -> None:
    """Download ``url`` to ``target``, which appears only when it is complete.

    What has arrived is kept in ``<target>.part`` and completed by the next attempt or the next run,
    if the server can continue. Accounts come from ``~/.netrc``; no address is ever shown in full,
    since it may hold a token. Raises ``ValueError`` when the server refuses or stays out of reach.

    ``size_mib``: about, for the progress display where the server does not tell.
    """
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    place = f"{target.name} from {urlsplit(url).hostname}"
    for attempt in range(ATTEMPTS):
        try:
            _fetch_rest(url, part, what=f"fetch {place}", size_mib=size_mib)
            part.replace(target)
            return
        except requests.RequestException as error:
            status = error.response.status_code if error.response is not None else None
            reason = f"HTTP {status}" if status else type(error).__name__
            if status is not None and status < 500 and status not in (408, 429):
                break
            if attempt + 1 < ATTEMPTS:
                time.sleep(FIRST_PAUSE_S * 2**attempt)
    raise ValueError(
        f"cannot fetch {place}: {reason}; check the connection and the address, "
        f"or put the file into a folder and give that as mirror"
    )


def _fetch_rest(url: str, part: Path, *, what: str, size_mib: int) -> None:
    done = part.stat().st_size if part.exists() else 0
    wanted = {"Range": f"bytes={done}-", "Accept-Encoding": "identity"} if done else {}
    with requests.get(url, headers=wanted, stream=True, timeout=TIMEOUT_S) as response:
        if response.status_code == 416:  # nothing lies beyond what we have
            if response.headers.get("Content-Range") == f"bytes */{done}":
                return
            part.unlink()
            raise requests.ConnectionError("the file at the server is another one by now")
        response.raise_for_status()
        if response.status_code != 206:
            done = 0
        left = int(response.headers.get("Content-Length", 0))
        total_mib = round((done + left) / 2**20) if left else size_mib
        with (
            naming_full_disk(part),
            open(part, "ab" if done else "wb") as file,
            Progress(total=total_mib, what=f"{what} (MiB)", start=done >> 20) as progress,
        ):
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                progress.advance((done >> 20) - progress.done)

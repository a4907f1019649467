"""Where a result comes from: machine, versions and source, without the environment's secrets.

Nothing here imports torch; what only torch knows is asked of it where it is loaded already.
"""

import hashlib
import importlib.metadata
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seglib import __version__

PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless")
SOURCE = Path(__file__).parents[1]


def describe() -> dict[str, Any]:
    """Of this process: its command, host, cpu, gpu, driver and versions, and the source as in
    :func:`describe_source`."""
    return {
        "command": shlex.join(["python", "-m", "seglib", *sys.argv[1:]]),
        "host": socket.gethostname(),
        "cpu": _cpu(),
        **_gpu(),
        "versions": _versions(),
        **describe_source(SOURCE),
    }


def describe_source(folder: Path) -> dict[str, Any]:
    """The git commit of the source in ``folder`` and whether the files there differ from it.

    ``commit`` is ``None`` where ``folder`` is not a part of a git checkout, as when seglib was installed;
    ``versions.seglib`` then says which release it is. ``dirty_diff_sha256`` covers changed and new files.
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return {"commit": None, "dirty": False, "dirty_diff_sha256": None}
    diff = _git(folder, "diff", "--binary", "HEAD", "--", ".")
    new = _git(folder, "ls-files", "-z", "--others", "--exclude-standard", "--", ".").split(b"\0")
    for name in sorted(filter(None, new)):
        diff += name + (folder / os.fsdecode(name)).read_bytes()
    return {
        "commit": _git(folder, "rev-parse", "HEAD").decode().strip(),
        "dirty": bool(diff),
        "dirty_diff_sha256": hashlib.sha256(diff).hexdigest() if diff else None,
    }


def now() -> str:
    """The time in UTC, as ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git prints, ``None`` when there is no git or it knows nothing of ``folder``."""
    if shutil.which("git") is None:
        return None
    done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} x {os.cpu_count()}" if names else platform.machine()


def _gpu() -> dict[str, str | None]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {"gpu": None, "driver": None}
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    found = shutil.which("nvidia-smi") and subprocess.run(query, capture_output=True, text=True, check=False)
    driver = found.stdout.splitlines()[0] if found and found.returncode == 0 else None
    return {"gpu": torch.cuda.get_device_name(), "driver": driver}


def _versions() -> dict[str, str | None]:
    versions = {"seglib": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    torch = sys.modules.get("torch")
    if torch is not None:
        versions["torch"] = torch.__version__  # names the build too: 2.13.0+cpu
        versions["cuda"] = torch.version.cuda
        versions["cudnn"] = torch.backends.cudnn.version() if torch.cuda.is_available() else None
    return versions

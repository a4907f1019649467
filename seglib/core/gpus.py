"""Run a command on GPUs that no other is using: ``python -m seglib.core.gpus 1 python -m seglib train ...``.

Each device has a lock file. This process locks as many devices as the command wants, waiting where it must,
names them in ``CUDA_VISIBLE_DEVICES`` and *becomes* the command, so that signals reach the command itself.
The kernel drops a lock when the last process that holds it is gone, however it went: nothing is ever stale.

- ``CUDA_VISIBLE_DEVICES`` says which devices may be used; unset, all that ``nvidia-smi`` lists.
- A job to which a scheduler gave just as many as it wants takes them as they are. (In a bigger allocation, in
  which somebody runs the whole workflow, the commands share it out by locks.)
- Without any device the command runs at once, side by side with others.

``SEGLIB_GPU_LOCKS`` moves the lock files from /tmp/seglib-gpus, for all runs that are to share the devices.
"""

import contextlib
import fcntl
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")
"""What Slurm, PBS and LSF set in their jobs."""
LOCKS = "/tmp/seglib-gpus"
"""Not ``TMPDIR``, which may differ from user to user."""
POLL_S = 1.0


def main(arguments: Sequence[str]) -> None:
    """Become the command in ``arguments[1:]``, on ``arguments[0]`` devices."""
    if len(arguments) < 2 or not arguments[0].isdecimal():
        sys.exit("usage: python -m seglib.core.gpus COUNT COMMAND [ARGUMENT ...]")
    count, command = int(arguments[0]), arguments[1:]
    try:
        devices = find_devices(os.environ)
        given = len(devices) == count and any(name in os.environ for name in SCHEDULERS)
        if devices and not given:
            chosen = acquire(devices, count=count, folder=Path(os.environ.get("SEGLIB_GPU_LOCKS", LOCKS)))
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
            _say(f"on {', '.join(chosen)}")
    except (ValueError, OSError) as error:
        _say(f"error: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        _say(f"error: {command[0]}: {error.strerror}")
        sys.exit(127)


def find_devices(environment: Mapping[str, str]) -> list[str]:
    """The devices that commands may use, as UUIDs where ``nvidia-smi`` knows them.

    A UUID is the same for everybody, also where a container or another ``CUDA_VISIBLE_DEVICES`` counts anew.
    """
    present = _list_present(environment.get("PATH"))
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    devices = []
    for name in map(str.strip, visible.split(",")):
        if name in ("", "-1"):  # as CUDA reads it: what follows does not count
            break
        if name.isdecimal() and int(name) < len(present):
            name = present[int(name)]
        devices.append(name)
    return devices


def _list_present(path: str | None) -> list[str]:
    """UUIDs in ``nvidia-smi``'s order; of a GPU that is divided (MIG), those of its parts."""
    command = shutil.which("nvidia-smi", path=path)
    if command is None:
        return []
    listed = subprocess.run([command, "-L"], capture_output=True, text=True, check=False)
    return re.findall(r"UUID: (GPU-[^)]+(?=\)(?!\s*MIG ))|MIG-[^)]+)", listed.stdout)


def acquire(devices: Sequence[str], *, count: int, folder: Path) -> list[str]:
    """Wait until ``count`` of the devices are free, and lock them until this process and its heirs end.

    All or none are held while waiting, so that two who wait for several cannot block each other.
    ``ValueError`` when there are fewer than ``count``.
    """
    if count > len(devices):
        raise ValueError(f"{count} GPUs are wanted, and {len(devices)} are here: {', '.join(devices)}")
    _make_folder(folder)
    waiting = False
    while True:
        held: dict[str, int] = {}
        for device in devices:
            if len(held) < count and (lock := _try_lock(folder, device)) is not None:
                held[device] = lock
        if len(held) == count:
            for lock in held.values():
                os.set_inheritable(lock, True)
            return list(held)
        for lock in held.values():
            os.close(lock)
        if not waiting:
            _say(f"waiting for {count} of {len(devices)} GPUs to become free")
            waiting = True
        time.sleep(POLL_S * random.uniform(0.5, 1.5))


def _make_folder(folder: Path) -> None:
    """For all users of the machine, each of whom may add files and remove only their own."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
        folder.chmod(0o1777)


def _try_lock(folder: Path, device: str) -> int | None:
    """An open, locked descriptor, ``None`` if another process has the lock."""
    path = folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', device)}.lock"
    # Reading is enough to lock: a file that another user made serves as well as one's own.
    with contextlib.suppress(FileExistsError):
        made = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL)
        os.fchmod(made, 0o444)
        os.close(made)
    lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _say(line: str) -> None:
    print(f"seglib.core.gpus: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""A project whose jobs go to the Slurm of the tests, and what Slurm knows of them."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.workflow.project import SECRET, Project

SCRIPT = Path(__file__).with_name("slurm.sh")


class ClusterProject(Project):
    def __init__(self, folder: Path, slurm: Path):
        super().__init__(folder)
        self.slurm = slurm
        self.environment = self.environment | {"CITYSCAPES_PASSWORD": SECRET}
        self.started: list[subprocess.Popen] = []

    def start(self, *arguments: str, log: str) -> subprocess.Popen:
        """A run in the background; what it prints goes to the file `log`."""
        with open(self.folder / log, "a") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", "--configfile", "run.yaml", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Leave no run behind, whatever became of the test."""
        for process in self.started:
            process.kill()
            process.wait()

    def snakemake_at_once(self) -> subprocess.CompletedProcess:
        """A second run beside one that goes on."""
        return self.snakemake("--workflow-profile", "profiles/slurm", check=False)

    def submitted(self, log: str) -> dict[int, str]:
        """Slurm's id -> `rule_train/scenes_fcn_...` of every job that a run submitted."""
        pattern = r"submitted with SLURM jobid (\d+) \(log: \S*logs/slurm/(\S+)/\d+\.log\)"
        return {int(id): name for id, name in re.findall(pattern, (self.folder / log).read_text())}

    def has_checkpoint(self, cell: str) -> bool:
        return any((self.folder / "results/cells" / cell / "checkpoints").glob("*/*.safetensors"))

    def step_process(self, step: str, part: str = "") -> int | None:
        """Id of a process that runs `step` here, with `part` in one of its arguments."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command, where = (folder / "cmdline").read_text().split("\0"), (folder / "cwd").readlink()
            except OSError:  # it ended meanwhile
                continue
            runs = command[1:4] == ["-m", "seglib", step] and any(part in item for item in command)
            if runs and where == self.folder:
                return int(folder.name)
        return None

    def finished_jobs(self) -> dict[int, dict[str, str]]:
        """What Slurm knows of each job that ended: its state, partition, times, resources."""
        listed = subprocess.run(["scontrol", "--oneliner", "show", "jobs"], capture_output=True, text=True)
        records = [
            dict(item.split("=", 1) for item in line.split() if "=" in item)
            for line in listed.stdout.splitlines()
            if line.startswith("JobId=")
        ]
        under_way = ("PENDING", "RUNNING", "COMPLETING")
        return {int(record["JobId"]): record for record in records if record["JobState"] not in under_way}


def running_job(what: str) -> str | None:
    """Slurm's id of the running job whose name or comment (rule and wildcards) holds `what`."""
    listed = subprocess.run(
        ["squeue", "--noheader", "--states=RUNNING", "--format=%i %j %k"], capture_output=True, text=True
    )
    return next((line.split()[0] for line in listed.stdout.splitlines() if what in line), None)


def was_sent(process: int, number: signal.Signals) -> bool:
    """Whether a signal waits for a stopped process, or has woken and ended it already."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return True
    pending = re.findall(r"^(?:Sig|Shd)Pnd:\s*(\w+)", status, re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in pending)


def wait_until(condition: Callable[[], Any], *, what: str, timeout_s: float = 600, process=None) -> Any:
    """The first true value of `condition`; fails when the time is over or `process` has ended."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if value := condition():
            return value
        assert process is None or process.poll() is None, f"the run ended before: {what}"
        time.sleep(0.1)
    raise AssertionError(f"no {what} within {timeout_s} s")

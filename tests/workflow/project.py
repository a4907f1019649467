"""A copy of the checkout to run the workflow in, and what a run of it printed, as data."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "workflow", "seglib", "config", "profiles", "environment.yml")
SECRET = "planted-8d1f0c"
"""Stands for the password of a data-set account."""
CONFIG = {
    "title": "rerun tests",
    "backbones": {"small": {"model": "mobilenetv3_small_050"}},
    "recipes": {
        name: {"iterations": 2, "batch_size": 2, "crop_hw": [64, 64], "lr": lr, "threads": 1}
        for name, lr in (("slow", 0.01), ("fast", 0.02))
    },
    "protocols": {"ss": {}},
    "matrix": [
        {
            "datasets": ["scenes"],
            "methods": [name],
            "backbones": ["small"],
            "recipes": recipes,
            "seeds": [0],
        }
        for name, recipes in (("fcn", ["slow", "fast"]), ("isnet", ["slow"]))
    ],
}
FCN, FCN_FAST, ISNET = (
    f"scenes/{name}/seed0" for name in ("fcn/small/slow", "fcn/small/fast", "isnet/small/slow")
)


@functools.cache
def fork_server() -> subprocess.Popen:
    """One per process of pytest; it ends with it, when its standard input does."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, Path(__file__).with_name("fork_server.py")]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


class Project:
    """A folder with the code, a configuration and its results."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)  # copies of a project share what it compiled

    def snakemake(self, *arguments, check=True, **environment):
        command = ("snakemake", "--configfile", "run.yaml", "--cores", "2", *arguments)
        return self.python_m(*command, check=check, **environment)

    def python_m(self, module, *arguments, check=True, **environment) -> subprocess.CompletedProcess:
        """`python -m MODULE ARGUMENTS` in this folder; `output` is what it printed, errors last."""
        with tempfile.TemporaryDirectory() as folder:
            stdout, stderr = (Path(folder, name) for name in ("stdout", "stderr"))
            request = {
                "module": module,
                "arguments": [str(argument) for argument in arguments],
                "folder": str(self.folder),
                "environment": self.environment | environment,
                "stdout": str(stdout),
                "stderr": str(stderr),
            }
            server = fork_server()
            print(json.dumps(request), file=server.stdin, flush=True)
            code = int(server.stdout.readline())
            result = subprocess.CompletedProcess(
                [module, *arguments], code, stdout.read_text(), stderr.read_text()
            )
        result.output = result.stdout + result.stderr
        if check:
            assert code == 0, result.output
        return result

    def planned(self, *arguments, **environment) -> set[tuple[str, str]]:
        """(rule, cell) of every job that would run; the cell is empty for jobs that belong to none."""
        output = self.snakemake("-n", *arguments, **environment).output
        return {job for job in jobs(output) if job[0] != "all"}

    def ran(self, *arguments) -> set[tuple[str, str]]:
        """Like `planned`, of a real run."""
        return {job for job in jobs(self.snakemake(*arguments).output) if job[0] != "all"}

    def configure(self, config) -> None:
        (self.folder / "run.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def configure_block(self, index: int, **values) -> None:
        """Change values of one block of the matrix of `CONFIG`."""
        blocks = [dict(block) for block in CONFIG["matrix"]]
        blocks[index] |= values
        self.configure(CONFIG | {"matrix": blocks})

    def append(self, path: str, text: str) -> None:
        with open(self.folder / path, "a") as file:
            file.write(text)

    def replace(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text()
        assert old in text, (path, old)
        (self.folder / path).write_text(text.replace(old, new))

    def edit_code(self, path: str) -> None:
        self.append(path, "\nEDITED = True\n")

    def edit_prose(self, path: str) -> None:
        """A comment and a docstring, as somebody who explains better."""
        self.append(path, '\n# Better said.\n"""Of the module."""\n')


def jobs(output: str) -> set[tuple[str, str]]:
    blocks = re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):\n((?:    .*\n)*)", output, re.MULTILINE)
    return {(rule, "".join(re.findall(r"wildcards:.*\bcell=([^,\n]*)", block))) for rule, block in blocks}


def copy_code(folder: Path) -> None:
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / part, folder / part)

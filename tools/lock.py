"""Renew the pins: ``make lock`` (``make lock UPGRADE=`` keeps the versions and renews the hashes only).

    constraints.txt     one tested version per package, from the bounds of pyproject.toml
    environment.yml     the same versions for conda
    requirements.lock   the same versions with the SHA-256 of every file that PyPI serves, for
                        `pip install --require-hashes -r requirements.lock`

The first two are what tests and CI run with; the third rebuilds an environment years later. PyPI's torch for
Linux is the CUDA build, whose libraries are therefore in the lock and in no other file.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON, PLATFORM = "3.11", "x86_64-manylinux_2_28"
CUDA = re.compile(r"(nvidia|cuda|triton)\b")
"""What only PyPI's CUDA build of torch needs."""
PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", re.MULTILINE)
HEADER = f"""\
# All packages of seglib and its cluster plugins, with the SHA-256 of each file: Python {PYTHON}, Linux.
# Renewed by `make lock`; the versions are those of constraints.txt (a test compares).
#     pip install --require-hashes -r requirements.lock && pip install --no-deps -e .
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions within the bounds")
    if parser.parse_args().upgrade:
        write_constraints(pins(compile_pins("--all-extras", "--upgrade")))
    write_environment(pins((ROOT / "constraints.txt").read_text("utf-8")))
    locked = compile_pins("--extra", "cluster", "-c", "constraints.txt", "--generate-hashes")
    (ROOT / "requirements.lock").write_text(HEADER + locked, encoding="utf-8")


def compile_pins(*options: str) -> str:
    """What uv resolves from pyproject.toml: one ``name==version`` a line, with hashes where asked for."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet", "--no-header"]
    command += ["--no-annotate", "--no-emit-index-url", "--python-version", PYTHON]
    command += ["--python-platform", PLATFORM, *options]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def pins(text: str) -> dict[str, str]:
    """Package -> version, as spelled."""
    return dict(PIN.findall(text))


def write_constraints(versions: dict[str, str]) -> None:
    file = ROOT / "constraints.txt"
    comments = [line for line in file.read_text("utf-8").splitlines(True) if line.startswith("#")]
    lines = [
        f"{name}=={versions[name]}\n" for name in sorted(versions, key=str.lower) if not CUDA.match(name)
    ]
    file.write_text("".join(comments + lines), encoding="utf-8")


def write_environment(versions: dict[str, str]) -> None:
    """Only versions change: which packages are named there is decided by hand."""
    file = ROOT / "environment.yml"
    known = {name.lower(): version for name, version in versions.items()}

    def renew(match: re.Match) -> str:
        return f"{match[1]}{match[2]}=={known[match[2].lower()]}"

    text = re.sub(r"^( +- )([\w.-]+)==\S+", renew, file.read_text("utf-8"), flags=re.MULTILINE)
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""`--use-conda` is wired: each rule runs in the environment that conda builds from environment.yml.

With a TEST DOUBLE of conda: it answers Snakemake's questions, and what it "builds" is a folder whose python
notes its calls and then is this one. That the pins can be installed is for a real conda to say.
"""

import json
import shutil
import stat
import sys

import pytest

from tests.workflow.project import CONFIG, ROOT, Project, copy_code

DOUBLE = r"""#!/bin/bash
case "$*" in
"info --json") echo '@INFO@' ;;
--version) echo conda 25.1.0 ;;
*channel_priority*) echo '{"get": {"channel_priority": "strict"}}' ;;
"env create"*)
    while [ $# -gt 0 ]; do
        case "$1" in --file) file=$2 ;; --prefix) prefix=$2 ;; esac
        shift
    done
    mkdir -p "$prefix/bin" && cp "$file" "$prefix/built-from.yml"
    printf '#!/bin/sh\necho "$*" >> "%s/calls"\nexec "@PYTHON@" "$@"\n' "$prefix" > "$prefix/bin/python"
    chmod +x "$prefix/bin/python" ;;
clean*) ;;
*) echo "the double of conda does not know: $*" >&2; exit 1 ;;
esac
"""


def test_rules_run_in_the_environment_of_environment_yml(tmp_path):
    conda = tmp_path / "conda" / "bin" / "conda"
    conda.parent.mkdir(parents=True)
    prefix = str(conda.parents[1])
    info = {"conda_prefix": prefix, "platform": "linux-64", "conda_version": "25.1.0", "channels": []}
    conda.write_text(DOUBLE.replace("@INFO@", json.dumps(info)).replace("@PYTHON@", sys.executable))
    conda.chmod(conda.stat().st_mode | stat.S_IXUSR)
    (conda.parent / "activate").write_text('export PATH="$1/bin:$PATH"\n')
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    copy_code(project.folder)
    project.configure(CONFIG)
    path = f"{conda.parent}:{project.environment['PATH']}"
    project.snakemake("--use-conda", "data/scenes/raw/source.json", PATH=path)
    [built] = (project.folder / ".snakemake" / "conda").glob("*/built-from.yml")
    assert built.read_bytes() == (ROOT / "environment.yml").read_bytes()
    [call] = built.with_name("calls").read_text().splitlines()
    assert call.startswith("-m seglib download scenes --out data/scenes/raw")


@pytest.mark.conda
@pytest.mark.skipif(shutil.which("conda") is None, reason="needs a real conda on PATH")
def test_a_real_conda_builds_the_environment(tmp_path):
    copy_code(tmp_path)
    project = Project(tmp_path)
    project.configure(CONFIG)
    project.snakemake("--use-conda", "data/scenes/raw/source.json")

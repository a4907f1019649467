"""The scripts of profiles/cluster-generic, with test doubles of PBS and LSF commands.

The doubles print what the schedulers' manuals say; tests/cluster runs the same scripts on a real Slurm.
"""

import os
import subprocess

import pytest

from tests.workflow.project import ROOT

SCRIPTS = ROOT / "profiles" / "cluster-generic"
ASKED = "--queue gpu --cpus 4 --gpus {gpus} --mem-mb 24000 --minutes 90 job.12.sh"


@pytest.fixture
def site(tmp_path):
    """Calls a script where a command of the given text is on PATH; `asked` is the file with its arguments."""

    def call(script, *arguments, **commands):
        for name, text in commands.items():
            path = tmp_path / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> "{tmp_path}/asked"\n{text}\n')
            path.chmod(0o755)
        environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        done = subprocess.run(
            [SCRIPTS / script, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        return done.stdout.strip()

    call.asked = tmp_path / "asked"
    return call


def test_pbs_is_asked_for_what_the_job_needs(site):
    assert site("submit.sh", *ASKED.format(gpus=2).split(), qsub="echo 71.server") == "71.server"
    asked = site.asked.read_text().splitlines()
    assert asked[asked.index("-q") + 1] == "gpu"
    assert "select=1:ncpus=4:ngpus=2:mem=24000mb" in asked
    assert "walltime=5400" in asked
    assert asked[-1] == "job.12.sh"
    # Whatever else is in the environment stays out of what `qstat -f` shows to everybody.
    assert "-V" not in asked
    assert asked[asked.index("-v") + 1].startswith("PATH=")


@pytest.mark.parametrize(("gpus", "options"), [(0, []), (2, ["-gpu", "num=2"])])
def test_lsf_is_asked_for_what_the_job_needs(site, gpus, options):
    answer = "echo 'Job <71> is submitted to queue <gpu>.'"
    assert site("submit.sh", *ASKED.format(gpus=gpus).split(), bsub=answer) == "71"
    asked = site.asked.read_text().splitlines()
    assert asked[asked.index("-W") + 1] == "90"
    assert asked[asked.index("-oo") + 2 :] == [*options, "job.12.sh"]


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ({"qstat": "printf '    job_state = R\\n'"}, "running"),
        ({"qstat": "printf '    job_state = F\\n    Exit_status = 0\\n'"}, "success"),
        ({"qstat": "printf '    job_state = F\\n    Exit_status = 271\\n'"}, "failed"),
        ({"qstat": "echo 'qstat: Unknown Job Id 71.server' >&2; exit 153"}, "failed"),
        ({"qstat": "echo 'qstat: cannot connect to server' >&2; exit 1"}, "running"),
        ({"bjobs": "echo RUN"}, "running"),
        ({"bjobs": "echo DONE"}, "success"),
        ({"bjobs": "echo EXIT"}, "failed"),
        ({"bjobs": "echo 'Job <71> is not found' >&2; exit 255"}, "failed"),
        ({"bjobs": "echo 'LSF is down. Please wait ...' >&2; exit 255"}, "running"),
        ({"scontrol": "echo JobId=71 JobState=COMPLETED Reason=None"}, "success"),
        ({"scontrol": "echo JobId=71 JobState=TIMEOUT Reason=TimeLimit"}, "failed"),
        ({"scontrol": "echo 'Unable to contact slurm controller' >&2; exit 1"}, "running"),
    ],
)
def test_the_state_of_a_job(site, commands, expected):
    assert site("status.sh", "71", **commands) == expected


def test_cancelling_names_all_jobs(site):
    site("cancel.sh", "71", "72", bkill="")
    assert site.asked.read_text().splitlines() == ["71", "72"]

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from seglib import cli
from seglib.core import registry

ROOT = Path(__file__).parents[2]


@pytest.fixture
def call(capsys):
    """Run the command line in this process: exit code, stdout, stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run


@pytest.mark.parametrize("step", sorted(registry.STEPS))
def test_every_step_explains_itself(call, step):
    code, out, _ = call(step, "--help")
    assert code == 0
    assert f"usage: seglib {step}" in out


def test_help_imports_no_torch():
    code = (
        "import sys; from seglib import cli\n"
        "try: cli.main(['train', '--help'])\n"
        "except SystemExit: sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0


def test_a_mistake_is_one_line_and_exit_code_2(call, tmp_path):
    code, _, err = call(
        "score", "--predictions", str(tmp_path / "none"), "--labels", str(tmp_path), "--num-classes", "3"
    )
    assert code == 2
    command, message = err.splitlines()
    assert command.startswith("$ python -m seglib score --predictions ")
    assert message.startswith("seglib score: error: ")


@pytest.mark.parametrize("size", ["512", "512x", "x512", "0x512", "512*512"])
def test_a_malformed_size_says_the_form(call, size):
    code, _, err = call(
        "complexity", "--method", "fcn", "--backbone", "resnet18", "--input", size, "--num-classes", "2"
    )
    assert code == 2
    assert "write HEIGHTxWIDTH, e.g. 512x1024" in err


def test_a_malformed_cell_says_what_is_wrong(call):
    code, _, err = call(
        "train", "--cell", '{"dataset": 1}', "--data", "d", "--out", "o", "--checkpoints", "c"
    )
    assert code == 2
    assert "cell.dataset: expected text, got 1" in err


def test_a_cell_that_is_no_file_says_so(call, tmp_path):
    missing = str(tmp_path / "cell.json")
    code, _, err = call("train", "--cell", missing, "--data", "d", "--out", "o", "--checkpoints", "c")
    assert code == 2
    assert missing in err.splitlines()[-1]


def test_an_interrupt_says_that_the_next_run_goes_on(call, monkeypatch):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "resolve", lambda target: interrupted)
    code, _, err = call("download", "scenes", "--out", "raw")
    assert code == 130
    assert "the next run goes on from here" in err


TERMINATED = """
import os, signal, sys
from pathlib import Path
from seglib import cli
from seglib.core import files, registry
def step(out, **_):
    with files.atomic_folder(out) as folder:
        (folder / "0.png").touch()
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
registry.resolve = lambda target: step
cli.main(["download", "scenes", "--out", sys.argv[1]])
"""


def test_sigterm_leaves_nothing_half_written(tmp_path):
    """Twice, as clusters do: the second one comes while the first is acted upon."""
    done = subprocess.run(
        [sys.executable, "-c", TERMINATED, tmp_path / "raw"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stderr.splitlines()[-1] == "seglib download: stopped; the next run goes on from here"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def seen(monkeypatch):
    """The handler of SIGTERM within each step that ran."""
    seen = []

    def step(**_):
        seen.append(signal.getsignal(signal.SIGTERM))

    monkeypatch.setattr(registry, "resolve", lambda target: step)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield seen
    signal.signal(signal.SIGTERM, before)


def test_sigterm_is_handled_within_a_step_only(seen):
    cli.main(["download", "scenes", "--out", "raw"])
    assert callable(seen[0])
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None], ids=["ignored", "handled"])
def test_what_the_caller_does_at_sigterm_stays(seen, handler):
    signal.signal(signal.SIGTERM, handler)
    cli.main(["download", "scenes", "--out", "raw"])
    assert seen == [signal.getsignal(signal.SIGTERM)] == [handler]


def test_a_step_may_run_in_any_thread(seen):
    thread = threading.Thread(target=cli.main, args=(["download", "scenes", "--out", "raw"],))
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


def test_no_account_of_an_address_is_printed(call, tmp_path):
    mirror = "https://me:s3cret@example.org/x"
    code, output, errors = call("download", "camvid", "--out", str(tmp_path), "--mirror", mirror)
    assert (code, output) == (2, "")
    assert "https://***@example.org/x" in errors
    assert "s3cret" not in errors

import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from seglib import cli
from seglib.core import code_digest, command_line, registry

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

    monkeypatch.setattr("seglib.data.download.run", interrupted)
    code, _, err = call("download", "scenes", "--out", "raw")
    assert code == 130
    assert "the next run goes on from here" in err


TERMINATED = """
import os, signal, sys
from pathlib import Path
from seglib import cli
from seglib.core import files
from seglib.data import download
def step(out, **_):
    with files.atomic_folder(out) as folder:
        (folder / "0.png").touch()
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
download.run = step
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

    monkeypatch.setattr("seglib.data.download.run", step)
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


HEAVY = ("torch", "timm", "pandas", "matplotlib", "numpy", "cv2", "yaml")


def test_no_help_imports_anything_heavy():
    code = f"""
import contextlib, io, sys
from seglib import cli
from seglib.core import code_digest, command_line, registry
for step in registry.STEPS:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        cli.main([step, "--help"])
sys.exit(", ".join({{name.split(".")[0] for name in sys.modules}} & set({HEAVY})) or None)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_spelled_line_is_what_the_parser_reads():
    line = command_line.spell(
        "score", predictions=Path("a b"), labels="l", num_classes=3, subset=True, csv=False, out="m.json"
    )
    assert line.startswith("python -m seglib score --predictions 'a b' ")
    options = vars(cli._parser().parse_args(shlex.split(line)[3:]))
    assert (options["predictions"], options["num_classes"]) == (Path("a b"), 3)
    assert (options["subset"], options["csv"], options["against"]) == (True, False, None)
    assert command_line.spell("merge", sources=["a", "b"], out="c").endswith("merge a b --out c")
    with pytest.raises(ValueError, match="no option 'classes'"):
        command_line.spell("score", classes=3)


def test_a_job_that_is_to_run_other_code_stops(call, tmp_path, monkeypatch):
    """As where another checkout, or an installed seglib, comes first on the path."""
    calls = []
    monkeypatch.setattr("seglib.data.download.run", lambda **options: calls.append(options))
    digest = code_digest.summary_digest(code_digest.step_code("download", dataset="scenes"))
    cli.main(["download", "scenes", "--out", str(tmp_path), "--code", digest])
    assert len(calls) == 1
    code, _, err = call("download", "scenes", "--out", str(tmp_path), "--code", "0123456789ab")
    assert code == 2
    assert "is not the code that the workflow planned this job for" in err.splitlines()[-1]
    assert len(calls) == 1

"""The command line: one subcommand per step, each the same call that the workflow makes.

Only arguments are handled here; ``registry.STEPS`` says where the work is done, so that
``seglib STEP --help`` imports neither torch nor any step.
"""

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from signal import SIGINT
from typing import Any

from seglib import __version__
from seglib.core import registry, typed
from seglib.core.signals import Terminated, terminated_as_interrupted
from seglib.experiment.cell import Cell
from seglib.experiment.recipe import Backbone, Protocol

MANIFESTS = "prepared data sets, of which the manifests are read (default: the configuration's folder)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one step. A user's mistake ends in one line on stderr and exit code 2."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = vars(_parser().parse_args(arguments))
    step = options.pop("step")
    if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun starts, one says it for all
        print(f"$ python -m seglib {_hide_accounts(shlex.join(arguments))}", file=sys.stderr, flush=True)
    try:
        # A training stops at a point of its own choosing, and torchrun counts on that.
        with nullcontext() if step == "train" else terminated_as_interrupted():
            registry.resolve(_target(step, options))(**options)
    except (ValueError, OSError) as error:
        if os.environ.get("SEGLIB_TRACEBACK"):
            raise
        print(f"seglib {step}: error: {_one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(f"seglib {step}: stopped; the next run goes on from here", file=sys.stderr)
        sys.exit(128 + (stop.signal if isinstance(stop, Terminated) else SIGINT))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seglib", description="Reproducible benchmarks of semantic segmentation."
    )
    parser.add_argument("--version", action="version", version=f"seglib {__version__}")
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")

    step = _step(steps, "download", "fetch a data set and check every file")
    step.add_argument("dataset", choices=sorted(registry.DATASETS))
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="e.g. data/camvid/raw")
    step.add_argument(
        "--mirror", metavar="DIR|URL", help="where the archives lie, instead of their public address"
    )
    step.add_argument("--data-root", metavar="DIR", help="your own copy, read in place")

    step = _step(steps, "prepare", "convert labels to train ids and write the manifest")
    step.add_argument("dataset", choices=sorted(registry.DATASETS))
    step.add_argument("--raw", type=Path, required=True, metavar="DIR", help="what download made")
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="e.g. data/camvid")
    _workers(step, "threads")

    step = _step(steps, "verify", "check every file of a prepared data set against what was recorded")
    step.add_argument("dataset", choices=sorted(registry.DATASETS))
    step.add_argument("--data", type=Path, metavar="DIR", help="default: data/DATASET")
    step.add_argument("--raw", type=Path, metavar="DIR", help="what download made (default: raw in --data)")
    _workers(step, "threads")

    step = _step(steps, "inspect", "statistics, class frequencies and a contact sheet of a prepared data set")
    step.add_argument("dataset", choices=sorted(registry.DATASETS))
    step.add_argument("--data", type=Path, metavar="DIR", help="default: data/DATASET")
    step.add_argument(
        "--out", type=Path, metavar="FILE", help="PNG of the contact sheet (default: DATASET.png)"
    )

    step = _step(steps, "train", "train one cell; goes on where an earlier run stopped")
    step.add_argument(
        "--cell", type=_cell, required=True, metavar="JSON|FILE", help="the cell, e.g. a cell.json"
    )
    step.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared data set")
    step.add_argument("--out", type=Path, required=True, metavar="DIR")
    step.add_argument("--checkpoints", type=Path, required=True, metavar="DIR", help="kept between attempts")
    step.add_argument("--weights", type=Path, metavar="FILE", help="the initial weights that the cell names")
    step.add_argument(
        "--checkpoint-interval-s", type=float, default=60.0, metavar="S", help="default: %(default)s"
    )
    step.add_argument(
        "--cache", choices=("uint8",), help="keep decoded pixels in the folder cache of the data set"
    )
    _device(step)

    step = _step(steps, "predict", "write label maps of one split, or of your own images")
    step.add_argument(
        "--model",
        "--cell",
        type=_trained,
        required=True,
        metavar="DIR",
        help="a trained cell's folder",
    )
    source = step.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="DIR", help="prepared data set")
    source.add_argument("--images", type=Path, metavar="DIR|FILE", help="your own; writes overlays too")
    step.add_argument("--split", help="of the data set (default: val)")
    step.add_argument(
        "--protocol", type=_protocol, default=Protocol(), metavar="JSON", help="e.g. '{\"flip\": true}'"
    )
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the label maps")
    _device(step)

    step = _step(steps, "score", "compare two folders of label PNGs: IoU, Boundary IoU, boundary F")
    step.add_argument("--predictions", type=Path, required=True, metavar="DIR")
    step.add_argument("--labels", type=Path, required=True, metavar="DIR")
    step.add_argument("--num-classes", type=int, required=True, metavar="K")
    step.add_argument("--ignore-index", type=int, default=255, metavar="VALUE", help="default: %(default)s")
    step.add_argument(
        "--boundary-ratio",
        type=float,
        default=0.02,
        metavar="R",
        help="of the diagonal (default: %(default)s)",
    )
    step.add_argument("--class-names", type=Path, metavar="FILE", help="one name a line, in label order")
    step.add_argument(
        "--out", type=Path, default=Path("metrics.json"), metavar="FILE", help="default: %(default)s"
    )
    step.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="another result's metrics.json: paired bootstrap over images",
    )
    step.add_argument(
        "--subset", action="store_true", help="leave out labels without a prediction; the result says so"
    )
    step.add_argument("--csv", action="store_true", help="also write the per-class table as CSV")
    step.add_argument("--latex", action="store_true", help="also write it as LaTeX")
    _workers(step, "processes")

    step = _step(steps, "complexity", "parameters and multiply-adds of a model, from two counters")
    _model(step)
    step.add_argument("--out", type=Path, metavar="FILE", help="write JSON here")
    step.add_argument("--json", action="store_true", dest="as_json", help="print JSON")

    step = _step(steps, "speed", "latency, throughput and peak memory of a model on this machine")
    _model(step)
    step.add_argument("--batch-size", type=int, default=1, metavar="B", help="default: %(default)s")
    step.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s"
    )
    step.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    step.add_argument("--threads", type=int, default=_count_cpus(), metavar="N", help="of the CPU arithmetic")
    step.add_argument(
        "--warmup", type=int, default=5, metavar="N", help="untimed batches (default: %(default)s)"
    )
    step.add_argument(
        "--repeats", type=int, default=20, metavar="N", help="timed batches (default: %(default)s)"
    )
    step.add_argument("--out", type=Path, metavar="FILE", help="write JSON here")

    step = _step(steps, "audit", "cost of every method at the size of its papers' experiments")
    step.add_argument(
        "--records", type=Path, required=True, metavar="DIR", help="kept; only what changed is measured again"
    )
    step.add_argument("--out", type=Path, required=True, metavar="FILE", help="the table, CSV")
    step.add_argument(
        "--datasets", nargs="*", default=[], metavar="NAME", help="only the crops of these, in the table too"
    )
    step.add_argument(
        "--max-mem-gib",
        type=float,
        default=8.0,
        metavar="GIB",
        help="of a forward pass for fvcore; 0: torch only, minutes (default: %(default)s)",
    )
    step.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: %(default)s)")

    step = _step(steps, "compare", "collect all cells into results/summary.csv")
    step.add_argument("--config", type=_config, required=True, metavar="FILE|JSON")
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="the results folder")
    step.add_argument("--data", type=Path, metavar="DIR", help=MANIFESTS)

    step = _step(steps, "report", "tables, figures and the page")
    step.add_argument("--config", type=_config, required=True, metavar="FILE|JSON")
    step.add_argument("--results", type=Path, required=True, metavar="DIR")
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="the reports folder")
    step.add_argument("--data", type=Path, metavar="DIR", help=MANIFESTS)
    step.add_argument("--partial", action="store_true", help="from what exists; the rest is shown as missing")

    step = _step(steps, "plan", "say what a run would do, why, and what it costs")
    step.add_argument("--config", type=Path, metavar="FILE", help="default: config/default.yaml")
    step.add_argument("--all", action="store_true", dest="show_all", help="name every cell")
    step.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    step.add_argument(
        "arguments", nargs="*", metavar="-- SNAKEMAKE ARGUMENT", help="of that run, e.g. -- --forcerun train"
    )

    step = _step(steps, "status", "say which cells are done, running, failed or missing")
    step.add_argument("--config", type=_config, default="config/default.yaml", metavar="FILE|JSON")
    step.add_argument("--all", action="store_true", dest="show_all", help="also name the cells that are done")

    step = _step(steps, "trace", "walk a number back to its inputs and check every hash on the way")
    step.add_argument(
        "result", metavar="RESULT", help="a metrics.json, results/summary.csv:LINE, or the id of a cell"
    )
    step.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    step.add_argument("--data", type=Path, default=Path("data"), metavar="DIR")

    step = _step(steps, "verify-results", "find every file that changed after it was written")
    step.add_argument("folder", type=Path, metavar="DIR", help="a results folder or a part of one")
    step.add_argument(
        "--ignore-missing",
        action="store_true",
        help="files that are gone are no fault, as in published results",
    )

    step = _step(steps, "merge", "join the results of two machines; nothing is overwritten")
    step.add_argument("sources", type=Path, nargs="+", metavar="DIR", help="results folders")
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="may be one of them, or new")
    return parser


def _target(step: str, options: dict[str, Any]) -> str:
    """Where the step's work is done; ``options`` are then its arguments."""
    if step != "predict":
        return registry.STEPS[step]
    if options["data"] is not None:
        del options["images"]
        options["split"] = options["split"] or "val"
        return registry.STEPS[step]
    if options["split"] is not None:
        raise ValueError("--split names a part of --data; --images are predicted all")
    del options["data"], options["split"]
    return registry.PREDICT_IMAGES


def _step(steps: Any, name: str, what: str) -> argparse.ArgumentParser:
    return steps.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")


def _count_cpus() -> int:
    """At hand: a cluster's job has fewer than its node."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _workers(step: argparse.ArgumentParser, what: str) -> None:
    """Each worker holds an image or two in memory."""
    cpus = _count_cpus()
    step.add_argument(
        "--workers",
        type=lambda text: min(int(text), cpus),
        default=cpus,
        metavar="N",
        help=f"{what}; at most, and by default, one for each CPU at hand ({cpus})",
    )


def _device(step: argparse.ArgumentParser) -> None:
    step.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s"
    )
    step.add_argument(
        "--workers", type=int, default=2, metavar="N", help="loading threads (default: %(default)s)"
    )


def _model(step: argparse.ArgumentParser) -> None:
    step.add_argument("--method", choices=sorted(registry.METHODS), required=True)
    step.add_argument("--method-options", type=json.loads, default={}, metavar="JSON")
    step.add_argument(
        "--backbone", type=_backbone, required=True, metavar="NAME|JSON", help="a timm name or its settings"
    )
    step.add_argument(
        "--input", type=_size, required=True, metavar="HxW", dest="input_hw", help="e.g. 512x1024"
    )
    step.add_argument("--num-classes", type=int, required=True, metavar="K")


def _cell(text: str) -> Cell:
    if text.lstrip().startswith("{"):
        return _argument(Cell.from_json, text)
    return _argument(lambda file: Cell.from_json(Path(file).read_text("utf-8")), text)


def _trained(text: str) -> Path:
    """The folder with ``cell.json``: of a whole cell it is ``train``."""
    folder = Path(text)
    return folder / "train" if (folder / "train" / "cell.json").is_file() else folder


def _protocol(text: str) -> Protocol:
    return _argument(lambda value: typed.parse(Protocol, json.loads(value), "protocol"), text)


def _backbone(text: str) -> Backbone:
    values = json.loads(text) if text.lstrip().startswith("{") else {"model": text}
    return _argument(lambda value: typed.parse(Backbone, value, "backbone"), values)


def _config(text: str) -> dict[str, Any]:
    from seglib.experiment import config

    return _argument(json.loads if text.lstrip().startswith("{") else config.read, text)


def _size(text: str) -> tuple[int, int]:
    height, separator, width = text.partition("x")
    if not (separator and height.isdecimal() and width.isdecimal() and int(height) * int(width)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write HEIGHTxWIDTH, e.g. 512x1024")
    return int(height), int(width)


def _argument(convert: Any, value: Any) -> Any:
    """argparse hides the message of a ``ValueError`` and lets an ``OSError`` through; this shows both."""
    try:
        return convert(value)
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _hide_accounts(text: str) -> str:
    """Without the ``user:password@`` of addresses: what is printed here ends up in logs."""
    return re.sub(r"(?<=://)[^/@\s]+@", "***@", text)


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror and not error.filename2:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__

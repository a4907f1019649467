"""How long Snakemake plans 1,000 cells, before and after they ran, and `seglib plan` explains them.

    python benchmarks/planning.py

Plans are dry runs of the real rules. "After" stands on empty files in the place of all results, which
``snakemake --touch`` records as made; that takes some minutes and is not timed.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from seglib.experiment import config, paths, records  # noqa: E402

CELLS = 1000
REPEATS = 3


def main() -> None:
    global CELLS, REPEATS
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reduced", action="store_true", help="smallest sizes and counts: does it run?")
    if parser.parse_args().reduced:
        CELLS, REPEATS = 2, 1
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for part in ("Snakefile", "workflow", "seglib", "config", "profiles"):
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
            copy(ROOT / part, folder / part)
        shutil.copy2(ROOT / "environment.yml", folder)
        values = config.read(ROOT / "config" / "default.yaml")
        values["matrix"][0] |= {"methods": ["fcn", "isnet"], "seeds": list(range(CELLS // 2)), "variants": []}
        (folder / "run.json").write_text(json.dumps(values))

        report("nothing has run", folder)
        fabricate(folder, config.load(values))
        run(folder, "--touch", "--forceall", "--quiet", "all")
        report("everything has run", folder)


def fabricate(folder: Path, plan: config.Plan) -> None:
    """Empty files where the results of all cells belong."""
    results = folder / plan.config.results
    for dataset in {cell.dataset for cell in plan.cells}:
        put(folder / plan.config.data / dataset / "raw" / "source.json", "{}")
        records.write(folder / plan.config.data / dataset / "manifest.json", manifest(dataset))
    for cell in plan.cells:
        for name in ("model.safetensors", "cell.json", "train_log.jsonl", "provenance.json"):
            put(paths.train_folder(results, cell) / name)
        put(paths.complexity_file(results, cell))
        for test in plan.evaluations(cell):
            for name in ("predictions/0.png", "metrics.json", "counts.npz"):
                put(paths.evaluation_folder(results, cell, test.name) / name)
    put(results / "summary.csv")
    put(folder / plan.config.reports / "index.html")


def manifest(dataset: str) -> records.Manifest:
    """Of no images."""
    return records.Manifest(
        dataset=dataset,
        classes=(),
        flip_pairs=(),
        ignore_index=255,
        splits={},
        unlabelled={},
        label_histogram={},
        data_digest="0",
        software={},
    )


def put(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def report(state: str, folder: Path) -> None:
    snakemake = ("snakemake", "--cores", "2", "--configfile", "run.json", "--dry-run", "--quiet")
    for command in (snakemake, ("seglib", "plan", "--config", "run.json")):
        times_s = []
        for _ in range(REPEATS):
            start_s = time.monotonic()
            call(folder, *command)
            times_s.append(time.monotonic() - start_s)
        median_s = statistics.median(times_s)
        print(f"{CELLS} cells, {state}, {' '.join(command[:2])}: {median_s:.1f} s (median of {REPEATS})")


def run(folder: Path, *arguments: str) -> None:
    call(folder, "snakemake", "--cores", "2", "--configfile", "run.json", *arguments)


def call(folder: Path, module: str, *arguments: str) -> None:
    command = [sys.executable, "-m", module, *arguments]
    subprocess.run(command, cwd=folder, env=os.environ, check=True, capture_output=True)


if __name__ == "__main__":
    main()

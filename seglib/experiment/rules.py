"""What the rules of the workflow ask about their jobs: which cell, which code, which resources.

A job is repeated when its recorded ``params`` or its rule change, or an input is newer. So ``params`` holds
what a result depends on (the cell, digests of code and data) and nothing else. Settings that only say how to
run (device, workers, mirror, how Python is started) are :class:`Unrecorded`, which Snakemake does not record.
Methods take Snakemake's ``wildcards``. Snakemake imports this while it parses: no torch.
"""

import functools
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from seglib.core import code_digest, registry
from seglib.core.typed import canonical_json
from seglib.experiment import ablations, paths
from seglib.experiment import config as configuration
from seglib.experiment.ablations import Ablation
from seglib.experiment.cell import Cell
from seglib.experiment.config import DataSource, Evaluation, Plan
from seglib.experiment.recipe import NO_WEIGHTS

CELL = r"[^/]+/[^/]+/[^/]+/[^/]+/seed\d+"
TEST = r"(train|val|test)-[a-z0-9_.]+"
MODEL = r".+/\d+x\d+"


class Unrecorded:
    """Words of a command line that no result depends on. Snakemake records params of built-in types only."""

    def __init__(self, words: Iterable[str]):
        self.words = list(words)

    def __str__(self) -> str:
        return " ".join(self.words)


class Targets(dict):
    """What a target may name, by name."""

    def __init__(self, what: str, entries: dict[Any, Any]):
        super().__init__(entries)
        self.what = what

    def __missing__(self, key: Any) -> None:
        name = " ".join(key) if isinstance(key, tuple) else key
        raise ValueError(
            f"{name}: no {self.what} of this configuration or its ablations; `seglib status --all` lists the "
            "cells"
        )


class Run:
    """A configuration, with the cells of all ablations: only the ablations' own targets ask for them."""

    def __init__(self, values: dict[str, Any], ablation_folder: Path):
        self.plan = configuration.load(values)
        self.config, self.json = self.plan.config, canonical_json(values)
        self.whole, self.ablations = ablations.load_all(ablation_folder, self.plan)
        self.results = self.config.results
        cells = self.whole.cells
        self.cells = Targets("cell", {cell.id: cell for cell in cells})
        self.evaluations = Targets(
            "test", {(cell.id, test.name): test for cell in cells for test in self.whole.evaluations(cell)}
        )
        self.models = Targets("model", {self._model_name(cell): cell for cell in cells})
        self.gpus = 0 if self.config.device == "cpu" else 1
        """Devices of a job that can use one."""
        self._step_code = functools.cache(code_digest.step_code)

    # A frozen result is no job: where it lies, its rule does not match it, so that neither the rule's text
    # nor a parameter nor an environment can make it anew. The patterns are those of the rules' wildcards.

    @functools.cached_property
    def cells_to_train(self) -> str:
        """Pattern of the cells that rule ``train`` may train."""
        kept = [cell.id for cell in self._frozen() if self._is_trained(cell)]
        return _without((f"{id}/train/" for id in kept), CELL)

    @functools.cached_property
    def cells_to_test(self) -> str:
        """Pattern of the cells that rules ``predict`` and ``score`` may test, with regard to the test."""
        kept = (
            f"{cell.id}/{test.name}/"
            for cell in self._frozen()
            for test in self.whole.evaluations(cell)
            if (paths.evaluation_folder(self.results, cell, test.name) / "metrics.json").exists()
        )
        return _without(kept, CELL)

    @functools.cached_property
    def models_to_measure(self) -> str:
        """Pattern of the models whose cost may be counted: not those of frozen cells alone."""
        frozen = {self._model_name(cell) for cell in self._frozen() if self._is_trained(cell)}
        others = (cell for cell in self.whole.cells if cell.id not in self.whole.frozen)
        kept = frozen - {self._model_name(cell) for cell in others}
        files = (f"{name}{suffix}" for name in kept for suffix in (".json", ".speed.json"))
        return _without((name for name in files if Path(self.results, "models", name).exists()), MODEL)

    def find_plan(self, wildcards: Any) -> Plan:
        name = wildcards.get("ablation")
        return self.plan if name is None else self.find_ablation(name).plan

    def find_ablation(self, name: str) -> Ablation:
        ablation = self.ablations[name]
        if ablation.conflict:
            raise ValueError(f"ablation_{name}: {ablation.conflict}")
        return ablation

    def list_results(self, wildcards: Any) -> Iterator[str]:
        """Every file that the comparison or an ablation's page reads."""
        return self._list_files(self.find_plan(wildcards))

    def list_ablation_results(self, name: str) -> Callable[[Any], Iterator[str]]:
        return lambda wildcards: self._list_files(self.find_ablation(name).plan)

    def describe_ablation(self, wildcards: Any) -> str:
        """The configuration of an ablation, as JSON."""
        return canonical_json(self.find_ablation(wildcards.ablation).values)

    def list_reports(self, targets: set[str]) -> Iterator[tuple[str, str]]:
        """Configuration and folder of every page that ``targets`` ask for. A single file is no page."""
        reports = self.config.reports
        for name, ablation in self.ablations.items():
            if targets & {f"ablation_{name}", f"{reports}/ablations/{name}/index.html"}:
                yield canonical_json(ablation.values), f"{reports}/ablations/{name}"
        if targets & {"all", "report", f"{reports}/index.html"}:
            yield self.json, reports

    def describe_cell(self, wildcards: Any) -> str:
        """The canonical JSON of a cell."""
        return self.cells[wildcards.cell].to_json()

    def describe_protocol(self, wildcards: Any) -> str:
        """The canonical JSON of a test protocol."""
        return canonical_json(self._evaluation(wildcards).protocol)

    def describe_model(self, wildcards: Any) -> list[str]:
        """The arguments of ``seglib complexity`` for a model at its training crop. Weights change no cost."""
        cell = self.models[wildcards.model]
        return [
            f"--method={cell.method}",
            f"--method-options={canonical_json(cell.method_options)}",
            f"--backbone={canonical_json(replace(cell.backbone, **NO_WEIGHTS))}",
            f"--input={cell.recipe.crop_hw[0]}x{cell.recipe.crop_hw[1]}",
            f"--num-classes={_count_classes(cell)}",
        ]

    def count_classes(self, wildcards: Any) -> int:
        return _count_classes(self.cells[wildcards.cell])

    def name_split(self, wildcards: Any) -> str:
        return self._evaluation(wildcards).split

    def choose_scored_images(self, wildcards: Any) -> str:
        """A cell that is limited to a part of the images has predictions of these only."""
        return "" if self.cells[wildcards.cell].limit is None else "--subset"

    def digest_code(self, step: str) -> Callable[[Any], list[str]]:
        """One line a module, so that the reason for a rerun shows which one changed."""
        return lambda wildcards: [f"{name}={digest}" for name, digest in self._code(step, wildcards).items()]

    def choose_data_root(self, wildcards: Any) -> list[str]:
        """The user's own copy of a data set, if there is one: other files, unlike another mirror.

        It was perhaps given once, to prepare the data set, and stays until the configuration names another
        source.
        """
        source = self._source(wildcards)
        record = paths.data_root_record(Path(self.config.data, wildcards.dataset, "raw"))
        known = record.read_text("utf-8") if record.is_file() and not source.mirror else ""
        data_root = source.data_root or known
        return [f"--data-root={Path(data_root).absolute()}"] if data_root else []

    def options(self, step: str, *names: str) -> Callable[[Any], Unrecorded]:
        """The settings ``names`` of the configuration as options of ``step``, and the code that must run."""

        def choose(wildcards: Any) -> Unrecorded:
            values = {name: getattr(self.config, name) for name in names}
            if step == "download":
                in_place = self.choose_data_root(wildcards)
                values["mirror"] = None if in_place else self._source(wildcards).mirror or self.config.mirror
            if step == "train":
                values["weights"] = self.whole.weights_file(self.cells[wildcards.cell])
            values["code"] = code_digest.summary_digest(self._code(step, wildcards))
            return Unrecorded(
                f"--{name.replace('_', '-')} {shlex.quote(str(value))}"
                for name, value in values.items()
                if value is not None
            )

        return choose

    def launch(self, wildcards: Any, resources: Any) -> Unrecorded:
        """How seglib is started: with as many GPUs to itself as the job was granted, a process for each."""
        count = resources.get("gpu", 0)
        words = ["python -m seglib"]
        if count:
            words = [f"python -m seglib.core.gpus {count}", *words]
        if count > 1:
            # SIGUSR1 would kill torchrun, and that the training.
            torchrun = f"python -m torch.distributed.run --standalone --nproc-per-node {count}"
            words[1] = f"{torchrun} --signals-to-handle SIGTERM,SIGINT,SIGUSR1 -m seglib"
        return Unrecorded(words)

    def count_training_threads(self, wildcards: Any) -> int:
        return self.cells[wildcards.cell].recipe.threads

    def count_training_gpus(self, wildcards: Any) -> int:
        return self.whole.gpus(self.cells[wildcards.cell])

    def count_cpus(self, wildcards: Any) -> int:
        """CPUs that a cluster reserves for a process: those of the arithmetic and of loading."""
        return self.count_training_threads(wildcards) + self.config.workers

    def count_training_cpus(self, wildcards: Any) -> int:
        return self.count_cpus(wildcards) * max(1, self.count_training_gpus(wildcards))

    def _evaluation(self, wildcards: Any) -> Evaluation:
        return self.evaluations[wildcards.cell, wildcards.test]

    def _source(self, wildcards: Any) -> DataSource:
        return self.config.datasets.get(wildcards.dataset, DataSource())

    def _code(self, step: str, wildcards: Any) -> dict[str, str]:
        names = {}
        if step in ("train", "predict"):
            names["method"] = self.cells[wildcards.cell].method
        elif step in ("complexity", "speed"):
            names["method"] = self.models[wildcards.model].method
        elif step in ("download", "prepare"):
            names["dataset"] = wildcards.dataset
        return self._step_code(step, **names)

    def _frozen(self) -> Iterator[Cell]:
        return (cell for cell in self.whole.cells if cell.id in self.whole.frozen)

    def _is_trained(self, cell: Cell) -> bool:
        return (paths.train_folder(self.results, cell) / "provenance.json").exists()

    def _model_name(self, cell: Cell) -> str:
        file = paths.complexity_file(self.results, cell)
        return file.relative_to(Path(self.results, "models")).with_suffix("").as_posix()

    def _list_files(self, plan: Plan) -> Iterator[str]:
        for cell in plan.cells:
            yield str(paths.train_folder(self.results, cell) / "provenance.json")
            yield str(paths.complexity_file(self.results, cell))
            yield str(paths.speed_file(self.results, cell))
            for test in plan.evaluations(cell):
                yield str(paths.evaluation_folder(self.results, cell, test.name) / "metrics.json")


def grow(amount: int) -> Callable[[Any, int], int]:
    """Ask for more at each new attempt, since the last one may have ended for want of it."""
    return lambda wildcards, attempt: amount * attempt


def _count_classes(cell: Cell) -> int:
    return len(registry.resolve(registry.DATASETS[cell.dataset]).CLASSES)


def _without(kept: Iterable[str], pattern: str) -> str:
    """``pattern``, but for what begins with one of the texts ``kept``."""
    texts = "|".join(map(re.escape, sorted(kept)))
    return f"(?!{texts}){pattern}" if texts else pattern

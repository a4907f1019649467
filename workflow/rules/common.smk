"""What the rules share: the plan, and the functions that say what a job depends on.

A job is repeated when its recorded `params` or its rule change, or an input is newer. So `params` holds what
a result depends on (the cell, digests of code and data) and nothing else; settings that only say how
to run (device, workers, mirror) are passed as `RunSetting`, which Snakemake does not record.
"""

import functools
import json
import os
import shlex
from dataclasses import replace
from pathlib import Path

from seglib.claims import reading
from seglib.core import code_digest, registry
from seglib.core.typed import canonical_json
from seglib.experiment import ablations, paths
from seglib.experiment import config as configuration
from seglib.experiment.recipe import NO_WEIGHTS


PLAN = configuration.load(config)
CONFIG_JSON = canonical_json(config)
DATA, RESULTS, REPORTS, LOGS = (
    PLAN.config.data,
    PLAN.config.results,
    PLAN.config.reports,
    PLAN.config.logs,
)
# The cells of the ablations are known to the rules too; only their own targets ask for them.
WHOLE, ABLATIONS = ablations.load_all(Path(workflow.basedir, "config", "ablations"), PLAN)


class Known(dict):
    """What a target may name."""

    def __init__(self, what, entries):
        super().__init__(entries)
        self.what = what

    def __missing__(self, key):
        name = " ".join(key) if isinstance(key, tuple) else key
        raise ValueError(
            f"{name}: no {self.what} of this configuration or its ablations; `seglib status --all` lists the cells"
        )


CELLS = Known("cell", {cell.id: cell for cell in WHOLE.cells})
EVALUATIONS = Known(
    "test", {(cell.id, test.name): test for cell in WHOLE.cells for test in WHOLE.evaluations(cell)}
)
COSTS = Known("model", {str(paths.complexity_file(RESULTS, cell)): cell for cell in WHOLE.cells})
GPUS = 0 if PLAN.config.device == "cpu" else 1
"""Devices of a job that can use one."""
ALL_CORES = 1024
"""Threads of a job that takes what there is: Snakemake lowers it to `--cores`. A cluster is asked for
`cpus_per_task` instead."""


pathvars:
    data=DATA,
    results=RESULTS,
    reports=REPORTS,
    logs=LOGS,


wildcard_constraints:
    dataset=r"[a-z0-9_]+",
    cell=r"[^/]+/[^/]+/[^/]+/[^/]+/seed\d+",
    test=r"(train|val|test)-[a-z0-9_.]+",
    ablation=r"[a-z0-9_.]+",
    model=r".+/\d+x\d+",


class RunSetting:
    """Command-line arguments that no result depends on. Snakemake records params of built-in types only."""

    def __init__(self, **arguments):
        self.arguments = arguments

    def __str__(self):
        return " ".join(
            f"--{name.replace('_', '-')} {shlex.quote(str(value))}"
            for name, value in self.arguments.items()
            if value is not None
        )


def find_source(wildcards):
    return PLAN.config.datasets.get(wildcards.dataset, configuration.DataSource())


def choose_data_root(wildcards):
    """The user's own copy of a data set, if there is one: other files, unlike another mirror of the archives.

    It was perhaps given once, to prepare the data set, and stays until the configuration names another source.
    """
    source = find_source(wildcards)
    record = paths.data_root_record(Path(DATA, wildcards.dataset, "raw"))
    known = record.read_text("utf-8") if record.is_file() and not source.mirror else ""
    data_root = source.data_root or known
    return [f"--data-root={Path(data_root).absolute()}"] if data_root else []


def choose_mirror(wildcards):
    """Where to fetch a data set from."""
    in_place = choose_data_root(wildcards)
    return RunSetting(mirror=None if in_place else find_source(wildcards).mirror or PLAN.config.mirror)


def find_manifest(wildcards):
    """The prepared data of a cell. Its time stamp means nothing: `digest_data` says whether it changed."""
    return ancient(checkpoints.prepare.get(dataset=CELLS[wildcards.cell].dataset).output.manifest)


def digest_data(wildcards):
    """Digest of the pixels that a cell is trained and tested on."""
    recorded = recall_frozen(wildcards.cell)
    if recorded:
        return recorded["data_digest"]
    return read_data_digest(checkpoints.prepare.get(dataset=CELLS[wildcards.cell].dataset).output.manifest)


@functools.cache
def read_data_digest(manifest):
    return json.loads(Path(manifest).read_text("utf-8"))["data_digest"]


@functools.cache
def recall_frozen(cell):
    """What a finished cell of a frozen matrix block recorded about itself; None for other cells."""
    record = paths.train_folder(RESULTS, CELLS[cell]) / "provenance.json"
    if cell in WHOLE.frozen and record.exists():
        return json.loads(record.read_text("utf-8"))
    return None


def describe_cell(wildcards):
    """The canonical JSON of a cell."""
    if recall_frozen(wildcards.cell):
        folder = paths.train_folder(RESULTS, CELLS[wildcards.cell])
        return canonical_json(json.loads((folder / "cell.json").read_text("utf-8")))
    return CELLS[wildcards.cell].to_json()


def digest_dataset_code(step):
    def digest(wildcards):
        return format_code(code_digest.step_code(step, dataset=wildcards.dataset))

    return digest


def digest_method_code(step):
    def digest(wildcards):
        recorded = recall_frozen(wildcards.cell)
        if recorded and step == "train":
            return format_code(recorded["code"])
        return format_code(code_digest.step_code(step, method=CELLS[wildcards.cell].method))

    return digest


def digest_code(step):
    return format_code(code_digest.step_code(step))


def format_code(code):
    """One line a module, so that the reason for a rerun shows which one changed."""
    return [f"{module}={digest}" for module, digest in code.items()]


def choose_training_options(wildcards):
    """Settings of a training that its result does not depend on."""
    return RunSetting(
        weights=WHOLE.weights_file(CELLS[wildcards.cell]),
        device=PLAN.config.device,
        workers=PLAN.config.workers,
        checkpoint_interval_s=PLAN.config.checkpoint_interval_s,
        cache=PLAN.config.cache,
    )


def count_training_threads(wildcards):
    return CELLS[wildcards.cell].recipe.threads


def count_training_gpus(wildcards):
    return WHOLE.gpus(CELLS[wildcards.cell])


def count_cpus(wildcards):
    """CPUs that a cluster reserves for a process: those of the arithmetic and of loading."""
    return count_training_threads(wildcards) + PLAN.config.workers


def count_training_cpus(wildcards):
    return count_cpus(wildcards) * max(1, count_training_gpus(wildcards))


def grow(amount):
    """Ask for more at each new attempt, since the last one may have ended for want of it."""

    def grown(wildcards, attempt):
        return amount * attempt

    return grown


class Launcher:
    """How Python is started: with as many GPUs to itself as the job was granted, one process for each.

    No result depends on it, and like a `RunSetting` it is not recorded.
    """

    def __init__(self, gpus):
        self.gpus = gpus

    def __str__(self):
        wrapper = f"python -m seglib.core.gpus {self.gpus} " if self.gpus else ""
        torchrun = (
            f"python -m torch.distributed.run --standalone --nproc-per-node {self.gpus}"
            " --signals-to-handle SIGTERM,SIGINT,SIGUSR1"  # the last would kill it, and it kills the training
        )
        return wrapper + (torchrun if self.gpus > 1 else "python")


def launch(wildcards, resources):
    return Launcher(resources.gpu)


def describe_protocol(wildcards):
    """The canonical JSON of a test protocol."""
    return canonical_json(EVALUATIONS[wildcards.cell, wildcards.test].protocol)


def name_split(wildcards):
    return EVALUATIONS[wildcards.cell, wildcards.test].split


def choose_scored_images(wildcards):
    """A cell that is limited to a part of the images has predictions of these only."""
    return "" if CELLS[wildcards.cell].limit is None else "--subset"


def count_classes(wildcards):
    return len(registry.resolve(registry.DATASETS[find_cell(wildcards).dataset]).CLASSES)


def find_cell(wildcards):
    """The cell of a job, also for jobs that several cells share."""
    if "cell" in wildcards.keys():
        return CELLS[wildcards.cell]
    return COSTS[f"{RESULTS}/models/{wildcards.model}.json"]


def describe_model(wildcards):
    """The arguments of `seglib complexity` for a model at its training crop. Its weights change no cost."""
    cell = find_cell(wildcards)
    backbone = replace(cell.backbone, **NO_WEIGHTS)
    return [
        f"--method={cell.method}",
        f"--method-options={canonical_json(cell.method_options)}",
        f"--backbone={canonical_json(backbone)}",
        f"--input={cell.recipe.crop_hw[0]}x{cell.recipe.crop_hw[1]}",
        f"--num-classes={count_classes(wildcards)}",
    ]


def digest_model_code(step):
    def digest(wildcards):
        return format_code(code_digest.step_code(step, method=find_cell(wildcards).method))

    return digest


def list_results(wildcards):
    """Every file that the comparison or an ablation's page reads."""
    return list_files(find_plan(wildcards))


def list_ablation_results(name):
    def listed(wildcards):
        return list_files(find_ablation(name).plan)

    return listed


def list_claims(wildcards):
    """The files of reported numbers that a configuration adds."""
    return reading.files(find_plan(wildcards).config.claims)


def list_files(plan):
    for cell in plan.cells:
        yield str(paths.train_folder(RESULTS, cell) / "provenance.json")
        yield str(paths.complexity_file(RESULTS, cell))
        yield str(paths.speed_file(RESULTS, cell))
        for test in plan.evaluations(cell):
            yield str(paths.evaluation_folder(RESULTS, cell, test.name) / "metrics.json")


def find_plan(wildcards):
    return find_ablation(wildcards.ablation).plan if "ablation" in wildcards.keys() else PLAN


def find_ablation(name):
    found = ABLATIONS[name]
    if found.conflict:
        raise ValueError(f"ablation_{name}: {found.conflict}")
    return found


def describe_ablation(wildcards):
    """The configuration of an ablation, as JSON."""
    return canonical_json(find_ablation(wildcards.ablation).values)


def list_wanted_reports():
    """Configuration and folder of every page that this run was asked for. A single file is no page."""
    targets = {os.path.normpath(target) for target in workflow.dag_settings.targets or ["all"]}
    for name in ABLATIONS:
        if targets & {f"ablation_{name}", os.path.normpath(f"{REPORTS}/ablations/{name}/index.html")}:
            yield canonical_json(ABLATIONS[name].values), f"{REPORTS}/ablations/{name}"
    if targets & {"all", "report", os.path.normpath(f"{REPORTS}/index.html")}:
        yield CONFIG_JSON, REPORTS

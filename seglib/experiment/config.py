"""A configuration file -> the cells to run, checked completely before any job starts.

Every setting is a field of a dataclass here or in ``seglib.experiment.cell``; ``config/README.md`` explains
them for users. Nothing here imports torch.
"""

import dataclasses
import functools
import importlib.util
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml

from seglib.core import registry, typed
from seglib.core.files import sha256_file
from seglib.core.typed import check_range
from seglib.experiment import method_options
from seglib.experiment.cell import Cell
from seglib.experiment.recipe import Backbone, Protocol, Recipe

NAME = re.compile(r"[a-z0-9][a-z0-9_.]*")
FOLDERS = ("data", "results", "reports", "logs")
RECIPES = Path(__file__).parents[2] / "config" / "recipes"
"""Recipes that any configuration may name."""


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where a data set is taken from, when not from its public address."""

    mirror: str | None = None
    data_root: str | None = None


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A named change to a cell: an ablation. Runs beside its unchanged parent."""

    methods: tuple[str, ...] | None = None
    """Methods that it applies to; ``None``: all of the matrix block."""
    method: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MatrixBlock:
    """A full product of its lists; the matrix is the union of its blocks."""

    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    backbones: tuple[str, ...]
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    variants: tuple[str, ...] = ()
    splits: tuple[Literal["train", "val", "test"], ...] = ("val",)
    protocols: tuple[str, ...] = ("ss",)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Options of methods in this block, beside those that ``methods`` sets for all."""
    freeze: bool = False
    """Keep finished cells as they are, whatever changes in seglib's code, in data or in values."""
    gpus: int = 1
    """Devices that a training is spread over, where a machine has them."""

    def __post_init__(self):
        for name in ("datasets", "methods", "backbones", "recipes", "seeds", "splits", "protocols"):
            if not getattr(self, name):
                raise ValueError(f"{name}: an empty list leaves nothing to run; remove the block instead")
        check_range(self, "seeds", least=0)


@dataclass(frozen=True, kw_only=True)
class Config:
    title: str = "seglib"
    data: str = "data"
    results: str = "results"
    reports: str = "reports"
    logs: str = "logs"
    mirror: str | None = None
    weights: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = 2
    checkpoint_interval_s: float = 60.0
    cache: Literal["uint8"] | None = None
    boundary_ratio: float = 0.02
    pictures: bool = True
    """Show images of the data sets in the report; licences may forbid to publish them."""
    limit: int | None = None
    """At most so many images of each split: to try a recipe."""
    claims: tuple[str, ...] = ()
    """Further files of reported numbers, or folders of them."""
    tolerance_points: float = 0.5
    """How near a measured percentage must be to a reported one to reproduce it."""
    tolerance_share: float = 0.01
    """The same for counts: parameters and multiply-adds."""
    datasets: dict[str, DataSource] = field(default_factory=dict)
    backbones: dict[str, Backbone]
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    protocols: dict[str, Protocol]
    variants: dict[str, Variant] = field(default_factory=dict)
    matrix: tuple[MatrixBlock, ...]
    only: str | None = None
    """Names, separated by commas: of data sets, methods, backbones, recipes, and ``seed0``, ... The run is
    restricted to their cells."""

    def __post_init__(self):
        check_range(self, "boundary_ratio", above=0, most=1)
        check_range(self, "workers checkpoint_interval_s tolerance_points tolerance_share", least=0)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One split tested under one protocol."""

    split: str
    protocol_name: str
    protocol: Protocol

    @property
    def name(self) -> str:
        return f"{self.split}-{self.protocol_name}"


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """A cell, its tests, and how this run trains it."""

    cell: Cell
    tests: tuple[Evaluation, ...]
    weights_file: str | None
    """Where this run finds the initial weights; the cell itself holds their name and SHA-256."""
    gpus: int
    """Devices that the training is spread over, where the run may use some."""
    frozen: bool
    """Whether it stays as it is once it has run."""

    def also(self, other: "PlannedCell") -> "PlannedCell":
        """The same cell as two blocks ask for it: tests of both, the larger number of devices."""
        tests = {test.name: test for test in (*self.tests, *other.tests)}
        return dataclasses.replace(
            self,
            tests=tuple(tests.values()),
            gpus=max(self.gpus, other.gpus),
            frozen=self.frozen or other.frozen,
        )


@dataclass(frozen=True)
class Plan:
    """All cells of a configuration, in its order."""

    config: Config
    planned: dict[str, PlannedCell]
    """By the id of the cell."""

    @functools.cached_property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(each.cell for each in self.planned.values())

    @functools.cached_property
    def frozen(self) -> frozenset[str]:
        """Ids of the cells that stay as they are."""
        return frozenset(id for id, each in self.planned.items() if each.frozen)

    def evaluations(self, cell: Cell) -> tuple[Evaluation, ...]:
        return self.planned[cell.id].tests

    def weights_file(self, cell: Cell) -> str | None:
        """Where this run finds the cell's initial weights."""
        return self.planned[cell.id].weights_file

    def gpus(self, cell: Cell) -> int:
        """How many devices the cell's training is spread over; 0 where the run is to use none."""
        return 0 if self.config.device == "cpu" else self.planned[cell.id].gpus


def load(values: dict[str, Any]) -> Plan:
    """Check a whole configuration and expand its matrix.

    A recipe that the configuration does not define is read from ``config/recipes/<name>.yaml``.
    Raises ``ValueError`` with one line that names the setting, what is wrong and what is valid.
    """
    config = typed.parse(Config, values, "config")
    # One spelling each: Snakemake takes out/ and ./out for other folders than out.
    config = dataclasses.replace(config, **{name: str(Path(getattr(config, name))) for name in FOLDERS})
    for kind in ("backbones", "recipes", "protocols", "variants"):
        for name in getattr(config, kind):
            if not NAME.fullmatch(str(name)):
                raise ValueError(f"config.{kind}.{name}: use lower case letters, digits, '_' and '.' only")
    for name, source in config.datasets.items():
        _choose(name, registry.DATASETS, "config.datasets", "data set")
        if source.mirror and source.data_root:
            raise ValueError(f"config.datasets.{name}: give mirror or data_root, not both")
    for mirror in (config.mirror, *(source.mirror for source in config.datasets.values())):
        if mirror and urlsplit(mirror).password:
            raise ValueError("config: no password in a mirror's address, please; put it into ~/.netrc")
    for name, backbone in config.backbones.items():
        _choose(backbone.model, timm_models(), f"config.backbones.{name}.model", "timm model")
    for name, options in config.methods.items():
        _choose(name, registry.METHODS, "config.methods", "method")
        method_options.check_options(name, options, f"config.methods.{name}")

    planned: dict[str, PlannedCell] = {}
    models: dict[tuple[str, str], Cell] = {}
    named: set[str | None] = set()  # weights that stay, whatever those of the run are
    for i, block in enumerate(config.matrix):
        where = f"config.matrix[{i}]"
        if block.gpus < 1:
            raise ValueError(f"{where}.gpus: at least 1, got {block.gpus}; `device: cpu` trains without GPUs")
        tests = tuple(
            Evaluation(
                split=split, protocol_name=name, protocol=_pick(config.protocols, name, where, "protocol")
            )
            for split, name in itertools.product(block.splits, block.protocols)
        )
        for cell in _expand(config, block, where):
            if config.limit is not None:
                cell = _limited(cell, config.limit)
            named.add(None if cell.backbone.weights_sha256 else cell.backbone.weights)
            cell, weights_file = _identify_weights(cell, config.weights)
            each = PlannedCell(
                cell=cell, tests=tests, weights_file=weights_file, gpus=block.gpus, frozen=block.freeze
            )
            earlier = planned.setdefault(cell.id, each)
            if earlier.cell != cell:
                raise ValueError(f"{where}.options: {cell.id} has other options in an earlier block")
            like = models.setdefault((cell.dataset, cell.model_name), cell)
            if (like.method_options, like.backbone) != (cell.method_options, cell.backbone):
                raise ValueError(
                    f"{where}.options: {cell.id} and {like.id} are two networks under one name, and would be "
                    "taken for seeds or recipes of one; make a variant of it"
                )
            planned[cell.id] = earlier.also(each)
    if config.weights is not None and not named & {None, config.weights}:
        raise ValueError(
            f"config.weights: {config.weights} would be used for nothing: all backbones of the matrix name "
            f"their own ({', '.join(sorted(named))}); leave it out, or take theirs out"
        )
    if config.only is not None:
        chosen = _select(tuple(each.cell for each in planned.values()), config.only)
        planned = {cell.id: planned[cell.id] for cell in chosen}
    return Plan(config, planned)


def read(path: str | Path) -> dict[str, Any]:
    """The settings of one YAML file, as plain values."""
    with open(path, encoding="utf-8") as file:
        try:
            values = yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # of libyaml, if built in
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected settings (key: value)")
    return values


@functools.cache
def timm_models() -> frozenset[str]:
    """Names that timm can build, found in its source: importing timm would import torch."""
    folder = Path(importlib.util.find_spec("timm").origin).parent / "models"
    # Decorated by @register_model; some carry further decorators in between.
    pattern = re.compile(r"^@register_model\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
    return frozenset(
        name for file in folder.glob("*.py") for name in pattern.findall(file.read_text("utf-8"))
    )


def _select(cells: tuple[Cell, ...], only: str) -> tuple[Cell, ...]:
    """The cells that ``only`` names: along each axis those of its names, or all where it has none."""
    names = {name.strip() for name in only.split(",") if name.strip()}
    axes = [
        [value(cell) for cell in cells]
        for value in (
            lambda cell: cell.dataset,
            lambda cell: cell.method,
            lambda cell: cell.backbone_name,
            # As the configuration calls it, also with a limit.
            lambda cell: cell.recipe_name.removesuffix(f"_limit{cell.limit}"),
            lambda cell: f"seed{cell.seed}",
        )
    ]
    for name in sorted(names):
        _choose(name, set().union(*axes), "config.only", "name")
    wanted = [names & set(axis) or set(axis) for axis in axes]
    chosen = tuple(
        cell
        for cell, *values in zip(cells, *axes, strict=True)
        if all(value in some for value, some in zip(values, wanted, strict=True))
    )
    if not chosen:
        raise ValueError(f"config.only: no cell has all of {', '.join(sorted(names))}")
    return chosen


def _expand(config: Config, block: MatrixBlock, where: str) -> Iterable[Cell]:
    for method in block.methods:
        _choose(method, registry.METHODS, f"{where}.methods", "method")
    for name in block.variants:
        variant = _pick(config.variants, name, where, "variant")
        for method in variant.methods or ():
            _choose(method, registry.METHODS, f"config.variants.{name}.methods", "method")
        if variant.methods is not None and not set(variant.methods) & set(block.methods):
            raise ValueError(
                f"{where}.variants: {name} is for {', '.join(variant.methods)}, of which this block has none"
            )
    for method in block.options:
        _choose(method, block.methods, f"{where}.options", "method of this block")
    for dataset in block.datasets:
        _choose(dataset, registry.DATASETS, f"{where}.datasets", "data set")
        _check_splits(dataset, block.splits, f"{where}.splits")
    recipes = {name: _recipe(config, name, where) for name in block.recipes}  # once, not for every cell
    for dataset, method, backbone, recipe, seed in itertools.product(
        block.datasets, block.methods, block.backbones, block.recipes, block.seeds
    ):
        parent = Cell(
            dataset=dataset,
            method=method,
            method_options=_checked_options(config, block, method, where),
            backbone_name=backbone,
            backbone=_pick(config.backbones, backbone, where, "backbone"),
            recipe_name=recipe,
            recipe=recipes[recipe],
            seed=seed,
        )
        yield parent
        for name in block.variants:
            variant = config.variants[name]
            if variant.methods is None or method in variant.methods:
                yield _apply(parent, name, variant)


def _check_splits(dataset: str, names: Iterable[str], where: str) -> None:
    splits = registry.resolve(registry.DATASETS[dataset]).SPLITS
    for name in names:
        if name not in splits:
            raise ValueError(f"{where}: {dataset} has no split {name!r}; it has {', '.join(splits)}")
        if splits[name].labels is None:
            raise ValueError(
                f"{where}: the labels of {dataset}'s split {name!r} are withheld by its publisher, so it "
                f"cannot be scored; 'seglib predict --split {name}' writes the label maps for his server"
            )


def _limited(cell: Cell, limit: int) -> Cell:
    if limit < cell.recipe.batch_size:
        raise ValueError(
            f"config.limit: {limit} images fill no batch: recipe {cell.recipe_name} has batch_size "
            f"{cell.recipe.batch_size}"
        )
    return cell.limited(limit)


def _checked_options(config: Config, block: MatrixBlock, method: str, where: str) -> dict[str, Any]:
    return {
        **method_options.check_options(method, config.methods.get(method, {}), f"config.methods.{method}"),
        **method_options.check_options(method, block.options.get(method, {}), f"{where}.options.{method}"),
    }


def _apply(parent: Cell, name: str, variant: Variant) -> Cell:
    where = f"config.variants.{name}"
    options = method_options.check_options(parent.method, variant.method, f"{where}.method")
    cell = dataclasses.replace(
        parent,
        variant=name,
        method_options=parent.method_options | options,
        backbone=_change(parent.backbone, variant.backbone, f"{where}.backbone"),
        recipe=_change(parent.recipe, variant.recipe, f"{where}.recipe"),
    )
    if dataclasses.replace(cell, variant=None) == parent:
        raise ValueError(f"{where}: changes nothing in {parent.id}")
    return cell


def _change(base: Any, changes: dict[str, Any], where: str) -> Any:
    return typed.parse(type(base), _merged(dataclasses.asdict(base), changes), where)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``; settings within settings are changed one by one too."""
    inner = {
        name: _merged(base[name], value)
        for name, value in changes.items()
        if isinstance(value, dict) and isinstance(base.get(name), dict)
    }
    return base | changes | inner


def _recipe(config: Config, name: str, where: str) -> Recipe:
    """The recipe ``name`` with what it ``extends`` filled in."""
    values: dict[str, Any] = {}
    chain = [name]
    while True:
        if not NAME.fullmatch(chain[-1]):
            raise ValueError(f"{where}.recipes: {chain[-1]!r} is a path, not a recipe's name")
        if chain[-1] in config.recipes:
            current = dict(config.recipes[chain[-1]])
        elif (RECIPES / f"{chain[-1]}.yaml").is_file():
            current = read(RECIPES / f"{chain[-1]}.yaml")
        else:
            known = sorted({*config.recipes, *(file.stem for file in RECIPES.glob("*.yaml"))})
            _choose(chain[-1], known, f"{where}.recipes", "recipe")
        parent = current.pop("extends", None)
        values = _merged(current, values)
        if parent is None:
            return typed.parse(Recipe, values, f"config.recipes.{name}")
        if not isinstance(parent, str):
            raise ValueError(f"config.recipes.{name}.extends: expected one recipe's name, got {parent!r}")
        if parent in chain:
            raise ValueError(f"config.recipes.{name}: extends itself through {' -> '.join([*chain, parent])}")
        chain.append(parent)


def _identify_weights(cell: Cell, run_wide: str | None) -> tuple[Cell, str | None]:
    """The cell with its initial weights named by content, and the file that holds them.

    A file may move without retraining anything; a file that changed under its name may not stay unnoticed.
    ``run_wide`` stands in where the backbone names no weights of its own, and where it names a file that is
    not here by name and SHA-256: results that rest on it are reported without it, only a training needs it.
    """
    weights, known = cell.backbone.weights or run_wide, cell.backbone.weights_sha256
    where = f"initial weights of backbone {cell.backbone_name}"
    if weights is None or weights == "imagenet":
        if known:
            raise ValueError(
                f"{where}: weights_sha256 is a file's, and no file is named; name it, or leave it out"
            )
        return _with_weights(cell, weights, None), None
    if known and not Path(weights).is_file():
        if run_wide is None:
            return _with_weights(cell, Path(weights).name, known), weights
        if run_wide == "imagenet":
            raise ValueError(
                f"{where}: {weights} is fixed by its weights_sha256, and timm's are others; take both out of "
                "the backbone, with mean, std and options that belong to them"
            )
        weights = run_wide
    if not Path(weights).is_file():
        raise ValueError(f"{where}: no file {weights}; give a path, or 'imagenet' for timm's hub")
    digest = _file_digest(weights)
    if known not in (None, digest):
        raise ValueError(f"{where}: {weights} has sha256 {digest}, not {known}")
    return _with_weights(cell, Path(cell.backbone.weights or weights).name, digest), weights


def _with_weights(cell: Cell, weights: str | None, digest: str | None) -> Cell:
    backbone = dataclasses.replace(cell.backbone, weights=weights, weights_sha256=digest)
    return dataclasses.replace(cell, backbone=backbone)


@functools.cache
def _file_digest(path: str) -> str:
    return sha256_file(path)


def _pick(known: dict[str, Any], name: str, where: str, what: str) -> Any:
    _choose(name, known, where, what)
    return known[name]


def _choose(name: str, known: Iterable[str], where: str, what: str) -> None:
    known = sorted(known)
    if name not in known:
        hint = typed.suggest(name, known)
        valid = ", ".join(known) if len(known) <= 30 else f"{len(known)} names"
        raise ValueError(f"{where}: unknown {what} {name!r}{hint if 'mean' in hint else ''}; valid: {valid}")

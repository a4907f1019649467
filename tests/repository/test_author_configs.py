"""The authors' recipes and the papers' configurations: complete, consistent, true to what was published."""

import math
import re
from pathlib import Path

import pytest

from seglib.claims.comparable import compared, differences
from seglib.claims.measured import conditions_of
from seglib.claims.reading import load_claims
from seglib.core import registry
from seglib.experiment import config

ROOT = Path(__file__).parents[2]
RECIPES = {path.stem: path for path in sorted(config.RECIPES.glob("*.yaml"))}
TEXTS = {name: path.read_text("utf-8") for name, path in RECIPES.items()}
AUTHOR = [name for name in RECIPES if name.startswith("author_")]
PAPERS = ("isnet", "mcibi", "ddsm", "srm_crm", "baselines")
GPUS = 8
"""Of the authors: each takes an equal share of the images of an epoch, rounded up."""


@pytest.fixture(scope="module")
def plans():
    files = [path for path in (ROOT / "config").rglob("*.yaml") if path.parent.name != "recipes"]
    return {path.stem if path.parent.name == "config" else path: load(path) for path in sorted(files)}


def load(path):
    return config.load(config.read(path))


def header(name):
    """What each paragraph of a recipe's comment says, by its first word."""
    lines = [line[1:] for line in TEXTS[name].splitlines() if line.startswith("#")]
    paragraphs = re.split(r"\n (?=(?:Source|Differs|Hours|Reported)\b)", "\n".join(lines))
    return {re.match(r"\s*(\w+)", text)[1]: " ".join(text.split()) for text in paragraphs[1:]}


def dataset_of(recipe):
    name = max((n for n in registry.DATASETS if recipe.startswith(f"author_{n}")), key=len)
    return "coco_stuff_10k_182" if name == "coco_stuff_10k" else name


def load_recipe(name):
    block = {"datasets": ["scenes"], "methods": ["fcn"], "backbones": ["b"], "recipes": [name], "seeds": [0]}
    values = {"backbones": {"b": {"model": "resnet18"}}, "protocols": {"ss": {}}, "matrix": [block]}
    return config.load(values).cells[0].recipe


def train_images(dataset):
    return registry.resolve(registry.DATASETS[dataset]).SPLITS["train"].size


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_where_it_is_from_how_long_it_takes_and_what_to_expect(name):
    said = header(name)
    assert {"Source", "Hours", "Reported"} <= said.keys()
    assert re.search(r"not measured|\d on .*(core|GPU|[AHV]\d00)", said["Hours"])
    assert ("own choice" in said["Source"]) != bool(re.search(r"@[0-9a-f]{7}, \S+/", said["Source"]))
    assert (name in AUTHOR) != ("own choice" in said["Source"])


@pytest.mark.parametrize("name", AUTHOR)
def test_reported_numbers_are_those_of_the_claims(name):
    said = re.findall(r"\b\d\d\.\d+", header(name)["Reported"])
    dataset = dataset_of(name)
    known = {
        str(claim.value)
        for claim in load_claims()
        if claim.dataset == dataset.removesuffix("_182") and claim.metric == "miou"
    }
    assert set(said) <= known
    assert said or "not found" in header(name)["Reported"]


LENGTH = re.compile(r"^iterations: (\d+)  # (\d+) epochs of (\d+)", re.MULTILINE)
LENGTHS = {name: LENGTH.search(text) for name, text in TEXTS.items()}


@pytest.mark.parametrize("name", [name for name in AUTHOR if "iterations:" in TEXTS[name]])
def test_iterations_are_the_epochs_of_the_authors(name):
    iterations, epochs, length = map(int, LENGTHS[name].groups())
    recipe = load_recipe(name)
    assert recipe.iterations == iterations == epochs * length
    images_per_gpu = math.ceil(train_images(dataset_of(name)) / GPUS)
    assert length == images_per_gpu // (recipe.batch_size // GPUS)


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_is_run_with_three_seeds(plans, name):
    cells = plans[name].cells
    seeds = {cell.id.rsplit("/", 1)[0]: set() for cell in cells}
    for cell in cells:
        seeds[cell.id.rsplit("/", 1)[0]].add(cell.seed)
    assert all(found == {0, 1, 2} for found in seeds.values())


def test_every_recipe_is_used(plans):
    assert {cell.recipe_name for plan in plans.values() for cell in plan.cells} == RECIPES.keys()


def test_a_cell_is_the_same_in_every_configuration(plans):
    """Else they would train it by turns, each with its own values."""
    first = {}
    for plan in plans.values():
        for cell in plan.cells:
            assert first.setdefault(cell.id, cell) == cell


def test_the_current_numbers_of_the_authors_have_a_cell_with_their_conditions(plans):
    """Trained and tested as they were: every condition that the claims know and that can differ."""
    tested = [
        (cell, test, _conditions(cell, test))
        for name in PAPERS
        for cell in plans[name].cells
        for test in plans[name].evaluations(cell)
        if cell.seed == 0
    ]
    unanswered = {}
    for claim in load_claims():
        if claim.release != "current" or claim.paper == "sfnet" or claim.method not in registry.METHODS:
            continue
        names = tuple(name for name in compared(claim) if name != "test_size")
        if not any(
            (cell.dataset.removesuffix("_182"), cell.method, cell.variant, cell.backbone.model)
            == (claim.dataset, claim.method, claim.variant, claim.backbone)
            and differences(claim.conditions, conditions, names) == []
            and claim.conditions.test_size in (None, _test_size(test.protocol, cell.dataset))
            for cell, test, conditions in tested
        ):
            unanswered[claim] = claim.conditions
    reasons = {
        "trained on train and val": lambda c: unanswered[c].train_split == "trainval",
        "output stride 16": lambda c: unanswered[c].output_stride == 16 and "vit" not in c.backbone,
        "smaller HRNet": lambda c: c.backbone.startswith("hrnet_w18"),
    }
    left = {claim.where for claim in unanswered if not any(reason(claim) for reason in reasons.values())}
    assert not left
    assert all(any(reason(claim) for claim in unanswered) for reason in reasons.values())


def _conditions(cell, test):
    return conditions_of(
        cell,
        split=test.split,
        protocol=test.protocol,
        num_classes=len(registry.resolve(registry.DATASETS[cell.dataset]).CLASSES),
        train_images=train_images(cell.dataset),
    )


def _test_size(protocol, dataset):
    if protocol.resize_hw is None:
        return "native"
    size = "{}x{}".format(*protocol.resize_hw)
    return f"fit {size}" if protocol.keep_aspect else size


DEEP = {"resnet101c", "resnet101c_os32", "resnet50d"}
"""Backbones left out below: they differ in depth or shortcut from one that is in."""


def test_the_backbones_and_options_of_the_papers_make_a_model(plans):
    import torch

    from seglib.models.segmentor import build_segmentor

    chosen = {}  # per backbone, the cell with most options
    for cell in (cell for name in PAPERS for cell in plans[name].cells):
        if cell.backbone_name not in DEEP:
            best = chosen.setdefault(cell.backbone_name, cell)
            chosen[cell.backbone_name] = max(best, cell, key=lambda c: len(c.method_options))
    assert len(chosen) == 6
    for cell in chosen.values():
        with torch.device("meta"):
            model = build_segmentor(
                method=cell.method,
                method_options=cell.method_options,
                backbone=cell.backbone,
                num_classes=20,
                load_weights=False,
            ).eval()
            assert model(torch.zeros(1, 3, 96, 128)).shape == (1, 20, 96, 128)

import dataclasses
import math

import pytest

from seglib.experiment import config as configuration
from seglib.experiment import paths
from seglib.metrics import statistics
from seglib.results import aggregate, pairs
from seglib.results.aggregate import Group, Leaderboard
from seglib.results.inventory import collect


def groups_with(finished, values_by_group):
    """A block whose groups have the given mIoU per seed, made of copies of one record."""
    record = collect(finished.plan, finished.results)[0]
    groups = []
    for values in values_by_group:
        records = []
        for value in values:
            metrics = dataclasses.replace(record.tests[0].metrics, miou=value)
            test = dataclasses.replace(record.tests[0], metrics=metrics)
            records.append(dataclasses.replace(record, tests=(test,)))
        groups.append(Group(record.tests[0].evaluation, tuple(records)))
    return Leaderboard("scenes", record.tests[0].evaluation, tuple(groups))


def test_frozen_cells_with_other_values_are_a_combination_of_their_own(fabricate):
    """Seeds of two recipes are no sample of one, and a variant's parent has its values."""
    made = fabricate().run_all()
    first, second = ({"seeds": [seed], "freeze": not seed} for seed in (0, 1))
    (block,) = made.config["matrix"]
    for cell in made.plan.cells:
        if cell.seed == 1:
            path = paths.train_folder(made.results, cell) / "cell.json"
            path.write_text(path.read_text().replace('"lr":0.05', '"lr":0.1'))
    recipes = {"quick": made.config["recipes"]["quick"] | {"lr": 0.1}}
    plan = configuration.load(made.config | {"matrix": [block | first, block | second], "recipes": recipes})
    (block,) = aggregate.blocks(collect(plan, made.results))
    assert [[record.cell.seed for record in group.records] for group in block.groups] == [[0]] * 3 + [[1]] * 3
    assert [group.cell.recipe.lr for group in block.groups] == [0.05] * 3 + [0.1] * 3
    labels = [block.label(group) for group in block.groups]
    assert labels[0] == "fcn (frozen; today recipe.lr: 0.05 -> 0.1)"
    assert labels[3] == "fcn"
    assert [pair.parent.cell.seed for pair in pairs.pairs(block)] == [0, 1]
    gains = pairs.gains(
        block,
        [
            ("isnet", "fcn"),
        ],
    )
    assert [(pair.parent.cell.seed, pair.variant.cell.seed) for pair in gains] == [(0, 0), (1, 1)]


def test_the_interval_is_students():
    found = statistics.summarise([0.50, 0.52, 0.54])
    assert found.mean == pytest.approx(0.52)
    assert found.half_width == pytest.approx(4.302652729911275 * 0.02 / math.sqrt(3))


def test_one_run_has_no_interval_and_no_run_no_value():
    assert statistics.summarise([0.5]) == statistics.Interval(0.5, None, 1)
    assert statistics.summarise([None, None]) is None
    assert statistics.summarise([None, 0.5]).n == 1


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([[0.70, 0.71, 0.70], [0.60, 0.61, 0.60]], 0),
        ([[0.60, 0.61, 0.60], [0.70, 0.71, 0.70]], 1),
        ([[0.60, 0.80, 0.70], [0.60, 0.61, 0.60]], None),  # higher on average, but that may be chance
        ([[0.70, 0.71, 0.70], [0.60]], None),  # nobody knows how far the single run would move
        ([[0.70, 0.71, 0.70]], None),  # best of one is no distinction
        ([[0.70, 0.71, 0.70], [0.60, 0.61, 0.60], [0.70, 0.71, 0.69]], None),
    ],
)
def test_best_is_said_only_where_the_intervals_support_it(finished, values, best):
    block = groups_with(finished, values)
    assert block.best("miou") is (None if best is None else block.groups[best])


def test_seeds_are_taken_together_and_variants_apart(finished):
    (block,) = aggregate.blocks(collect(finished.plan, finished.results))
    assert [block.label(group) for group in block.groups] == ["fcn", "isnet", "isnet · narrow"]
    assert [len(group.measured) for group in block.groups] == [2, 2, 2]
    values = [test.metrics.miou for _, test in block.groups[0].measured]
    assert block.groups[0].estimate("miou").mean == pytest.approx(sum(values) / 2)


def test_labels_name_what_differs(fabricate):
    made = fabricate(
        matrix=[
            {
                "datasets": ["scenes"],
                "methods": ["fcn"],
                "backbones": ["small", "large"],
                "recipes": ["quick"],
                "seeds": [0],
            }
        ]
    )
    (block,) = aggregate.blocks(collect(made.plan, made.results))
    assert [block.label(group) for group in block.groups] == ["fcn, small", "fcn, large"]
    assert block.measured == ()

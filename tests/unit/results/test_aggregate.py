import dataclasses
import math

import pytest

from seglib.experiment import paths
from seglib.metrics import statistics
from seglib.results import pairs


def board_with(finished, values_by_group):
    """A leaderboard whose groups have the given mIoU per seed, made of copies of one result."""
    everything = finished.read()
    result = everything.cells[0]
    (test,) = result.tests
    results = []
    for number, values in enumerate(values_by_group):
        for seed, value in enumerate(values):
            cell = dataclasses.replace(result.cell, backbone_name=f"b{number}", seed=seed)
            scored = dataclasses.replace(test, metrics=dataclasses.replace(test.metrics, miou=value))
            results.append(dataclasses.replace(result, cell=cell, tests=(scored,)))
    (board,) = dataclasses.replace(everything, cells=tuple(results)).leaderboards
    return board


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
    made.config |= {"matrix": [block | first, block | second], "recipes": recipes}
    (board,) = made.read().leaderboards
    assert [[result.cell.seed for result in group.results] for group in board.groups] == [[0]] * 3 + [[1]] * 3
    assert [group.cell.recipe.lr for group in board.groups] == [0.05] * 3 + [0.1] * 3
    labels = [board.label(group) for group in board.groups]
    assert labels[0] == "fcn (frozen; today recipe.lr: 0.05 -> 0.1)"
    assert labels[3] == "fcn"
    assert [pair.parent.cell.seed for pair in pairs.variants(board)] == [0, 1]
    gains = pairs.gains(board, [("isnet", "fcn")])
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
    board = board_with(finished, values)
    assert board.best("miou") is (None if best is None else board.groups[best])


def test_seeds_are_taken_together_and_variants_apart(finished):
    (board,) = finished.read().leaderboards
    assert [board.label(group) for group in board.groups] == ["fcn", "isnet", "isnet · narrow"]
    assert [len(group.measured) for group in board.groups] == [2, 2, 2]
    values = [test.metrics.miou for _, test in board.groups[0].measured]
    assert board.groups[0].estimate("miou").mean == pytest.approx(sum(values) / 2)


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
    (board,) = made.read().leaderboards
    assert [board.label(group) for group in board.groups] == ["fcn, small", "fcn, large"]
    assert board.measured == ()

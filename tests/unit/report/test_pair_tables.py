from dataclasses import replace

import pytest

from seglib.core.tables import UNKNOWN
from seglib.metrics import statistics
from seglib.report import pair_tables
from seglib.results import pairs


@pytest.fixture(scope="module")
def board(finished):
    (board,) = finished.read().leaderboards
    return board


def test_a_variant_is_compared_with_its_own_parent_seed_by_seed(board):
    (pair,) = pairs.variants(board)
    assert (pair.parent.cell.method, pair.parent.cell.variant) == ("isnet", None)
    assert pair.variant.cell.variant == "narrow"
    by_seed = [
        {record.cell.seed: test.metrics.miou for record, test in group.measured}
        for group in (pair.variant, pair.parent)
    ]
    differences = [by_seed[0][seed] - by_seed[1][seed] for seed in (0, 1)]
    assert pair.over_seeds["miou"] == statistics.summarise(differences)


def test_a_method_stands_beside_the_baseline_of_its_paper(board):
    papers = [("isnet", "fcn"), ("isnet", "pspnet"), ("ddsm", "fcn")]
    (pair,) = pairs.gains(board, papers)
    assert (pair.variant.cell.method, pair.parent.cell.method) == ("isnet", "fcn")
    assert pair.variant.cell.variant is None
    (row,) = pair_tables.gains(board, [pair]).entries
    assert [entry.text for entry in row[:2]] == ["isnet", "fcn"]
    assert row[-1].text == "too few seeds"


@pytest.mark.parametrize(
    ("mean", "half_width", "n", "expected"),
    [
        (0.02, 0.01, 3, "a gain"),
        (-0.02, 0.01, 3, "a loss"),
        (0.02, 0.03, 3, "no difference shown"),
        (0.02, 0.01, 2, "too few seeds"),
        (0.02, None, 1, "too few seeds"),
    ],
)
def test_a_gain_is_one_that_the_seeds_show(board, mean, half_width, n, expected):
    (pair,) = pairs.variants(board)
    pair = replace(pair, over_seeds={"miou": statistics.Interval(mean, half_width, n)})
    assert pair_tables.reading(pair) == expected


def test_both_intervals_are_of_the_same_difference(board):
    (pair,) = pairs.variants(board)
    for metric in ("miou", "boundary_iou"):
        images = pair.over_images[metric]
        assert images.difference == pytest.approx(pair.over_seeds[metric].mean, abs=1e-6)
        assert images.low <= images.difference <= images.high


def test_without_counts_there_is_no_interval_over_images(fabricate):
    made = fabricate()
    made.run_all()
    for file in made.results.rglob("counts.npz"):
        file.unlink()
    (board,) = made.read().leaderboards
    (pair,) = pairs.variants(board)
    assert pair.over_images == {}
    table = pair_tables.variants(board, [pair])
    assert [entry.text for entry in table.entries[0]].count(UNKNOWN) == 6


def test_an_unmeasured_parent_gives_no_pair(fabricate):
    made = fabricate()
    for cell in made.plan.cells:
        if cell.variant:
            made.run(cell)
    (board,) = made.read().leaderboards
    assert pairs.variants(board) == ()

from dataclasses import replace

import pytest

from seglib.core import tables
from seglib.metrics import statistics
from seglib.report import ablations
from seglib.results import aggregate, pairs
from seglib.results.inventory import collect


@pytest.fixture(scope="module")
def block(finished):
    (block,) = aggregate.blocks(collect(finished.plan, finished.results))
    return block


def test_a_variant_is_compared_with_its_own_parent_seed_by_seed(block):
    (pair,) = pairs.pairs(block)
    assert (pair.parent.cell.method, pair.parent.cell.variant) == ("isnet", None)
    assert pair.variant.cell.variant == "narrow"
    by_seed = [
        {record.cell.seed: test.metrics.miou for record, test in group.measured}
        for group in (pair.variant, pair.parent)
    ]
    differences = [by_seed[0][seed] - by_seed[1][seed] for seed in (0, 1)]
    assert pair.over_seeds["miou"] == statistics.summarise(differences)


def test_a_method_stands_beside_the_baseline_of_its_paper(block):
    papers = [("isnet", "fcn"), ("isnet", "pspnet"), ("ddsm", "fcn")]
    (pair,) = pairs.gains(block, papers)
    assert (pair.variant.cell.method, pair.parent.cell.method) == ("isnet", "fcn")
    assert pair.variant.cell.variant is None
    (row,) = ablations.gains_table(block, [pair]).rows
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
def test_a_gain_is_one_that_the_seeds_show(block, mean, half_width, n, expected):
    (pair,) = pairs.pairs(block)
    pair = replace(pair, over_seeds={"miou": statistics.Interval(mean, half_width, n)})
    assert ablations.reading(pair) == expected


def test_both_intervals_are_of_the_same_difference(block):
    (pair,) = pairs.pairs(block)
    for metric in ("miou", "boundary_iou"):
        images = pair.over_images[metric]
        assert images.difference == pytest.approx(pair.over_seeds[metric].mean, abs=1e-6)
        assert images.low <= images.difference <= images.high


def test_without_counts_there_is_no_interval_over_images(fabricate):
    made = fabricate()
    made.run_all()
    for file in made.results.rglob("counts.npz"):
        file.unlink()
    (block,) = aggregate.blocks(collect(made.plan, made.results))
    (pair,) = pairs.pairs(block)
    assert pair.over_images == {}
    table = ablations.table(block, [pair])
    assert [entry.text for entry in table.rows[0]].count(tables.UNKNOWN) == 6


def test_an_unmeasured_parent_gives_no_pair(fabricate):
    made = fabricate()
    for cell in made.plan.cells:
        if cell.variant:
            made.run(cell)
    (block,) = aggregate.blocks(collect(made.plan, made.results))
    assert pairs.pairs(block) == ()


def test_differences_have_a_sign_unless_they_are_nothing():
    assert [tables.points(x) for x in (0.0123, -0.0123, 0.00001, -0.00001)] == [
        "+1.23",
        "−1.23",
        "0.00",
        "0.00",
    ]


def test_no_probability_is_certain():
    assert [tables.probability(x) for x in (0.0, 0.004, 0.5, 0.99, 1.0)] == [
        "<0.01",
        "<0.01",
        "0.50",
        "0.99",
        ">0.99",
    ]

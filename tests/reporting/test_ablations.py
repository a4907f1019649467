import pytest

from seglib.reporting import ablations, aggregate, tables
from seglib.reporting.collect import collect


@pytest.fixture(scope="module")
def block(finished):
    (block,) = aggregate.blocks(collect(finished.plan, finished.results))
    return block


def test_a_variant_is_compared_with_its_own_parent_seed_by_seed(block):
    (pair,) = ablations.pairs(block)
    assert (pair.parent.cell.method, pair.parent.cell.variant) == ("isnet", None)
    assert pair.variant.cell.variant == "narrow"
    by_seed = [
        {record.cell.seed: test.metrics["miou"] for record, test in group.measured}
        for group in (pair.variant, pair.parent)
    ]
    differences = [by_seed[0][seed] - by_seed[1][seed] for seed in (0, 1)]
    assert pair.over_seeds["miou"] == aggregate.estimate(differences)


def test_both_intervals_are_of_the_same_difference(block):
    (pair,) = ablations.pairs(block)
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
    (pair,) = ablations.pairs(block)
    assert pair.over_images == {}
    table = ablations.table(block, [pair])
    assert [entry.text for entry in table.rows[0]].count(tables.UNKNOWN) == 6


def test_an_unmeasured_parent_gives_no_pair(fabricate):
    made = fabricate()
    for cell in made.plan.cells:
        if cell.variant:
            made.run(cell)
    (block,) = aggregate.blocks(collect(made.plan, made.results))
    assert ablations.pairs(block) == ()


def test_differences_have_a_sign_unless_they_are_nothing():
    assert [ablations.points(x) for x in (0.0123, -0.0123, 0.00001, -0.00001)] == [
        "+1.23",
        "−1.23",
        "0.00",
        "0.00",
    ]


def test_no_probability_is_certain():
    assert [ablations.probability(x) for x in (0.0, 0.004, 0.5, 0.99, 1.0)] == [
        "<0.01",
        "<0.01",
        "0.50",
        "0.99",
        ">0.99",
    ]

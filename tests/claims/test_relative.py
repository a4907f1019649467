import pytest

from seglib.claims.relative import derive


def test_a_difference_needs_equal_stated_conditions(make_claim):
    of, over = make_claim(), make_claim("36.96", method="fcn")
    (claim,) = derive([of, over], [("isnet", "fcn")])
    assert (claim.of, claim.over, str(claim.value)) == (of, over, "7.26")
    assert derive([of, over], [("fcn", "pspnet")]) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"test_flip": True},
        {"batch_size": 8},
        {"test_size": None},
        {"backbone": "resnet101c"},
        {"output_stride": 16},
        {"dataset": "cityscapes"},
        {"metric": "fwiou"},
        {"provenance": "quoted"},
        {"release": "2021"},
        {"variant": "small"},
        {"bound": ">"},
    ],
)
def test_nothing_is_derived_from_unequal_rows(make_claim, changes):
    baseline = make_claim("36.96", **{"method": "fcn", **changes})
    assert derive([make_claim(), baseline], [("isnet", "fcn")]) == ()


@pytest.mark.parametrize(
    "unknown",
    [
        {"num_classes": None},
        {"train_split": None},
        {"lr": None},
        {"epochs": None},
        {"test_scales": None},
        {"test_scales": ()},
        {"backbone": None},
    ],
)
def test_what_is_unknown_is_not_equal(make_claim, unknown):
    rows = [make_claim(**unknown), make_claim("36.96", method="fcn", **unknown)]
    assert derive(rows, [("isnet", "fcn")]) == ()


def test_sources_that_agree_give_one_claim(make_claim):
    rows = [make_claim(), make_claim(source="another page"), make_claim("36.96", method="fcn")]
    assert len(derive(rows, [("isnet", "fcn")])) == 1
    rows[1] = make_claim("44.30", source="another page")
    assert [float(claim.value) for claim in derive(rows, [("isnet", "fcn")])] == [7.26, 7.34]


def test_costs_are_not_subtracted(make_claim):
    rows = [make_claim(metric="params", unit="M"), make_claim(metric="params", unit="M", method="fcn")]
    assert derive(rows, [("isnet", "fcn")]) == ()

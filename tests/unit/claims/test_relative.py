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
    pages = ({}, {"source": "another page"})
    baselines = [make_claim("36.96", method="fcn", **page) for page in pages]
    rows = [make_claim(**page) for page in pages]
    assert len(derive(rows + baselines, [("isnet", "fcn")])) == 1
    rows[1] = make_claim("44.30", source="another page")
    found = derive(rows + baselines, [("isnet", "fcn")])
    assert [float(claim.value) for claim in found] == [7.26, 7.34]


@pytest.mark.parametrize(
    ("of", "over", "one"),
    [
        ("owner/code@0123abc:isnet.md", "owner/code@0123abc:docs/fcn.md", True),
        ("owner/code@0123abc(2021-09-04):isnet.md", "owner/code@0123abc(2021-09-04):fcn.md", True),
        ("owner/code@0123abc:isnet.md", "owner/code@0123abd:fcn.md", False),
        ("owner/code@0123abc:README.md", "owner/other@0123abc:README.md", False),
        ("arXiv 2210.05844 (SegViT), Table 1", "arXiv 2210.05844 (SegViT), Table 2", True),
        ("https://example.org/a", "https://example.org/b", False),
    ],
)
def test_numbers_of_two_sources_are_not_subtracted(make_claim, of, over, one):
    rows = [make_claim(source=of), make_claim("36.96", method="fcn", source=over)]
    assert len(derive(rows, [("isnet", "fcn")])) == one


def test_the_source_of_a_papers_own_numbers_is_the_paper(make_claim):
    def rows(other):
        common = {"provenance": "paper", "release": None}
        over = make_claim("36.96", method="fcn", source="Table 3", paper=other, **common)
        return [make_claim(source="Table 1", **common), over]

    assert len(derive(rows("isnet"), [("isnet", "fcn")])) == 1
    assert derive(rows("another"), [("isnet", "fcn")]) == ()


def test_costs_are_not_subtracted(make_claim):
    rows = [make_claim(metric="params", unit="M"), make_claim(metric="params", unit="M", method="fcn")]
    assert derive(rows, [("isnet", "fcn")]) == ()

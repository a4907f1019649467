"""The claims and cards that come with seglib."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from seglib.claims.measured import Measurement, conditions_of
from seglib.claims.papers import load_papers
from seglib.claims.reading import load_claims
from seglib.claims.relative import derive
from seglib.claims.verdicts import judge
from seglib.core import registry
from seglib.experiment.cell import Cell
from seglib.experiment.recipe import Backbone, Protocol, Recipe

CLAIMS = load_claims()


def value(**wanted):
    """The value of the one claim with these fields or conditions."""
    found = [
        claim.value
        for claim in CLAIMS
        if all(
            getattr(claim if hasattr(claim, name) else claim.conditions, name) == content
            for name, content in wanted.items()
        )
    ]
    assert len(found) == 1
    return float(found[0])


def test_every_reported_number_is_there():
    assert Counter(claim.paper for claim in CLAIMS) == {
        "baselines": 188,
        "mcibi": 84,
        "isnet": 57,
        "sfnet": 13,
        "srm_crm": 2,
    }
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)


@pytest.mark.parametrize(
    ("expected", "method", "backbone", "dataset", "wanted"),
    [
        (44.22, "isnet", "resnet50c", "ade20k", {"release": "current", "test_scales": (1.0,)}),
        (47.31, "isnet", "resnet101c", "ade20k", {"release": "2021", "test_scales": ()}),
        (82.54, "mcibi_deeplabv3", "hrnet_w48", "cityscapes", {"release": "current"}),
        (36.96, "fcn", "resnet50c", "ade20k", {"output_stride": 8}),
        (137.9, "srm_crm", None, "cityscapes", {"metric": "gmacs"}),
    ],
)
def test_well_known_numbers(expected, method, backbone, dataset, wanted):
    assert value(method=method, backbone=backbone, dataset=dataset, **wanted) == expected


def test_each_author_page_states_how_it_tests():
    for claim in CLAIMS:
        if claim.provenance == "author_release" and claim.paper != "sfnet":
            assert claim.protocol_source
            assert None not in (
                claim.conditions.test_scales,
                claim.conditions.test_flip,
                claim.conditions.num_classes,
            )


def test_every_paper_has_a_card_and_ddsm_has_no_number():
    papers = load_papers()
    assert {claim.paper for claim in CLAIMS} == set(papers) - {"ddsm"}
    for key, title in {
        "isnet": "ISNet",
        "mcibi": "Mining",
        "ddsm": "Dynamic Dual",
        "srm_crm": "A Deep",
    }.items():
        card = papers[key]
        assert card.title.startswith(title)
        assert card.authors
        assert card.arxiv
        assert card.claims
        assert card.known
        assert card.unknown


def test_only_like_is_compared_with_like():
    pairs = [pair for card in load_papers().values() for pair in card.relative]
    derived = derive(CLAIMS, pairs)
    assert [(c.of.method, c.over.method, c.of.dataset, c.of.backbone, float(c.value)) for c in derived] == [
        ("isnet", "fcn", "ade20k", "resnet50c", 7.26),
        ("isnet", "fcn", "ade20k", "resnet101c", 4.70),
    ]
    assert {claim.provenance for claim in derived} == {"derived"}
    for claim in derived:
        repositories = {side.source.partition(":")[0] for side in (claim.of, claim.over)}
        assert repositories == {"sssegmentation@eb1878c1"}


def test_loading_needs_no_torch():
    code = "import sys, seglib.claims.reading as r; r.load_claims(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_registered_names_are_used_in_claims():
    assert {"fcn", "isnet", "pspnet"} <= {claim.method for claim in CLAIMS} & set(registry.METHODS)


def test_without_measurements_nothing_is_judged():
    judgements = judge(CLAIMS, [])
    assert [judgement.claim for judgement in judgements] == list(CLAIMS)
    assert {judgement.verdict for judgement in judgements} == {"not run"}


def test_a_test_at_native_size_is_not_the_authors_test_on_ade20k():
    cell = Cell(
        dataset="ade20k",
        method="isnet",
        backbone_name="r50",
        backbone=Backbone(model="resnet50c", output_stride=8, weights="imagenet"),
        recipe_name="author_ade20k_r50",
        recipe=Recipe(epochs=130, batch_size=16, crop_hw=(512, 512), lr=0.01),
        seed=0,
    )
    conditions = conditions_of(cell, split="val", protocol=Protocol(), num_classes=150, train_images=20_210)
    values = {0: 0.4422, 1: 0.4432, 2: 0.4412}
    single_scale = [
        claim
        for claim in CLAIMS
        if (claim.method, claim.dataset, claim.backbone) == ("isnet", "ade20k", "resnet50c")
        and claim.conditions.test_scales == (1.0,)
    ]
    ours = Measurement(
        name="ours",
        dataset="ade20k",
        method="isnet",
        backbone="resnet50c",
        conditions=conditions,
        metric="miou",
        values=values,
    )
    resized = replace(ours, conditions=replace(conditions, test_size="fit 512x2048"))
    for claim in single_scale:
        (found,) = judge([claim], [ours])
        assert (found.verdict, found.reason) == ("not comparable", "test size fit 512x2048 vs native")
        (found,) = judge([claim], [resized])
        assert (found.verdict, found.caveats) == ("reproduced", ())
    assert len(single_scale) == 2

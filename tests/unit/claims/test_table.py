"""Golden rows of claims and of the complexity audit."""

from decimal import Decimal

import pytest

from seglib.claims import table as claim_tables
from seglib.claims.claim import Claim, Conditions
from seglib.claims.verdicts import Judgement
from seglib.core import tables
from seglib.cost.paper_scale import PaperScaleCost
from seglib.report import cost_tables


def make_claim(**changes) -> Claim:
    values = {
        "paper": "isnet",
        "method": "isnet",
        "variant": None,
        "backbone": "resnet50c",
        "dataset": "ade20k",
        "conditions": Conditions(output_stride=8, eval_split="val", test_scales=(1.0,), test_flip=False),
        "metric": "miou",
        "bound": "",
        "value": Decimal("44.22"),
        "unit": "%",
        "provenance": "author_release",
        "release": "current",
        "source": "sssegmentation@eb1878c1:docs/modelzoo/isnet/README.md",
        "protocol_source": None,
        "note": None,
        "where": "isnet.csv:2",
    }
    return Claim(**values | changes)


def test_a_row_of_a_judged_claim():
    judgement = Judgement(
        claim=make_claim(),
        verdict="lower",
        reason="43.1 to 43.5 lies below 44.22 ± 0.5",
        measured=43.3,
        difference=-0.92,
        interval=(43.1, 43.5),
        seeds=3,
        caveats=("method options: width=64",),
    )
    table = claim_tables.claims("c", "Claims", [judgement])
    assert tables.to_csv(table) == (
        "method,backbone,dataset,test,metric,reported,bound,unit,provenance,measured,low,high,seeds,difference,"
        "verdict,reason,gpu_hours,command,source,id\n"
        'isnet,"resnet50c, os 8",ade20k,"val, ss",miou,44.220000,,%,author release current,43.300000,'
        "43.100000,43.500000,3,-0.920000,lower,"
        "43.1 to 43.5 lies below 44.22 ± 0.5; method options: width=64,,,"
        f"{make_claim().source},{make_claim().id}\n"
    )
    (bounded,) = claim_tables.claims(
        "c", "Claims", [Judgement(claim=cost_claim("80", bound=">"), verdict="not run", reason="")]
    ).entries
    assert [entry.value for entry in bounded[5:8]] == [80, ">", "GFLOPs"]
    (row,) = table.entries
    assert (row[5].text, row[5].link) == (
        "44.22 %",
        "https://github.com/SegmentationBLWX/sssegmentation/blob/eb1878c1/docs/modelzoo/isnet/README.md",
    )


@pytest.mark.parametrize(
    ("scales", "flip", "words"),
    [
        ((1.0,), True, "val, ss+flip"),
        ((0.5, 1.0), False, "val, ms"),
        ((), True, "val, ms+flip"),
        ((0.75,), False, "val, scale 0.75"),
        (None, True, "val, flip"),
        (None, None, "val"),
    ],
)
def test_a_test_is_named_by_what_the_source_states(scales, flip, words):
    conditions = Conditions(eval_split="val", test_scales=scales, test_flip=flip)
    assert make_claim(conditions=conditions).protocol == words


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("arXiv 2412.08671, abstract", "https://arxiv.org/abs/2412.08671"),
        (
            "CharlesPikachu/mcibi@94f8601(2021-09-03):README.md",
            "https://github.com/CharlesPikachu/mcibi/blob/94f8601/README.md",
        ),
        ("a page that somebody saw", None),
    ],
)
def test_sources_lead_to_where_they_can_be_read(source, url):
    assert claim_tables.source_url(source) == url


def cost_claim(value="200", **changes):
    conditions = Conditions(input_hw=(512, 512))
    return make_claim(metric="gmacs", unit="GFLOPs", value=Decimal(value), conditions=conditions, **changes)


COST = PaperScaleCost(
    method="isnet",
    backbone="resnet50c",
    output_stride=8,
    dataset="ade20k",
    input_hw=(512, 512),
    num_classes=150,
    gmacs_conv_matmul=100.0,
)


@pytest.mark.parametrize(
    ("claim", "ours", "reading"),
    [
        (cost_claim("200"), 100.0, "nearest at 2 per MAC: within 1 %"),
        (cost_claim("100.9"), 100.0, "nearest at 1 per MAC: within 1 %"),
        (cost_claim("80"), 100.0, "nearest at 1 per MAC: −20 %"),
        (cost_claim("150", bound=">"), 100.0, "the bound holds at 2 per MAC"),
        (cost_claim("250", bound=">"), 100.0, "the bound does not hold"),
        (cost_claim(method="danet"), None, "seglib does not have danet"),
        (cost_claim(backbone=None), None, "not stated by the source: backbone"),
        (cost_claim(dataset="lip"), None, "not among seglib's paper-scale models"),
    ],
)
def test_the_audit_reads_a_figure_both_ways(claim, ours, reading):
    (row,) = cost_tables.audit([claim, make_claim()], [COST]).entries
    assert row[4].value == ours
    assert row[7].text.startswith(reading)

import dataclasses
from collections import namedtuple
from decimal import Decimal
from math import nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seglib.claims.relative import RelativeClaim
from seglib.claims.verdicts import Tolerance, judge, place, with_deviations
from seglib.metrics.statistics import Comparison

Interval = namedtuple("Interval", "low high")
EXACT = Interval(0.4412, 0.4432)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        # reported 44.22, tolerance 0.5: from 43.72 to 44.72
        ("44.00", "44.50", "reproduced"),
        ("43.72", "44.72", "reproduced"),  # fills the tolerance exactly
        ("44.72", "44.72", "reproduced"),  # a point on the edge
        ("43.71", "44.72", "inconclusive"),
        ("43.72", "44.73", "inconclusive"),
        ("43.00", "45.00", "inconclusive"),  # holds the whole tolerance
        ("44.72", "45.00", "inconclusive"),  # touches the edge from outside
        ("43.00", "43.72", "inconclusive"),
        ("44.73", "45.00", "higher"),
        ("44.73", "44.73", "higher"),
        ("43.00", "43.71", "lower"),
        ("43.71", "43.71", "lower"),
    ],
)
def test_where_an_interval_lies(low, high, verdict):
    assert place(Decimal(low), Decimal(high), reported=Decimal("44.22"), tolerance=Decimal("0.5")) == verdict


def verdict_of(claim, *measurements, interval=EXACT, **options):
    (found,) = judge([claim], measurements, t_interval=lambda values: interval, **options)
    return found


@pytest.mark.parametrize(
    ("interval", "verdict", "reason"),
    [
        (Interval(0.4372, 0.4472), "reproduced", "43.72 to 44.72 lies within 44.22 ± 0.5"),
        # one binary digit outside the edges: arithmetic, not evidence
        (
            Interval(nextafter(0.4372, 0), nextafter(0.4472, 1)),
            "reproduced",
            "43.72 to 44.72 lies within 44.22 ± 0.5",
        ),
        (Interval(0.4372, 0.44721), "inconclusive", "43.72 to 44.721 straddles an edge of 44.22 ± 0.5"),
        (Interval(0.44721, 0.46), "higher", "44.721 to 46 lies above 44.22 ± 0.5"),
        (Interval(0.4472, 0.46), "inconclusive", "44.72 to 46 straddles an edge of 44.22 ± 0.5"),
        (Interval(0.40, 0.43719), "lower", "40 to 43.719 lies below 44.22 ± 0.5"),
    ],
)
def test_three_seeds_are_judged_by_their_interval(make_claim, make_measurement, interval, verdict, reason):
    found = verdict_of(make_claim(), make_measurement(), interval=interval)
    assert (found.verdict, found.reason) == (verdict, reason)
    assert found.interval == (pytest.approx(interval.low * 100), pytest.approx(interval.high * 100))
    assert (found.measured, found.difference, found.seeds) == (44.22, 0.0, 3)


def test_the_interval_is_that_of_the_seeds(make_claim, make_measurement):
    asked = []
    judge([make_claim()], [make_measurement()], t_interval=lambda values: asked.append(values) or EXACT)
    assert asked == [[0.4412, 0.4422, 0.4432]]


def test_the_tolerance_is_the_users(make_claim, make_measurement):
    assert (
        verdict_of(make_claim(), make_measurement(), tolerance=Tolerance(points=0.1)).verdict == "reproduced"
    )
    strict = verdict_of(make_claim(), make_measurement(), tolerance=Tolerance(points=0.09))
    assert strict.verdict == "inconclusive"


def test_the_interval_is_students(make_claim, make_measurement):
    (found,) = judge([make_claim()], [make_measurement()])
    assert found.verdict == "reproduced"
    # t of 2 degrees of freedom x 0.1 points / sqrt(3)
    assert found.interval == pytest.approx((44.22 - 0.24841, 44.22 + 0.24841), abs=1e-4)
    (found,) = judge([make_claim()], [make_measurement(values={0: 0.4412, 1: 0.4422, 2: 0.4462})])
    assert found.verdict == "inconclusive"


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_give_a_distance_and_no_verdict(make_claim, make_measurement, seeds):
    values = dict.fromkeys(range(seeds), 0.4522)
    found = verdict_of(make_claim(), make_measurement(values=values), interval=None)
    assert (found.verdict, found.difference, found.interval) == ("single run", 1.0, None)
    assert found.reason == f"{seeds} of the 3 seeds that a verdict needs"


@pytest.mark.parametrize(
    ("claimed", "ours", "reason"),
    [
        ({"test_scales": (0.5, 1.0), "test_flip": True}, {}, "ms+flip vs ss"),
        ({"test_scales": (), "test_flip": True}, {}, "ms+flip vs ss"),
        ({"test_flip": True}, {}, "ss+flip vs ss"),
        ({"test_scales": ()}, {"test_scales": (0.75,)}, "ms vs scale 0.75"),
        ({"test_scales": (0.75,), "test_flip": True}, {}, "scale 0.75+flip vs ss"),
        (
            {"test_scales": (0.5, 1.0), "test_flip": True},
            {"test_scales": (0.5, 1.5)},
            "test scales 0.5 1 vs 0.5 1.5; ms+flip vs ms",
        ),
        (
            {"test_scales": None, "test_flip": True},
            {},
            "not stated by the source: test scales; flip vs no flip",
        ),
        (
            {"test_scales": (), "test_flip": None},
            {"test_flip": True},
            "not stated by the source: test flip; ms vs ss",
        ),
        ({"test_scales": (0.5, 1.0)}, {"test_scales": (0.5, 1.5)}, "test scales 0.5 1 vs 0.5 1.5"),
        ({"num_classes": 182}, {"num_classes": 171}, "182 vs 171 classes"),
        (
            {"test_scales": (), "test_flip": True, "num_classes": 182},
            {"num_classes": 171},
            "182 vs 171 classes; ms+flip vs ss",
        ),
        ({"train_split": "trainval"}, {}, "training split trainval vs train"),
        ({"eval_split": "test"}, {}, "evaluation split test vs val"),
        ({"crop_hw": (512, 1024)}, {}, "crop 512x1024 vs 512x512"),
        ({"batch_size": 8}, {}, "batch size 8 vs 16"),
        ({"lr": 0.004}, {}, "lr 0.004 vs 0.01"),
        ({"epochs": 180.0}, {}, "epochs 180 vs 130"),
        ({"epochs": 130.0}, {"epochs": 128.0}, "epochs 130 vs 128"),
        ({"epochs": None, "iterations": 80_000}, {}, "iterations 80000 vs 164190"),
        ({"pretraining": "none"}, {}, "pretraining none vs imagenet"),
        ({"test_mode": "slide", "test_crop_hw": (512, 512)}, {}, "test mode slide vs whole"),
        ({"test_size": "fit 512x2048"}, {}, "test size fit 512x2048 vs native"),
        ({"output_stride": 16}, {}, "output stride 16 vs 8"),
        ({}, {"backbone": "resnet50"}, "backbone resnet50c vs resnet50"),
        ({"backbone": "resnest101e"}, {"backbone": "resnest101"}, "backbone resnest101e vs resnest101"),
        ({}, {"embedded_data": True}, "embedded data"),
        ({}, {"subset": True}, "subset of the images"),
        ({}, {"quick_recipe": True}, "quick recipe"),
        ({}, {"num_classes": None}, "not recorded in our runs: classes"),
        ({"backbone": None}, {}, "not stated by the source: backbone"),
        ({"test_scales": None, "test_flip": None}, {}, "not stated by the source: test scales, test flip"),
        ({"bound": ">"}, {}, "the source gives a bound only: > 44.22 %"),
    ],
)
def test_unequal_protocols_are_not_compared(make_claim, make_measurement, claimed, ours, reason):
    found = verdict_of(make_claim(**claimed), make_measurement(**ours), interval=None)
    assert (found.verdict, found.reason) == ("not comparable", reason)
    assert (found.difference, found.interval) == (None, None)
    assert found.measured == 44.22


@pytest.mark.parametrize(
    ("claimed", "ours", "caveats"),
    [
        ({}, {}, ()),
        ({"epochs": 130.0}, {"epochs": 129.9}, ()),  # a last batch more or less
        ({"epochs": None, "iterations": 164_000}, {}, ()),
        ({"lr": None, "pretraining": None}, {}, ("not stated by the source: lr, pretraining",)),
        ({"epochs": None}, {}, ("not stated by the source: epochs",)),
        (
            {"test_scales": (), "test_flip": True},
            {"test_scales": (0.5, 1.0), "test_flip": True},
            ("not stated by the source: which test scales",),
        ),
        ({}, {"pretraining": None}, ("not recorded in our runs: pretraining",)),
        ({}, {"options": ("soft=false",)}, ("method options: soft=false",)),
        ({}, {"failures": {3: "NaN, see a.log"}}, ("seed 3 failed: NaN, see a.log",)),
    ],
)
def test_what_cannot_be_compared_stands_beside_the_verdict(
    make_claim, make_measurement, claimed, ours, caveats
):
    found = verdict_of(make_claim(**claimed), make_measurement(**ours))
    assert (found.verdict, found.caveats) == ("reproduced", caveats)


def test_the_window_matters_only_when_it_slides(make_claim, make_measurement):
    slide = {"test_mode": "slide", "test_crop_hw": (512, 512)}
    assert verdict_of(make_claim(**slide), make_measurement(**slide)).verdict == "reproduced"
    other = make_measurement(**slide | {"test_crop_hw": (512, 1024)})
    assert verdict_of(make_claim(**slide), other).reason == "test window 512x512 vs 512x1024"


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (14_820_000, "reproduced"),
        (14_968_200, "reproduced"),  # 1 % more, exactly
        (14_968_201, "higher"),
        (14_671_800, "reproduced"),
        (14_671_799, "lower"),
    ],
)
def test_a_deterministic_quantity_needs_no_seeds(make_claim, make_measurement, measured, verdict):
    claim = make_claim("14.82", metric="params_head", unit="M")
    ours = make_measurement(metric="params_head", values={0: measured}, epochs=None, test_scales=(0.5,))
    found = verdict_of(claim, ours, interval=None)
    assert (found.verdict, found.seeds) == (verdict, 1)
    assert found.difference == pytest.approx(measured / 1e6 - 14.82)


def test_a_cost_depends_on_its_own_conditions_only(make_claim, make_measurement):
    claim = make_claim("96.1", metric="gmacs", unit="GMACs", input_hw=(512, 512))
    ours = {"metric": "gmacs", "values": {0: 96.0}, "train_split": None, "batch_size": 2}
    assert verdict_of(claim, make_measurement(**ours, input_hw=(512, 512))).verdict == "reproduced"
    other = verdict_of(claim, make_measurement(**ours, input_hw=(512, 1024), num_classes=19))
    assert other.reason == "150 vs 19 classes; input size 512x512 vs 512x1024"
    unstated = make_claim("96.1", metric="gmacs", unit="GMACs")
    found = verdict_of(unstated, make_measurement(**ours, input_hw=(512, 512)))
    assert found.reason == "not stated by the source: input size"


def test_operations_of_an_unknown_convention_are_shown_both_ways(make_claim, make_measurement):
    claim = make_claim("228.3", metric="gmacs", unit="GFLOPs", input_hw=(512, 512))
    found = verdict_of(claim, make_measurement(metric="gmacs", values={0: 114.0}, input_hw=(512, 512)))
    assert found.verdict == "not comparable"
    assert found.reason == "the source does not say whether its GFLOPs count a multiply-add once or twice"
    assert found.caveats == ("ours: 114.0 GMACs, 228.0 GFLOPs at 2 per MAC",)
    assert found.measured is None
    twice = make_claim("228.3", metric="gmacs", unit="GFLOPs at 2 per MAC", input_hw=(512, 512))
    assert verdict_of(twice, found.measurement).verdict == "reproduced"


def test_nothing_has_run(make_claim, make_measurement):
    no_method = verdict_of(make_claim(method="ccnet"), make_measurement())
    assert (no_method.verdict, no_method.reason) == ("not run", "seglib does not have the method ccnet")
    assert no_method.command is None
    no_data = verdict_of(make_claim(dataset="my_data"), make_measurement())
    assert no_data.reason == "seglib does not have the data set my_data"
    elsewhere = [
        {"method": "fcn"},
        {"variant": "no_image_context"},
        {"backbone": "resnet101c"},
        {"metric": "fwiou"},
    ]
    claim = make_claim(dataset="camvid")
    for ours in elsewhere:
        found = verdict_of(claim, make_measurement(dataset="camvid", **ours))
        assert (found.verdict, found.reason) == ("not run", "no run of this model in this configuration")
    vague = verdict_of(make_claim(dataset="camvid", test_flip=None))
    assert vague.reason.endswith("; not stated by the source: test flip")


def test_planned_cells_say_how_to_run_them(make_claim, make_measurement):
    planned = make_measurement(values={}, command="snakemake results/x", gpu_hours=12.5)
    found = verdict_of(make_claim(), planned)
    assert (found.verdict, found.command, found.gpu_hours) == ("not run", "snakemake results/x", 12.5)
    useless = verdict_of(make_claim(test_flip=True), planned)
    assert (useless.verdict, useless.command) == ("not run", None)
    assert useless.reason == "the planned runs would not be comparable: ss+flip vs ss"


def test_failed_cells_say_why(make_claim, make_measurement):
    failed = make_measurement(values={}, failures={1: "loss is NaN, see b.log", 0: "no memory, see a.log"})
    found = verdict_of(make_claim(), failed)
    assert (found.verdict, found.reason) == ("failed", "seed 0: no memory, see a.log")


def test_the_nearest_measurement_answers(make_claim, make_measurement):
    far = make_measurement(name="far", batch_size=8, quick_recipe=True)
    near = make_measurement(name="near", batch_size=8)
    one_seed = make_measurement(name="one seed", values={0: 0.44})
    equal = make_measurement(name="equal")
    planned = make_measurement(name="planned", values={})
    claim = make_claim()
    assert verdict_of(claim, far, near).measurement.name == "near"
    assert verdict_of(claim, near, planned).verdict == "not run"
    assert verdict_of(claim, near, planned, one_seed).verdict == "single run"
    assert verdict_of(claim, one_seed, far, equal, near).measurement.name == "equal"


def test_what_a_committed_configuration_sets_otherwise_stands_beside_the_verdict(
    make_claim, make_measurement
):
    ours = make_measurement(
        recipe="mine", settings='{"recipe":{"flip":0,"optimizer":"adamw"}}', options=("image_context=false",)
    )
    (judgement,) = judge([make_claim()], [ours])
    near = make_measurement(settings='{"recipe":{"flip":0.5,"optimizer":"sgd"}}')
    far = dataclasses.replace(near, options=("a=1",), settings='{"recipe":{"flip":1,"clip":2}}')
    other = make_measurement(lr=0.1, recipe="mine", settings=ours.settings, options=ours.options)
    found = with_deviations(judgement, [far, near, other])
    assert found.verdict == judgement.verdict == "reproduced"
    assert found.caveats[-1] == (
        "unlike the committed configuration: recipe author vs mine; recipe.flip: 0.5 vs 0; "
        'recipe.optimizer: "sgd" vs "adamw"; method options none vs image_context=false'
    )
    assert with_deviations(judgement, [other]) == judgement, "no other configuration may answer the claim"
    assert with_deviations(judgement, [ours, near]) == judgement, "one is like ours"


def test_so_does_what_the_source_leaves_open(make_claim, make_measurement):
    ours = make_measurement(lr=0.5, batch_size=2)
    (judgement,) = judge([make_claim(lr=None, batch_size=None)], [ours])
    assert judgement.verdict == "reproduced"
    (caveat,) = with_deviations(judgement, [make_measurement()]).caveats[len(judgement.caveats) :]
    assert caveat == "unlike the committed configuration: lr 0.01 vs 0.5; batch size 16 vs 2"


def test_claims_keep_their_order(make_claim, make_measurement):
    claims = [make_claim("44.22"), make_claim("50"), make_claim("40")]
    found = judge(claims, [make_measurement()], t_interval=lambda values: EXACT)
    assert [judgement.claim for judgement in found] == claims
    assert [judgement.verdict for judgement in found] == ["reproduced", "lower", "higher"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(make_claim, make_measurement, value):
    with pytest.raises(ValueError, match="val-ss: miou of seed 1 is"):
        verdict_of(make_claim(), make_measurement(values={0: 0.44, 1: value}))


def test_a_deterministic_quantity_has_one_value(make_claim, make_measurement):
    claim = make_claim("14.82", metric="params", unit="M")
    with pytest.raises(ValueError, match="params has several values"):
        verdict_of(claim, make_measurement(metric="params", values={0: 1.0, 1: 2.0}))


@pytest.fixture
def relative(make_claim):
    """ISNet over FCN: +7.26 points."""
    return RelativeClaim(of=make_claim("44.22"), over=make_claim("36.96", method="fcn"))


IMAGES = Comparison(difference=0.0726, low=0.07, high=0.08, probability_of_improvement=0.99)


def judge_pair(claim, measurements, images=IMAGES, **options):
    (found,) = judge([claim], measurements, paired=lambda of, over: images, **options)
    return found


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.0676, 0.0776, "reproduced"),
        (0.0676, 0.07761, "inconclusive"),
        (0.0777, 0.09, "higher"),
        (-0.01, 0.0675, "lower"),
    ],
)
def test_differences_are_judged_over_equal_seeds(relative, make_measurement, low, high, verdict):
    of = make_measurement()
    over = make_measurement(
        method="fcn", values={2: 0.3716, 1: 0.3696, 0: 0.3676, 7: 0.1}, options=("aux=false",)
    )
    asked = []
    found = judge_pair(
        relative, [of, over], t_interval=lambda shared: asked.append(shared) or Interval(low, high)
    )
    assert asked == [pytest.approx([0.0736, 0.0726, 0.0716])]
    assert (found.verdict, found.measured, found.difference, found.seeds) == (verdict, 7.26, 0.0, 3)
    assert (found.measurement, found.baseline, found.images) == (of, over, IMAGES)
    assert found.caveats == ("method options: aux=false",)


def test_both_sides_of_a_relative_claim_are_set_beside_the_committed_ones(relative, make_measurement):
    of, over = make_measurement(options=("width=64",)), make_measurement(method="fcn")
    (judgement,) = judge([relative], [of, over], paired=lambda of, over: None)
    committed = [make_measurement(), make_measurement(method="fcn")]
    assert with_deviations(judgement, committed).caveats[-1] == (
        "unlike the committed configuration: method options none vs width=64"
    )


def test_images_alone_give_no_verdict(relative, make_measurement):
    """However sure the bootstrap over images is: it knows one training of each."""
    ours = [make_measurement(), make_measurement(method="fcn", values={1: 0.3596, 2: 0.3606, 3: 0.1})]
    found = judge_pair(relative, ours)
    assert (found.verdict, found.seeds, found.difference) == ("single run", 2, 1.0)
    assert (found.interval, found.images) == (None, IMAGES)


def test_runs_without_a_common_seed_are_not_compared(relative, make_measurement):
    found = judge_pair(relative, [make_measurement(), make_measurement(method="fcn", values={5: 0.36})])
    assert (found.verdict, found.reason) == ("not comparable", "between our two runs: no seed in common")


@pytest.mark.parametrize(
    ("of", "over", "verdict", "reason"),
    [
        ({"batch_size": 8}, {}, "not comparable", "isnet: batch size 16 vs 8"),
        ({}, {"quick_recipe": True}, "not comparable", "fcn: quick recipe"),
        ({}, {"values": {}}, "not run", "fcn: planned, not run yet"),
        ({}, {"values": {}, "failures": {0: "NaN"}}, "failed", "fcn: seed 0: NaN"),
    ],
)
def test_both_sides_must_be_comparable(relative, make_measurement, of, over, verdict, reason):
    found = judge_pair(relative, [make_measurement(**of), make_measurement(method="fcn", **over)])
    assert (found.verdict, found.reason, found.measured) == (verdict, reason, None)
    assert found.claim is relative


@pytest.mark.parametrize(
    ("of", "over", "command", "gpu_hours"),
    [
        ({}, {}, "run isnet; run fcn", 15.0),
        ({"values": {0: 0.44}}, {}, "run fcn", 3.0),
        ({}, {"values": {0: 0.36}}, "run isnet", 12.0),
        ({"gpu_hours": None}, {}, "run isnet; run fcn", None),
        # Nothing that could be run would give an answer.
        ({}, {"values": {0: 0.36}, "batch_size": 8}, None, None),
        ({}, {"batch_size": 8}, None, None),
        ({}, {"settings": '{"recipe":{"flip":0.0}}'}, None, None),
        ({}, {"dataset": "camvid"}, None, None),
    ],
)
def test_what_is_to_be_run_is_said_of_both_sides(relative, make_measurement, of, over, command, gpu_hours):
    planned = [
        make_measurement(
            **{"method": method, "values": {}, "command": f"run {method}", "gpu_hours": hours, **changes}
        )
        for method, hours, changes in (("isnet", 12.0, of), ("fcn", 3.0, over))
    ]
    found = judge_pair(relative, planned)
    assert (found.verdict, found.command, found.gpu_hours) == ("not run", command, gpu_hours)


def test_both_sides_say_what_they_lack(relative, make_measurement):
    planned, failed = make_measurement(values={}), {"values": {}, "failures": {0: "NaN"}}
    none = judge_pair(relative, [])
    assert none.reason == "; ".join(
        f"{method}: no run of this model in this configuration" for method in ("isnet", "fcn")
    )
    other = make_measurement(method="fcn", values={}, recipe="own", settings='{"recipe":{"flip":0.0}}')
    assert judge_pair(relative, [planned, other]).reason == (
        "isnet: planned, not run yet; fcn: planned, not run yet; "
        "between our two runs: recipe author vs own; recipe.flip: (none) vs 0.0"
    )
    found = judge_pair(relative, [planned, make_measurement(method="fcn", **failed)])
    assert (found.verdict, found.reason) == ("failed", "isnet: planned, not run yet; fcn: seed 0: NaN")


def test_our_two_runs_must_be_comparable_with_each_other(make_claim, make_measurement):
    claim = RelativeClaim(
        of=make_claim(test_size=None), over=make_claim("36.96", method="fcn", test_size=None)
    )
    ours = [make_measurement(), make_measurement(method="fcn", test_size="fit 512x2048")]
    found = judge_pair(claim, ours)
    assert found.verdict == "not comparable"
    assert found.reason == "between our two runs: test size native vs fit 512x2048"


def test_the_nearest_pair_answers(make_claim, make_measurement):
    """The claims leave the test size open, so only the two measurements know whether theirs is equal."""
    claim = RelativeClaim(
        of=make_claim(test_size=None), over=make_claim("36.96", method="fcn", test_size=None)
    )

    def ours(method, size, seeds, **changes):
        values = dict.fromkeys(range(seeds), 0.4422 if method == "isnet" else 0.3696)
        name = f"{method} {size} {seeds}"
        return make_measurement(name=name, method=method, test_size=size, values=values, **changes)

    both = [
        ours("isnet", "native", 3),
        ours("isnet", "fit", 3),
        ours("fcn", "fit", 3),
        ours("fcn", "native", 2),
    ]
    for measurements in (both, both[::-1]):
        found = judge_pair(claim, measurements)
        assert (found.measurement.name, found.baseline.name) == ("isnet fit 3", "fcn fit 3")
        assert (found.verdict, found.seeds) == ("reproduced", 3)
    # Rather fewer seeds than a difference.
    found = judge_pair(claim, [*both[:2], ours("fcn", "native", 2), ours("fcn", "fit", 3, batch_size=8)])
    assert (found.measurement.name, found.baseline.name) == ("isnet native 3", "fcn native 2")
    # Of equals, the first.
    found = judge_pair(claim, [*both[:2], ours("fcn", "native", 3), both[2]])
    assert (found.measurement.name, found.baseline.name) == ("isnet native 3", "fcn native 3")


def test_our_two_runs_must_be_trained_alike(relative, make_measurement):
    of = make_measurement(recipe="author", settings='{"recipe":{"flip":0.5,"optimizer":"sgd"}}')
    over = make_measurement(
        method="fcn", recipe="own", settings='{"recipe":{"flip":0.0,"optimizer":"adamw"}}'
    )
    found = judge_pair(relative, [of, over])
    assert found.verdict == "not comparable"
    assert found.reason == (
        "between our two runs: recipe author vs own; "
        'recipe.flip: 0.5 vs 0.0; recipe.optimizer: "sgd" vs "adamw"'
    )
    renamed = dataclasses.replace(over, settings=of.settings)
    assert judge_pair(relative, [of, renamed]).verdict != "not comparable"


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 30), st.integers(0, 30))
def test_noise_is_never_rewarded(one, other, wider_below, wider_above):
    """A wider interval keeps its verdict or loses it; it never gains another."""
    low, high = sorted((one, other))
    rule = {"reported": Decimal(100), "tolerance": Decimal(20)}
    before = place(Decimal(low), Decimal(high), **rule)
    after = place(Decimal(low - wider_below), Decimal(high + wider_above), **rule)
    assert after in (before, "inconclusive")

"""Whether a measurement answers a claim: what differs, and what neither side can tell."""

import functools
import math
import re
from dataclasses import replace
from typing import Any

from seglib.claims.claim import METRICS, Claim, Conditions, spell_scales
from seglib.claims.measured import Measurement
from seglib.experiment.changes import changed_values

# How a condition is called when it differs ("claimed vs measured") or is not stated.
LABELS = {
    "output_stride": "output stride",
    "num_classes": "classes",
    "train_split": "training split",
    "eval_split": "evaluation split",
    "crop_hw": "crop",
    "epochs": "epochs",
    "iterations": "iterations",
    "lr": "lr",
    "batch_size": "batch size",
    "pretraining": "pretraining",
    "test_mode": "test mode",
    "test_crop_hw": "test window",
    "test_scales": "test scales",
    "test_flip": "test flip",
    "test_size": "test size",
    "input_hw": "input size",
}
NEEDED = ("num_classes", "eval_split", "test_scales", "test_flip", "input_hw")
"""Without these, where the metric depends on them, nothing is compared; any other unknown one is a caveat."""


def compared(claim: Claim) -> tuple[str, ...]:
    """The conditions that the claim's metric depends on."""
    if not METRICS[claim.metric].deterministic:
        return tuple(name for name in LABELS if name != "input_hw")
    return (
        ("output_stride", "num_classes", "input_hw")
        if claim.metric == "gmacs"
        else ("output_stride", "num_classes")
    )


@functools.cache
def family(backbone: str) -> str:
    """The name without what tells variants of a ResNet apart: these differ in protocol, not in kind."""
    match = re.match(r"resne(?:t|st)\d+", backbone)
    return match[0] if match else backbone


def open_questions(claim: Claim) -> list[str]:
    """Why nothing could ever be compared with this claim: what its source leaves open."""
    missing = [
        LABELS[name] for name in compared(claim) if name in NEEDED and getattr(claim.conditions, name) is None
    ]
    if claim.backbone is None:
        missing.insert(0, "backbone")
    questions = [f"not stated by the source: {', '.join(missing)}"] if missing else []
    if claim.bound:
        questions.append(f"the source gives a bound only: {claim.bound} {claim.value} {claim.unit}")
    if claim.scale is None:
        questions.append(
            f"the source does not say whether its {claim.unit} count a multiply-add once or twice"
        )
    return questions


def obstacles(claim: Claim, measurement: Measurement) -> list[str]:
    """Everything that keeps the measurement from judging the claim; empty: it may."""
    reasons = open_questions(claim)
    flags = {
        "embedded data": measurement.embedded_data,
        "subset of the images": measurement.subset,
        "quick recipe": measurement.quick_recipe,
    }
    reasons += [text for text, is_set in flags.items() if is_set]
    if claim.backbone and claim.backbone != measurement.backbone:
        reasons.append(f"backbone {claim.backbone} vs {measurement.backbone}")
    reasons += differences(claim.conditions, measurement.conditions, compared(claim))
    if unrecorded := [LABELS[name] for name in _unrecorded(claim, measurement) if name in NEEDED]:
        reasons.append(f"not recorded in our runs: {', '.join(unrecorded)}")
    return reasons


def caveats(claim: Claim, measurement: Measurement) -> list[str]:
    """What a reader should know beside a verdict: conditions left open, method options, failed seeds."""
    unstated = [LABELS[name] for name in _left_open(claim)]
    if claim.conditions.test_scales == ():
        unstated.append("which test scales")
    unrecorded = [LABELS[name] for name in _unrecorded(claim, measurement) if name not in NEEDED]
    lines = [f"not stated by the source: {', '.join(unstated)}"] * bool(unstated)
    lines += [f"not recorded in our runs: {', '.join(unrecorded)}"] * bool(unrecorded)
    if claim.scale is None:
        counts = measurement.values.values()
        lines += [f"ours: {gmacs:.1f} GMACs, {2 * gmacs:.1f} GFLOPs at 2 per MAC" for gmacs in counts]
    lines += [f"method options: {', '.join(measurement.options)}"] * bool(measurement.options)
    return lines + [f"seed {seed} failed: {why}" for seed, why in sorted(measurement.failures.items())]


def differences(left: Conditions, right: Conditions, names: tuple[str, ...]) -> list[str]:
    """Conditions that both sides know and that differ, as ``ms+flip vs ss``, ``182 vs 171 classes``."""
    lines = []
    for name in names:
        a, b = getattr(left, name), getattr(right, name)
        if a is None or b is None or _equal(name, a, b):
            continue
        if name == "test_scales" and spell_scales(a) == spell_scales(b):
            lines.append(f"test scales {_text(a)} vs {_text(b)}")
        elif name in ("test_scales", "test_flip"):
            lines.append(_tests(left, right))
        elif name == "num_classes":
            lines.append(f"{a} vs {b} classes")
        else:
            lines.append(f"{LABELS[name]} {_text(a)} vs {_text(b)}")
    return list(dict.fromkeys(lines))


def between(of: Measurement, over: Measurement, names: tuple[str, ...]) -> list[str]:
    """How two measurements differ beside their methods; empty: one may be taken from the other."""
    lines = differences(of.conditions, over.conditions, names)
    settings = changed_values(of.settings, over.settings)
    if of.recipe != over.recipe and any(line.startswith("recipe.") for line in settings):
        lines.append(f"recipe {of.recipe} vs {over.recipe}")
    return lines + [line.replace(" -> ", " vs ") for line in settings]


def deviations(claim: Claim, committed: Measurement, measurement: Measurement) -> list[str]:
    """What a measurement has unlike a committed configuration: settings, method options, and those conditions
    that the source of the claim leaves open.
    """
    lines = between(committed, measurement, _left_open(claim))
    if set(committed.options) != set(measurement.options):
        options = (", ".join(side.options) or "none" for side in (committed, measurement))
        lines.append(f"method options {' vs '.join(options)}")
    return lines


def _unrecorded(claim: Claim, measurement: Measurement) -> list[str]:
    """Conditions that the source states and the measurement does not know."""
    return [
        name
        for name in compared(claim)
        if getattr(claim.conditions, name) is not None
        and getattr(measurement.conditions, name) is None
        and (name != "test_crop_hw" or measurement.conditions.test_mode == "slide")
    ]


def _left_open(claim: Claim) -> tuple[str, ...]:
    """Conditions that the claim's metric depends on and its source does not state."""
    stated = claim.conditions
    return tuple(name for name in compared(claim) if _matters(name, stated) and getattr(stated, name) is None)


def _matters(name: str, conditions: Conditions) -> bool:
    """Whether a condition that is not stated leaves something open."""
    if name == "epochs":
        return conditions.iterations is None
    if name == "iterations":
        return False
    return name != "test_crop_hw" or conditions.test_mode == "slide"


def _equal(name: str, a: Any, b: Any) -> bool:
    if name in ("epochs", "iterations"):
        # An epoch may or may not count the last, smaller batch.
        return math.isclose(a, b, rel_tol=0.01)
    if name == "lr":
        return math.isclose(a, b)
    if name == "test_scales":
        several = len(a) != 1 and len(b) != 1
        return several if () in (a, b) else sorted(a) == sorted(b)
    return a == b


def _tests(left: Conditions, right: Conditions) -> str:
    """Both in words, of what both know: ``ms+flip vs ss``, or ``flip vs no flip``."""
    names = ("test_scales", "test_flip")
    unknown = {name: None for name in names if None in (getattr(left, name), getattr(right, name))}
    return " vs ".join(replace(side, **unknown).test or "no flip" for side in (left, right))


def _text(value: Any) -> str:
    if value == ():
        return "several"
    if isinstance(value, tuple):
        separator = "x" if all(isinstance(part, int) for part in value) else " "
        return separator.join(f"{part:g}" for part in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)

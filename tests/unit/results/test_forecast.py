"""Hours and disk of a plan, from records that are written here by hand: every number can be followed."""

import copy
from dataclasses import replace

import pytest

from seglib.experiment import config, paths, records
from seglib.results import forecast
from tests.unit import fabricated
from tests.workflow.project import CONFIG

VALUES = copy.deepcopy(CONFIG)
VALUES["matrix"] = [CONFIG["matrix"][0] | {"methods": ["fcn", "isnet", "pspnet"], "recipes": ["slow"]}]
FCN, ISNET, PSPNET = (f"scenes/{name}/small/slow/seed0" for name in ("fcn", "isnet", "pspnet"))
IMAGES = 2 * 2


@pytest.fixture
def plan(tmp_path):
    return config.load(VALUES | {"results": str(tmp_path / "results")})


def finish(plan, id, *, images_per_s, device="cpu", gpu=None, processes=1, size=1000, **more):
    cell = next(cell for cell in plan.cells if cell.id == id)
    folder = paths.train_folder(plan.config.results, cell)
    folder.mkdir(parents=True)
    machine = {"cpu": "a CPU", "gpu": gpu, "device": device, "processes": processes}
    training = fabricated.training(cell, images_per_s=images_per_s, **machine, **more)
    records.write(folder / "provenance.json", training)
    (folder / "cell.json").write_text(cell.to_json())
    (folder / "model.safetensors").write_bytes(b"0" * size)


def count(plan, id, *, gmacs, params=100):
    cell = next(cell for cell in plan.cells if cell.id == id)
    cost = fabricated.cost(cell, num_classes=6, gmacs_conv_matmul=gmacs, params=params)
    records.write(paths.complexity_file(plan.config.results, cell), cost)


def estimate(plan, *trained):
    tests = [(id, "val-ss") for id in trained]
    return forecast.estimate(plan, trained=trained, tested=tests, downloaded=["scenes"])


def test_a_like_training_is_worth_more_than_multiply_adds(plan):
    finish(plan, FCN, images_per_s=8.0)
    count(plan, FCN, gmacs=3.0)
    count(plan, ISNET, gmacs=6.0)
    found = estimate(plan, FCN, ISNET, PSPNET)
    [hours] = found.hours
    assert (hours.hardware, hours.is_gpu) == ("a CPU", False)
    assert (hours.timed, hours.from_gmacs, hours.unknown) == (1, 1, 1)
    # 8 images/s x 3 GMAC = 24 GMAC/s, so ISNet's 6 GMAC give 4 images/s.
    assert hours.hours == pytest.approx((IMAGES / 8 + IMAGES / 4) / 3600)
    assert "1 from trainings of the same model" in "\n".join(found.lines())


def test_every_hardware_is_told_apart(plan):
    finish(plan, FCN, images_per_s=8.0)
    finish(plan, ISNET, images_per_s=80.0, device="cuda", gpu="a GPU")
    hours = {found.hardware: found for found in estimate(plan, FCN, ISNET).hours}
    assert set(hours) == {"a CPU", "a GPU"}
    assert [(hours[name].timed, hours[name].unknown) for name in ("a CPU", "a GPU")] == [(1, 1), (1, 1)]
    assert hours["a GPU"].is_gpu
    assert hours["a GPU"].hours == pytest.approx(IMAGES / 80 / 3600)


def test_a_training_that_went_on_elsewhere_tells_no_speed(plan):
    here = fabricated.attempt()
    finish(plan, FCN, images_per_s=8.0, attempts=(here, here))
    finish(plan, ISNET, images_per_s=80.0, attempts=(replace(here, cpu="another"), here))
    finish(plan, PSPNET, images_per_s=80.0, attempts=(replace(here, processes=4), here))
    [hours] = estimate(plan, FCN, ISNET, PSPNET).hours
    assert (hours.timed, hours.unknown) == (1, 2)
    assert hours.hours == pytest.approx(IMAGES / 8 / 3600)


def test_hours_of_a_training_over_several_devices_are_those_of_all(plan):
    finish(plan, FCN, images_per_s=80.0, device="cuda", gpu="a GPU", processes=4)
    [hours] = estimate(plan, FCN).hours
    assert hours.hours == pytest.approx(4 * IMAGES / 80 / 3600)


def test_a_limited_cell_sees_fewer_images(tmp_path):
    values = copy.deepcopy(VALUES)
    values["recipes"]["slow"] = values["recipes"]["slow"] | {"iterations": None, "epochs": 3, "batch_size": 2}
    plan = config.load(values | {"results": str(tmp_path / "results"), "limit": 5})
    fcn = plan.cells[0].id
    finish(plan, fcn, images_per_s=8.0)
    [hours] = estimate(plan, fcn).hours
    assert hours.hours == pytest.approx(3 * 4 / 8 / 3600)  # of 5 images, two batches of 2


def test_without_a_record_nothing_is_invented(plan):
    found = estimate(plan, FCN)
    assert found.hours == ()
    assert found.disk_bytes == 0
    assert found.disk_unknown == ("1 models", "predictions of 1 tests")
    assert found.checkpoint_bytes is None
    assert found.lines()[0] == "Training time: not known, since no training was timed here yet."


def test_a_damaged_record_tells_nothing_and_stops_nothing(plan):
    finish(plan, FCN, images_per_s=8.0)
    folder = paths.train_folder(plan.config.results, plan.cells[0])
    (folder / "provenance.json").write_text('{"cpu": ')
    assert estimate(plan, FCN).hours == ()


def test_disk_counts_what_is_new_only(plan, monkeypatch):
    finish(plan, FCN, images_per_s=8.0)
    count(plan, ISNET, gmacs=1.0, params=70)
    found = estimate(plan, FCN, ISNET, PSPNET)
    assert found.disk_bytes == 4 * 70  # FCN's model is replaced, PSPNet's size is not known
    assert found.disk_unknown == ("1 models", "predictions of 3 tests")
    assert found.checkpoint_bytes == 3 * 2 * 1000  # three of weights and momentum
    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda folder: type("", (), {"free": 100}))
    assert "THAT DOES NOT FIT" in estimate(plan, FCN, ISNET).lines()[-1]

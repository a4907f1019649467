import cv2
import numpy as np
import pytest
from PIL import Image

from seglib.metrics.counts import Counts
from seglib.report import overlays
from seglib.results.inventory import collect, read_manifest

PAINTER = overlays.Painter(np.array([(0, 0, 0), (255, 0, 0)], np.uint8), ignore=255)


def test_pictures_are_chosen_by_rule():
    iou = np.array([0.5, 0.9, np.nan, 0.1, 0.7])
    boundary_iou = np.array([0.3, 0.2, np.nan, 0.4, np.nan])
    chosen = {choice.rule: choice.index for choice in overlays.choose(iou, boundary_iou)}
    assert chosen == {"best IoU": 1, "median IoU": 0, "worst IoU": 3, "largest boundary error": 1}


def test_ties_go_to_the_earlier_image_and_nothing_to_judge_gives_nothing():
    same = np.full(3, 0.5)
    assert [choice.index for choice in overlays.choose(same, same)] == [0, 1, 2, 0]
    assert overlays.choose(np.full(2, np.nan), np.full(2, np.nan)) == ()


@pytest.fixture
def pair(tmp_path):
    """An image of 40 x 900 pixels: class 0 left, 1 right, the last columns ignored; 5 columns wrong."""
    label = np.zeros((40, 900), np.uint8)
    label[:, 450:] = 1
    label[:, 800:] = 255
    prediction = np.where(label == 255, 0, label)
    prediction[:, 100:105] = 1
    for name, ids in (("label", label), ("prediction", prediction)):
        Image.fromarray(ids).save(tmp_path / f"{name}.png")
    cv2.imwrite(str(tmp_path / "image.png"), np.full((40, 900, 3), 100, np.uint8))
    return tmp_path


def test_pictures_show_what_they_say(pair):
    out = [pair / f"{name}.jpg" for name in ("input", "labelled", "predicted", "wrong")]
    image, label = PAINTER.draw_label(pair / "image.png", pair / "label.png", out[:2])
    PAINTER.draw_prediction(image, label, pair / "prediction.png", out[2:])
    shown, labelled, predicted, wrong = (cv2.imread(str(path)).astype(int) for path in out)
    assert shown.shape == (21, 480, 3)
    assert abs(shown - 100).max() <= 3
    red = labelled[..., 2] - labelled[..., 1]
    assert red[:, 300:400].min() > 100
    assert abs(red[:, :200]).max() < 20
    assert abs(labelled[:, 440:] - 100).max() < 10, "ignored pixels stay the image"
    assert (predicted[..., 2] - predicted[..., 1])[:, 54].min() > 50
    orange = wrong[..., 2] - wrong[..., 0]
    assert orange[:, 54].min() > 80
    assert abs(orange[:, 120:220]).max() < 20
    assert wrong[:, 440:].min() > 150, "unjudged pixels are light, not wrong"


def test_a_camera_s_orientation_turns_no_image_away_from_its_label(pair):
    picture = Image.fromarray(np.repeat(np.arange(900, dtype=np.uint8)[None] // 4, 40, 0))
    picture.getexif()[0x0112] = 3  # upside down
    picture.save(pair / "image.jpg", exif=picture.getexif())
    image, _, _ = PAINTER.show_label(pair / "image.jpg", pair / "label.png")
    assert image[:, 20].max() < image[:, -20].min()


def test_another_size_is_an_error_that_names_the_file(pair):
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(pair / "prediction.png")
    out = [pair / f"{i}.jpg" for i in range(4)]
    image, label = PAINTER.draw_label(pair / "image.png", pair / "label.png", out[:2])
    with pytest.raises(ValueError, match=r"prediction\.png.*its label has"):
        PAINTER.draw_prediction(image, label, pair / "prediction.png", out[2:])


def test_a_broken_image_is_an_error_that_names_the_file(pair):
    (pair / "image.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"image\.png: not a readable image"):
        PAINTER.draw_label(pair / "image.png", pair / "label.png", [pair / "a", pair / "b"])


def test_cells_that_are_tested_on_other_images_share_no_wrong_one(finished, tmp_path):
    """As with ``limit``, where each seed has its own part of the images."""
    manifest = read_manifest(finished.data, "scenes")
    test = collect(finished.plan, finished.results)[0].tests[0]
    whole = Counts.load(test.counts_file)
    shown = set()
    for name, part in (("first", [1, 1, 0, 0]), ("second", [0, 1, 1, 1])):
        counts = whole.subset(part)
        found, _ = overlays.examples(counts, manifest, finished.data / "scenes", test, tmp_path, name)
        shown |= {(example["id"], address) for example in found for _, address in example["pictures"][:2]}
    ids, addresses = zip(*shown, strict=True)
    assert len(set(addresses)) == len(shown) == 2 * len(set(ids)), "one input and one label per image"
    assert len(set(ids)) >= 3

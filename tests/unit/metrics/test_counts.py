import io

import numpy as np
import pytest

from seglib.metrics import scores
from seglib.metrics.confusion import label_pair, region_confusion
from seglib.metrics.counts import VERSION, Counts, Settings, count_image
from tests.unit.metrics.maps import IGNORE, random_pair

SETTINGS = Settings(num_classes=19, boundary_ratio=0.03)


@pytest.fixture(scope="module")
def pairs():
    maps = [
        random_pair(seed, height=30 + seed, width=40, num_classes=19, blob=12, ignore=True)
        for seed in range(6)
    ]
    maps[2] = (np.full_like(maps[2][0], IGNORE), maps[2][1])
    return [label_pair(*pair, num_classes=19, ignore_index=IGNORE) for pair in maps]


@pytest.fixture(scope="module")
def counts(pairs):
    return Counts.collect(SETTINGS, {f"a/{i}": count_image(pair, SETTINGS) for i, pair in enumerate(pairs)})


def assert_same(one, two):
    assert (one.settings, one.images) == (two.settings, two.images)
    for name in ("size", "width", "region", "classes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        assert getattr(two, name).dtype == np.int64


def test_a_saved_file_reads_back_equal(counts, tmp_path):
    counts.save(tmp_path / "counts.npz")
    assert_same(counts, Counts.load(tmp_path / "counts.npz"))


def test_what_is_in_it(counts, pairs):
    np.testing.assert_array_equal(counts.size[4], [34, 40])
    np.testing.assert_array_equal(counts.width, [round(0.03 * np.hypot(30 + i, 40)) for i in range(6)])
    np.testing.assert_array_equal(counts.confusion(), sum(region_confusion(pair) for pair in pairs))
    per_image = counts.per_image()
    np.testing.assert_array_equal(per_image.sum(axis=0), counts.total())
    for pair, table in zip(pairs, per_image, strict=True):
        for c in range(19):
            label, prediction = pair.label == c, pair.prediction == c
            assert table[:3, c].tolist() == [(label & prediction).sum(), label.sum(), prediction.sum()]
    assert not per_image[2].any(), "everything is ignored there"


def test_a_subset_is_as_if_only_its_images_had_been_counted(counts, pairs):
    keep = np.array([True, False, True, False, False, True])
    direct = {f"a/{i}": count_image(pairs[i], SETTINGS) for i in np.flatnonzero(keep)}
    assert_same(counts.subset(keep), Counts.collect(SETTINGS, direct))
    np.testing.assert_array_equal(counts.subset(keep).per_image(), counts.per_image()[keep])


def test_groups_of_classes_equal_relabelled_maps(counts, pairs):
    group_of = np.arange(19) % 4
    merged = np.zeros((4, 4), np.int64)
    for pair in pairs:
        known = pair.label < 19
        np.add.at(merged, (group_of[pair.label[known]], group_of[pair.prediction[known]]), 1)
    right = np.diag(merged)
    iou = scores.grouped_iou(counts.confusion(), [np.flatnonzero(group_of == g) for g in range(4)])
    np.testing.assert_allclose(iou, right / (merged.sum(0) + merged.sum(1) - right))


def rewritten(counts, path, **changes):
    counts.save(path)
    with np.load(path) as file:
        content = dict(file) | changes
    np.savez(path, **{name: value for name, value in content.items() if value is not None})


@pytest.mark.parametrize("version", [VERSION + 1, None])
def test_another_version_is_refused(counts, tmp_path, version):
    rewritten(counts, tmp_path / "counts.npz", version=version)
    with pytest.raises(
        ValueError, match=rf"counts.npz: counts of version .*{version or 'unknown'}.* score again"
    ):
        Counts.load(tmp_path / "counts.npz")


def npy():
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize("content", [b"", b"no numbers", b"PK\x03\x04 cut", npy()])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "counts.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"counts.npz: not a file of counts"):
        Counts.load(path)


def test_a_damaged_file_is_refused(counts, tmp_path):
    """One byte turned over, anywhere."""
    path = tmp_path / "counts.npz"
    counts.save(path)
    whole = path.read_bytes()
    messages = []
    for place in range(0, len(whole), max(1, len(whole) // 200)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            assert Counts.load(path).images == counts.images  # the byte meant nothing, as in a time stamp
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(str(path) in message for message in messages)


@pytest.mark.parametrize("radii", [(), (5, 3), (3, 3), (0, 3)])
def test_radii_have_an_order(radii):
    with pytest.raises(ValueError, match=r"contour_radii_px .* ascending"):
        Settings(num_classes=2, contour_radii_px=radii)


def test_ade20k_takes_a_few_megabytes(tmp_path):
    """2,000 images with 20 classes each of 150."""
    settings = Settings(num_classes=150)
    images = {}
    for i in range(40):
        classes = np.random.default_rng(i).permutation(150)[:20].astype(np.uint8)
        pair = [
            classes[v] for v in random_pair(i, height=128, width=170, num_classes=20, blob=40, ignore=False)
        ]
        images[str(i)] = count_image(label_pair(*pair, num_classes=150, ignore_index=IGNORE), settings)
    Counts.collect(settings, images).save(tmp_path / "counts.npz")
    assert (tmp_path / "counts.npz").stat().st_size * 2000 / 40 < 5e6

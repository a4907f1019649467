import numpy as np
from PIL import Image

from seglib.data.sets.camvid import COMMIT, CamVid


def test_every_file_of_the_release_is_pinned():
    checksums = CamVid().checksums()
    assert len(checksums) == 2 * (367 + 101 + 233) + 3
    assert {path.split("/")[1] for path in checksums} >= {"train", "trainannot", "val", "test", "train.txt"}
    assert all(len(digest) == 64 for digest in checksums.values())
    assert COMMIT in CamVid.SOURCES[0].url


def test_lists_name_paths_of_the_authors_machine():
    line = "/SegNet/CamVid/train/0001TP_006690.png /SegNet/CamVid/trainannot/0001TP_006690.png"
    assert CamVid().listed_id(line) == "0001TP_006690"


def test_void_is_ignored_and_classes_keep_their_order(tmp_path):
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert CamVid().train_ids(tmp_path / "a.png").ravel().tolist() == [*range(11), 255]

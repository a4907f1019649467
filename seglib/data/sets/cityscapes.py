"""Cityscapes: 5,000 street scenes of 2048x1024 from 50 cities, 19 of its 34 classes.

Table, sizes and layout: cityscapesScripts (``helpers/labels.py``, README) by the data set's authors. The
archives need an account; their MD5 sums are those of the download page, as several projects record them.
"""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from seglib.data.label_formats import IGNORE_INDEX
from seglib.data.sets.base import DataSet, Source, Split, class_names, find_ids, hex_colors

IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The ids of the classes that are evaluated, in the order of their train ids."""
TRAIN_IDS = {**{i: i for i in range(len(IDS))}, 255: IGNORE_INDEX}


class Cityscapes(DataSet):
    TITLE = "Cityscapes"
    CLASSES = class_names(
        "road; sidewalk; building; wall; fence; pole; traffic light; traffic sign; vegetation; terrain; sky; "
        "person; rider; car; truck; bus; train; motorcycle; bicycle"
    )
    CATEGORIES = (
        *("flat",) * 2,
        *("construction",) * 3,
        *("object",) * 3,
        *("nature",) * 2,
        "sky",
        *("human",) * 2,
        *("vehicle",) * 6,
    )
    PALETTE = hex_colors(
        "804080 f423e8 464646 66669c be9999 999999 faaa1e dcdc00 6b8e23 98fb98 4682b4 "
        "dc143c ff0000 00008e 000046 003c64 005064 0000e6 770b20"
    )
    LABEL_TABLE: ClassVar = {
        **dict.fromkeys(range(34), IGNORE_INDEX),
        **{id: train_id for train_id, id in enumerate(IDS)},
    }
    SPLITS: ClassVar = {
        split: Split(
            size=size,
            images=f"leftImg8bit/{split}/{{id}}_leftImg8bit.png",
            labels=None if split == "test" else f"gtFine/{split}/{{id}}_gtFine_labelIds.png",
        )
        for split, size in (("train", 2975), ("val", 500), ("test", 1525))
    }
    SOURCES = (
        Source(
            file_name="leftImg8bit_trainvaltest.zip",
            url=None,
            checksum="md5:0a6e97e94b616a514066c9e2adb0c97f",
            size_mib=11_000,
        ),
        Source(
            file_name="gtFine_trainvaltest.zip",
            url=None,
            checksum="md5:4237c19de34c8a376e9ba46b495d6f66",
            size_mib=241,
        ),
    )
    EVALUATION = (
        "val (500 images), or test on the authors' server: the labels of test are withheld, those in the "
        "archive are void. Pixels of the 15 other ids are left out."
    )
    LICENCE = "custom, non-commercial: https://www.cityscapes-dataset.com/license/"
    CITATION = (
        "M. Cordts, M. Omran, S. Ramos, T. Rehfeld, M. Enzweiler, R. Benenson, U. Franke, S. Roth, "
        "B. Schiele: The Cityscapes Dataset for Semantic Urban Scene Understanding. CVPR 2016."
    )
    INSTRUCTIONS = (
        "Register at https://www.cityscapes-dataset.com/register/, then: pip install cityscapesscripts; "
        "csDownload leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip"
    )

    def layout(self, root: Path) -> dict[str, Split]:
        """Uses ``labelTrainIds``, as the authors' tools make them, where there are no ``labelIds``."""
        splits = super().layout(root)
        for name, split in splits.items():
            if split.labels:
                converted = split.labels.replace("labelIds", "labelTrainIds")
                if not find_ids(root, split.labels) and find_ids(root, converted):
                    splits[name] = replace(split, labels=converted)
        return splits

    def label_table(self, path: Path) -> dict[int, int]:
        return TRAIN_IDS if path.name.endswith("_labelTrainIds.png") else self.LABEL_TABLE

"""LIP (Look into Person, single person): 50,462 crops of persons from COCO, 19 parts and background.

Classes, colours and file names: the code of ISNet's and MCIBI's authors (sssegmentation), and of the data
set's (github.com/Engineering-Course/LIP_SSL, ``human_colormap.mat``). The archives lie on a shared drive
without stable addresses or published sums, and two of them hold another archive, which is unpacked as well.
"""

from typing import ClassVar

from seglib.data.sets.base import DataSet, Source, Split, class_names, hex_colors


class LIP(DataSet):
    TITLE = "LIP"
    CLASSES = class_names(
        "background; hat; hair; glove; sunglasses; upper clothes; dress; coat; socks; pants; jumpsuits; "
        "scarf; skirt; face; left arm; right arm; left leg; right leg; left shoe; right shoe"
    )
    PALETTE = hex_colors(
        "000000 800000 ff0000 005500 aa0033 ff5500 000055 0077dd 555500 005555 "
        "553300 345680 008000 0000ff 33aadd 00ffff 55ffaa aaff55 ffff00 ffaa00"
    )
    FLIP_PAIRS = ((14, 15), (16, 17), (18, 19))
    LABEL_TABLE: ClassVar = {i: i for i in range(len(CLASSES))}
    SPLITS: ClassVar = {
        split: Split(
            size=size,
            images=f"{folder}_images/{{id}}.jpg",
            labels=None if split == "test" else f"{folder}_segmentations/{{id}}.png",
        )
        for split, folder, size in (
            ("train", "train", 30_462),
            ("val", "val", 10_000),
            ("test", "testing", 10_000),
        )
    }
    SOURCES = tuple(
        Source(file_name=name, url=None, checksum=None, size_mib=None)
        for name in ("TrainVal_images.zip", "TrainVal_parsing_annotations.zip")
    )
    EVALUATION = (
        "val (10,000 images), all pixels, background counted as a class; the labels of test are withheld."
    )
    LICENCE = (
        "not stated where we could check it: ask at https://lip.sysuhcp.com (the photographs are from COCO)"
    )
    CITATION = (
        "K. Gong, X. Liang, D. Zhang, X. Shen, L. Lin: Look into Person: Self-supervised Structure-sensitive "
        "Learning and a New Benchmark for Human Parsing. CVPR 2017."
    )
    INSTRUCTIONS = (
        "Follow the link to the shared drive at https://lip.sysuhcp.com/overview.php (Single Person). The "
        "images of test are optional: unpack Testing_images.zip and the others into one folder for data_root"
    )

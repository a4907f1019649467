"""BDD100K, the 10k images of its semantic segmentation: 1280x720 street scenes of the USA, 19 classes.

Classes, layout and MD5 sums: the documentation of github.com/bdd100k/bdd100k (``doc/source``). The classes
are those of Cityscapes, and the masks hold train ids.
"""

from typing import ClassVar

from seglib.data.sets.base import DataSet, Source, Split
from seglib.data.sets.cityscapes import TRAIN_IDS, Cityscapes


class BDD100K(DataSet):
    TITLE = "BDD100K"
    CLASSES = Cityscapes.CLASSES
    PALETTE = Cityscapes.PALETTE
    LABEL_TABLE: ClassVar = TRAIN_IDS
    SPLITS: ClassVar = {
        split: Split(
            size=size,
            images=f"images/10k/{split}/{{id}}.jpg",
            labels=None if split == "test" else f"labels/sem_seg/masks/{split}/{{id}}.png",
        )
        for split, size in (("train", 7000), ("val", 1000), ("test", 2000))
    }
    SOURCES = (
        Source(
            file_name="bdd100k_images_10k.zip",
            url=None,
            checksum="md5:08f26aecceda982568063d3d5873378e",
            size_mib=1100,
        ),
        Source(
            file_name="bdd100k_sem_seg_labels_trainval.zip",
            url=None,
            checksum="md5:9a2968dde3345eeb689cffb1e26f9c78",
            size_mib=419,
        ),
    )
    EVALUATION = "val (1,000 images); the labels of test are withheld. Pixels of value 255 are left out."
    LICENCE = "BDD100K licence (research and education): https://doc.bdd100k.com/license.html"
    CITATION = (
        "F. Yu, H. Chen, X. Wang, W. Xian, Y. Chen, F. Liu, V. Madhavan, T. Darrell: BDD100K: A Diverse "
        "Driving Dataset for Heterogeneous Multitask Learning. CVPR 2020."
    )
    INSTRUCTIONS = (
        "Accept the licence and take '10K Images' and 'Semantic Segmentation' from "
        "https://bdd-data.berkeley.edu or https://dl.cv.ethz.ch/bdd100k/data/ (where the images come as "
        "three archives: unpack them and give the folder that holds images and labels as data_root)"
    )

"""COCO-Stuff: photographs of COCO with 80 kinds of things and 91 of stuff; 10,000 images, or all 164,000.

Two readings. Category ids run to 182, but 11 of the 91 things were never annotated: most authors count the
171 classes that occur; ISNet's and MCIBI's (sssegmentation) keep all 182, 11 of which can only be predicted.
The readings share their files: give one's ``data/<set>/raw`` as ``data_root`` of the other.

Ids, names, layouts and licences: github.com/nightrome/cocostuff10k and /cocostuff by the data set's authors.
SHA-256 of COCO's images: TensorFlow Datasets (``url_checksums/coco.txt``). For the two archives of the
University of Edinburgh no sum is published. Colours are our own choice: the bit pattern of PASCAL VOC's
map, which gives each of the 182 ids a colour of its own.
"""

import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np

from seglib.data.label_formats import IGNORE_INDEX
from seglib.data.sets.base import DataSet, Source, Split, class_names

EDINBURGH = "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset"
NAMES = class_names(
    "person; bicycle; car; motorcycle; airplane; bus; train; truck; boat; traffic light; fire hydrant; "
    "street sign; stop sign; parking meter; bench; bird; cat; dog; horse; sheep; cow; elephant; bear; "
    "zebra; giraffe; hat; backpack; umbrella; shoe; eye glasses; handbag; tie; suitcase; frisbee; skis; "
    "snowboard; sports ball; kite; baseball bat; baseball glove; skateboard; surfboard; tennis racket; "
    "bottle; plate; wine glass; cup; fork; knife; spoon; bowl; banana; apple; sandwich; orange; "
    "broccoli; carrot; hot dog; pizza; donut; cake; chair; couch; potted plant; bed; mirror; dining "
    "table; window; desk; toilet; door; tv; laptop; mouse; remote; keyboard; cell phone; microwave; "
    "oven; toaster; sink; refrigerator; blender; book; clock; vase; scissors; teddy bear; hair drier; "
    "toothbrush; hair brush; banner; blanket; branch; bridge; building-other; bush; cabinet; cage; "
    "cardboard; carpet; ceiling-other; ceiling-tile; cloth; clothes; clouds; counter; cupboard; "
    "curtain; desk-stuff; dirt; door-stuff; fence; floor-marble; floor-other; floor-stone; floor-tile; "
    "floor-wood; flower; fog; food-other; fruit; furniture-other; grass; gravel; ground-other; hill; "
    "house; leaves; light; mat; metal; mirror-stuff; moss; mountain; mud; napkin; net; paper; pavement; "
    "pillow; plant-other; plastic; platform; playingfield; railing; railroad; river; road; rock; roof; "
    "rug; salad; sand; sea; shelf; sky-other; skyscraper; snow; solid-other; stairs; stone; straw; "
    "structural-other; table; tent; textile-other; towel; tree; vegetable; wall-brick; wall-concrete; "
    "wall-other; wall-panel; wall-stone; wall-tile; wall-wood; water-other; waterdrops; window-blind; "
    "window-other; wood"
)
"""Names of the category ids 1 to 182."""
DAMAGE = (ValueError, TypeError, KeyError, IndexError, NotImplementedError, OSError)
"""Errors of scipy, beside its own, for truncated files and files of another kind."""
NEVER_ANNOTATED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
ALL_IDS = tuple(range(1, 183))
USED_IDS = tuple(id for id in ALL_IDS if id not in NEVER_ANNOTATED)


def names(ids: tuple[int, ...]) -> tuple[str, ...]:
    """Class names of category ids."""
    return tuple(NAMES[id - 1] for id in ids)


def colors(ids: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    """A colour per id: its bits go to red, green and blue in turn, the lowest to the highest place."""
    return tuple(
        tuple(sum((id >> 3 * k + channel & 1) << 7 - k for k in range(3)) for channel in range(3))
        for id in ids
    )


class CocoStuff10k(DataSet):
    """Version 1.1. The labels are MATLAB files; ``S`` holds category ids, 0 is unlabelled."""

    TITLE = "COCO-Stuff 10k"
    CLASSES = names(USED_IDS)
    PALETTE = colors(USED_IDS)
    LABEL_TABLE: ClassVar = {0: IGNORE_INDEX, **{id: i for i, id in enumerate(USED_IDS)}}
    SPLITS: ClassVar = {
        split: Split(
            size=size,
            images="images/{id}.jpg",
            labels="annotations/{id}.mat",
            list_file=f"imageLists/{split}.txt",
        )
        for split, size in (("train", 9000), ("test", 1000))
    }
    SOURCES = (
        Source(
            file_name="cocostuff-10k-v1.1.zip",
            url=f"{EDINBURGH}/cocostuff-10k-v1.1.zip",
            checksum=None,
            size_mib=2000,
        ),
    )
    EVALUATION = "test (1,000 images, with labels). Unlabelled pixels are left out."
    LICENCE = "images: Flickr terms of use; annotations: CC-BY-4.0"
    CITATION = (
        "H. Caesar, J. Uijlings, V. Ferrari: COCO-Stuff: Thing and Stuff Classes in Context. CVPR 2018."
    )

    def read_label(self, path: Path) -> np.ndarray:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError

        try:
            values = loadmat(path, variable_names=["S"])["S"]
        except FileNotFoundError:
            raise
        except (MatReadError, zlib.error, *DAMAGE) as error:
            raise ValueError(
                f"{path}: not a MATLAB file with a label map S ({error}); put the published file in its place"
            ) from None
        is_map = values.ndim == 2 and values.dtype.kind in "uif"
        if not is_map or (values.astype(np.uint8) != values).any():
            raise ValueError(
                f"{path}: S is no map of whole numbers from 0 to 182; put the published file in its place"
            )
        return values.astype(np.uint8)


class CocoStuff10k182(CocoStuff10k):
    TITLE = "COCO-Stuff 10k (182 classes)"
    READING_OF = "coco_stuff_10k"
    CLASSES = names(ALL_IDS)
    PALETTE = colors(ALL_IDS)
    LABEL_TABLE: ClassVar = {0: IGNORE_INDEX, **{id: id - 1 for id in ALL_IDS}}


class CocoStuff164k(DataSet):
    """The labels are grey PNGs ("stuffthingmaps"): category id - 1, 255 is unlabelled."""

    TITLE = "COCO-Stuff 164k"
    CLASSES = names(USED_IDS)
    PALETTE = colors(USED_IDS)
    LABEL_TABLE: ClassVar = {255: IGNORE_INDEX, **{id - 1: i for i, id in enumerate(USED_IDS)}}
    SPLITS: ClassVar = {
        split: Split(
            size=size, images=f"images/{split}2017/{{id}}.jpg", labels=f"annotations/{split}2017/{{id}}.png"
        )
        for split, size in (("train", 118_287), ("val", 5000))
    }
    SOURCES = (
        Source(
            file_name="train2017.zip",
            url="http://images.cocodataset.org/zips/train2017.zip",
            checksum="sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
            size_mib=18_441,
            into="images/",
        ),
        Source(
            file_name="val2017.zip",
            url="http://images.cocodataset.org/zips/val2017.zip",
            checksum="sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
            size_mib=778,
            into="images/",
        ),
        Source(
            file_name="stuffthingmaps_trainval2017.zip",
            url=f"{EDINBURGH}/stuffthingmaps_trainval2017.zip",
            checksum=None,
            size_mib=659,
            into="annotations/",
        ),
    )
    EVALUATION = "val (5,000 images). Unlabelled pixels are left out."
    LICENCE = CocoStuff10k.LICENCE
    CITATION = CocoStuff10k.CITATION


class CocoStuff164k182(CocoStuff164k):
    TITLE = "COCO-Stuff 164k (182 classes)"
    READING_OF = "coco_stuff_164k"
    CLASSES = names(ALL_IDS)
    PALETTE = colors(ALL_IDS)
    LABEL_TABLE: ClassVar = {255: IGNORE_INDEX, **{id - 1: id - 1 for id in ALL_IDS}}

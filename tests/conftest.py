"""A prepared data set of a few small images, for tests that train or predict.

One thread of arithmetic per process, as each core has a process of its own (``pytest -n``): more wait for one
another. Tests of threads set their number.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported

COLORS = [[60, 60, 60], [220, 40, 40], [40, 40, 220], [40, 200, 60]]
NAMES = ["ground", "left", "right", "pole"]
SIZES_HW = [(40, 52), (48, 36)]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """``made_once(name, make)``: a folder that ``make(folder)`` filled, once for all processes of the run."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def find_or_make(name: str, make: Callable[[Path], None]) -> Path:
        folder, done = base / name, base / f"{name}.done"
        with open(base / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return find_or_make


@pytest.fixture(scope="session")
def miniature(tmp_path_factory) -> Path:
    """10 training and 3 validation images of two sizes; 4 classes, of which 1 and 2 mirror each other."""
    return write_miniature(tmp_path_factory.mktemp("miniature"))


@pytest.fixture
def own_miniature(tmp_path) -> Path:
    """The same, for a test that damages it."""
    return write_miniature(tmp_path / "data")


def write_miniature(folder: Path) -> Path:
    splits = {}
    for split, count in (("train", 10), ("val", 3)):
        entries = [_write_pair(folder, split, index) for index in range(count)]
        splits[split] = entries
    manifest = {
        "schema": 2,
        "dataset": "miniature",
        "classes": [{"name": name, "color": color} for name, color in zip(NAMES, COLORS, strict=True)],
        "flip_pairs": [[1, 2]],
        "ignore_index": 255,
        "splits": splits,
        "label_histogram": {},
        "data_digest": hashlib.sha256(json.dumps(splits).encode()).hexdigest(),
        "software": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return folder


def _write_pair(folder: Path, split: str, index: int) -> dict:
    rng = np.random.default_rng([index, len(split)])
    height, width = SIZES_HW[index % 2]
    label = np.zeros((height, width), np.uint8)
    top, bottom = sorted(rng.integers(4, height - 4, 2))
    label[top : bottom + 6, 2 : width // 3] = 1
    label[top : bottom + 6, -width // 3 : -2] = 2
    label[:, width // 2 : width // 2 + 3] = 3
    image = np.array(COLORS, np.uint8)[label] + rng.integers(0, 30, (height, width, 3), dtype=np.uint8)
    label[:3] = 255
    name = f"{split}_{index}"
    paths = {kind: folder / kind / split / f"{name}.png" for kind in ("images", "labels")}
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(paths["images"])
    picture = Image.fromarray(label)
    picture.putpalette(bytes(np.ravel(COLORS).tolist()).ljust(768, b"\xff"))
    picture.save(paths["labels"])
    return {
        "id": name,
        "image": f"images/{split}/{name}.png",
        "image_sha256": hashlib.sha256(paths["images"].read_bytes()).hexdigest(),
        "label": f"labels/{split}/{name}.png",
        "image_bytes": paths["images"].stat().st_size,
        "label_sha256": hashlib.sha256(label.tobytes()).hexdigest(),
        "label_file_sha256": hashlib.sha256(paths["labels"].read_bytes()).hexdigest(),
        "label_bytes": paths["labels"].stat().st_size,
        "height": height,
        "width": width,
    }


@pytest.fixture
def deterministic():
    import torch  # after OMP_NUM_THREADS is set

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)

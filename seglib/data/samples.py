"""Prepared images and labels as training and inference see them: decoded, checked, loaded ahead of need.

Every file is compared with the manifest's checksum as it is read (1-5 % of the decoding time), so that
no pixel that ``prepare`` did not see is ever trained or tested on.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from PIL import Image

from seglib.data.manifest import Sample

T = TypeVar("T")
R = TypeVar("R")

# Images are read in parallel; threads within one image would only compete with them.
cv2.setNumThreads(0)


def read_image(sample: Sample) -> np.ndarray:
    """The image as RGB uint8 (H, W, 3). ``ValueError`` when it is missing, damaged or another one."""
    data = _read(sample.image)
    _check(hashlib.sha256(data).hexdigest() == sample.image_sha256, sample.image)
    # Labels know nothing of a camera's orientation tag.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    _check(image is not None and image.shape[:2] == (sample.height, sample.width), sample.image)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_label(sample: Sample) -> np.ndarray:
    """The label map as uint8 (H, W). ``ValueError`` when it is missing, damaged or not the prepared one."""
    data = _read(sample.label)
    _check(hashlib.sha256(data).hexdigest() == sample.label_sha256, sample.label)
    with Image.open(BytesIO(data)) as file:  # OpenCV would replace the ids of a palette image by colours
        return np.array(file)


def load_ahead(load: Callable[[T], R], items: Iterable[T], *, workers: int) -> Iterator[R]:
    """Yield ``load(item)`` in the order of ``items``, computed by ``workers`` threads ahead of need.

    Decoding and resizing release Python's lock, so threads do the work of processes, without their
    copies and their start. At most ``workers + 1`` results wait. An error of ``load`` is raised
    where its result is due. With 0 workers each result is computed where it is due.
    """
    if workers == 0:
        yield from map(load, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="load")
    waiting = deque()
    try:
        for item in items:
            waiting.append(pool.submit(load, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: restore it, or prepare the data set again") from None


def _check(same: bool, path: Path) -> None:
    if not same:
        raise ValueError(
            f"{path} is not the file that was prepared (damaged or replaced): restore it, or prepare the "
            "data set again"
        )

"""A cache of decoded images and labels, in memory or on disk.

A set that fits is kept in memory. Larger ones have the setting ``cache: uint8``: a file per pair with the
bytes of its pixels, mapped into memory when read, so that a crop costs what it shows. Files are named
by the content of the pair and by the decoder, are written as training first meets a pair, by all loading
threads at once, and are checked when a process first reads them. A damaged or missing one is made anew: no
result depends on this folder, and it may be deleted at any time.

Legend: ``H, W`` size of an image. A file holds H*W*3 bytes of RGB, H*W of ids, and the SHA-256 of these.
"""

import functools
import hashlib
import inspect
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import PIL

from seglib.core.files import atomic_path
from seglib.data.manifest import Sample
from seglib.data.samples import read_image, read_label

MEMORY_BYTES = 2**29
"""A training split that decodes to no more is kept in memory (CamVid: 254 MB)."""
DIGEST_BYTES = hashlib.sha256().digest_size

Pair = tuple[np.ndarray, np.ndarray]
"""RGB (H, W, 3) and ids (H, W), both uint8."""


def pair_reader(samples: Sequence[Sample], folder: Path | None) -> Callable[[int], Pair]:
    """A reader of pairs by their place in ``samples``; ``folder``: of the cache on disk, if one is wanted.

    Raises ``ValueError`` when the disk is too full for it.
    """
    total_bytes = sum(map(_pixel_bytes, samples))
    if total_bytes <= MEMORY_BYTES:
        if folder is not None:
            _say(f"{total_bytes / 2**30:.2f} GiB of pixels are kept in memory; nothing is written")
        return functools.cache(lambda index: decode(samples[index]))
    read = decode if folder is None else PixelCache(folder, samples).read
    return lambda index: read(samples[index])


def decode(sample: Sample) -> Pair:
    return read_image(sample), read_label(sample)


class PixelCache:
    """Pairs on disk below ``folder``; the space that it needs is printed before anything is written."""

    def __init__(self, folder: Path, samples: Sequence[Sample]):
        self.folder = folder / decoder_id()
        self.checked: set[Path] = set()
        self.is_writing = True
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{self.folder}: {error.strerror}; leave the setting cache out") from None
        self._reserve(samples)

    def read(self, sample: Sample) -> Pair:
        """The pixels of a pair, read only; its files are decoded where the cache lacks them."""
        path = self._path(sample)
        pixels = self._map(path, _pixel_bytes(sample))
        if pixels is None:
            pair = decode(sample)
            self._write(path, pair)
            return pair
        height, width = sample.height, sample.width
        colours = 3 * height * width
        return pixels[:colours].reshape(height, width, 3), pixels[colours:].reshape(height, width)

    def _reserve(self, samples: Sequence[Sample]) -> None:
        there = {path.name for path in self.folder.iterdir()}
        missing = [sample for sample in samples if self._path(sample).name not in there]
        total_gib, needed_gib = (
            sum(_pixel_bytes(sample) + DIGEST_BYTES for sample in some) / 2**30 for some in (samples, missing)
        )
        free_gib = shutil.disk_usage(self.folder).free / 2**30
        sizes = (
            f"{total_gib:.2f} GiB, of which {needed_gib:.2f} are still to be written; {free_gib:.2f} are free"
        )
        if needed_gib > free_gib:
            raise ValueError(f"{self.folder}: the cache takes {sizes}; free some, or leave the setting out")
        _say(f"{self.folder} takes {sizes}")

    def _map(self, path: Path, size: int) -> np.ndarray | None:
        """The pixels in a file, (size,) uint8; ``None`` where it is missing or damaged."""
        try:
            if path.stat().st_size != size + DIGEST_BYTES:
                raise ValueError
            content = np.memmap(path, np.uint8, "r").view(np.ndarray)
            pixels = content[:size]
            if path not in self.checked:
                if hashlib.sha256(pixels).digest() != content[size:].tobytes():
                    raise ValueError
                self.checked.add(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            _say(f"{path} is damaged; decoding the image again")
            return None
        return pixels

    def _write(self, path: Path, pair: Pair) -> None:
        if not self.is_writing:
            return
        digest = hashlib.sha256()
        try:
            with atomic_path(path, sync=False) as temporary, open(temporary, "wb") as file:
                for pixels in map(np.ascontiguousarray, pair):
                    file.write(pixels)
                    digest.update(pixels)
                file.write(digest.digest())
        except OSError as error:  # costs time, but changes no result
            self.is_writing = False
            _say(f"{error}; going on without writing more")

    def _path(self, sample: Sample) -> Path:
        key = hashlib.sha256(f"{sample.image_sha256} {sample.label_sha256}".encode()).hexdigest()
        return self.folder / f"{key[:40]}.u8"


@functools.cache
def decoder_id() -> str:
    """A digest of the decoders: other builds of a JPEG decoder may round otherwise."""
    parts = (cv2.getBuildInformation(), PIL.__version__, *map(inspect.getsource, (read_image, read_label)))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _pixel_bytes(sample: Sample) -> int:
    return 4 * sample.height * sample.width


def _say(line: str) -> None:
    print(f"cache: {line}", file=sys.stderr, flush=True)

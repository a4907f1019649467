"""Label maps and overlays of a user's own images: ``seglib predict --cell DIR --images DIR|FILE --out DIR``.

Needs the trained cell's folder and nothing else: classes, colours and mirrored pairs come from the table of
its data set. An image is read as a viewer would show it: turned upright (EXIF), grey and palette
images as RGB, 16 bits as 8, transparency dropped. One that cannot be read is named and left out, and the run
ends with an error after all others are done.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from seglib.core import provenance, registry
from seglib.core.files import atomic_path
from seglib.core.progress import track
from seglib.data.painting import blend
from seglib.data.samples import load_ahead
from seglib.evaluation.predict import describe_origin, load_segmentor, predict, read_cell, write_label_map
from seglib.experiment import records
from seglib.experiment.recipe import Protocol
from seglib.experiment.records import OwnPrediction
from seglib.numerics.devices import choose_device, set_arithmetic

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the transposition that turns the image upright."""


def run(*, model: Path, images: Path, protocol: Protocol, out: Path, device: str, workers: int) -> None:
    """Write ``out/labels/<name>.png`` (palette PNG, class ids, image size) and ``out/overlays/<name>.png``.

    ``images``: one file, or a folder whose images, those of its subfolders too, keep their relative names.
    ``out/prediction.json`` records their origin and the images that could not be read. Files are replaced one
    by one. Raises ``ValueError`` without a model or an image, and at the end if an image was left out.
    """
    cell = read_cell(model)
    if cell.dataset not in registry.DATASETS:
        raise ValueError(f"{model}: trained on {cell.dataset!r}, a data set that this version does not know")
    dataset = registry.resolve(registry.DATASETS[cell.dataset])
    files = find_images(images, out)
    device = choose_device(device)
    set_arithmetic(threads=cell.recipe.threads, deterministic=cell.recipe.deterministic)
    segmentor = load_segmentor(cell, model / "model.safetensors", len(dataset.CLASSES)).to(device)
    origin = describe_origin(cell, model)
    failures: dict[str, str] = {}
    read = load_ahead(_try_to_read, files.values(), workers=workers)
    for (name, path), image in zip(
        files.items(), track(read, total=len(files), what=f"predict {images}"), strict=True
    ):
        try:
            if isinstance(image, ValueError):
                raise image
            labels = predict(segmentor, image, protocol=protocol, flip_pairs=dataset.FLIP_PAIRS)
        except ValueError as error:  # unreadable, or too large for the memory
            failures[str(path)] = str(error)
            print(f"seglib predict: left out {path}: {error}", file=sys.stderr, flush=True)
            continue
        with atomic_path(out / "labels" / f"{name}.png") as temporary:
            write_label_map(temporary, labels, dataset.PALETTE)
        with atomic_path(out / "overlays" / f"{name}.png") as temporary:
            Image.fromarray(blend(image, labels, dataset.PALETTE)).save(temporary, format="PNG")
    record = OwnPrediction(
        **origin,
        protocol=protocol,
        classes=dataset.CLASSES,
        num_images=len(files) - len(failures),
        failures=failures,
        device=device.type,
        finished=provenance.now(),
    )
    records.write(out / "prediction.json", record)
    if failures:
        raise ValueError(
            f"{len(failures)} of {len(files)} images were left out, {next(iter(failures))} the first; "
            f"{out}/prediction.json says why"
        )


def find_images(images: Path, out: Path) -> dict[str, Path]:
    """Name -> file. A name is the path below the folder ``images``, without its extension unless two
    names would be equal. Files that an earlier run wrote into ``out`` are left out, and so never replaced
    by their own prediction. ``ValueError`` if there is no image.
    """
    results = tuple((out / folder).resolve() for folder in ("labels", "overlays"))
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    if images.is_file():
        root, candidates = images.parent, [images]
    elif images.is_dir():
        root = images
        candidates = [path for path in sorted(images.rglob("*")) if path.suffix.lower() in known]
    else:
        raise ValueError(f"{images} does not exist: give an image, or a folder of images")
    found = [
        path
        for path in candidates
        if path.is_file()
        and not path.name.startswith(".")
        and not any(path.resolve().is_relative_to(folder) for folder in results)
    ]
    if not found:
        raise ValueError(f"{images}: holds no image, other than what lies in {out}")
    taken = Counter([*found, *(path.with_suffix("") for path in found)])
    names = (path if taken[path.with_suffix("")] > 1 else path.with_suffix("") for path in found)
    return {name.relative_to(root).as_posix(): path for name, path in zip(names, found, strict=True)}


def read_own_image(path: Path) -> np.ndarray:
    """An image file as RGB (H, W, 3) uint8, upright. ``ValueError`` that says why it cannot be read."""
    try:
        with Image.open(path) as file:
            # Not ImageOps.exif_transpose: it writes all tags anew, and fails on one that is wrong.
            turn = UPRIGHT.get(file.getexif().get(ExifTags.Base.Orientation))
            image = file if turn is None else file.transpose(turn)
            if image.mode.startswith("I;16"):
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            elif image.mode in ("I", "F"):
                raise ValueError(
                    f"holds numbers of 32 bits ({image.mode}), not grey or colour of 8 or 16 bits"
                )
            return np.array(image.convert("RGB"))
    except Exception as error:  # whatever a decoder raises: these files are untrusted
        reason = str(error).replace(f" {str(path)!r}", "")
        raise ValueError(f"not a readable image ({reason})") from None


def _try_to_read(path: Path) -> np.ndarray | ValueError:
    try:
        return read_own_image(path)
    except ValueError as error:
        return error

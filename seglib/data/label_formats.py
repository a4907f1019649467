"""Class ids from label PNGs of all common kinds: palette, grey of any depth, 16 bit."""

from pathlib import Path

import numpy as np
from PIL import Image

IGNORE_INDEX = 255
"""The value of pixels without a class, in prepared labels."""

# Pillow spreads the values of 2- and 4-bit grey over 0..255.
GREY_SPREAD = {"L;2": 85, "L;4": 17}
DTYPES = {"1": np.uint8, "P": np.uint8, "L": np.uint8, "I;16": np.uint16, "I": np.uint16}


def read_label_png(path: Path) -> np.ndarray:
    """The stored values, (H, W) uint8 or uint16: palette indices of a palette PNG, grey values of a grey one.

    Raises ``ValueError`` naming the file when it is no readable PNG or holds colours instead of ids.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            mode, raw_mode = image.mode, image.tile[0][3]
            values = np.asarray(image)
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a readable PNG ({error})") from None
    if mode not in DTYPES:
        raise ValueError(
            f"{path}: holds colours ({mode}), not class ids: write the ids as a grey or palette PNG"
        )
    if raw_mode in GREY_SPREAD:
        values = values // GREY_SPREAD[raw_mode]
    return values.astype(DTYPES[mode], copy=False)

"""Sizes of scaled images: one rule for training and testing."""


def scaled_size(
    hw: tuple[int, int], resize_hw: tuple[int, int] | None, *, scale: float, keep_aspect: bool
) -> tuple[int, int]:
    """Size of an image of size ``hw`` after scaling; scale 1 is ``resize_hw``, or the image's own size.

    With ``keep_aspect`` the image becomes as large as fits the longer and the shorter side of
    ``resize_hw``, in any orientation: (512, 2048) means "shorter side 512, longer at most 2048".
    Source: sssegmentation, ``Resize``.
    """
    if resize_hw is None:
        factors = (scale, scale)
    elif keep_aspect:
        target = [int(side * scale) for side in resize_hw]
        factors = (min(max(target) / max(hw), min(target) / min(hw)),) * 2
    else:
        factors = [int(side * scale) / own for side, own in zip(resize_hw, hw, strict=True)]
    return tuple(max(1, int(side * factor + 0.5)) for side, factor in zip(hw, factors, strict=True))

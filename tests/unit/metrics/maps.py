"""Label maps for the tests: blobs or noise, any size."""

import numpy as np
from hypothesis import strategies as st

IGNORE = 255


def blobs(rng, height, width, num_classes, blob):
    """Classes in random cells of up to ``blob`` pixels a side, (height, width) int64; 1 gives noise."""
    rows = np.repeat(np.arange(height), rng.integers(1, blob + 1, height))[:height]
    columns = np.repeat(np.arange(width), rng.integers(1, blob + 1, width))[:width]
    return rng.integers(0, num_classes, (height, width))[rows][:, columns]


def random_pair(seed, *, height, width, num_classes, blob, ignore):
    """Label and prediction that agree in part; the label has ignored pixels where ``ignore`` is true."""
    rng = np.random.default_rng(seed)
    label = blobs(rng, height, width, num_classes, blob)
    prediction = np.where(
        blobs(rng, height, width, 3, blob) == 0, blobs(rng, height, width, num_classes, blob), label
    )
    if ignore:
        label = np.where(blobs(rng, height, width, 4, blob) == 0, IGNORE, label)
    return label.astype(np.uint8), prediction.astype(np.uint8)


pairs = st.builds(
    random_pair,
    st.integers(0, 2**32),
    height=st.integers(1, 40),
    width=st.integers(1, 80),
    num_classes=st.shared(st.sampled_from([1, 2, 19, 150, 255]), key="num_classes"),
    blob=st.sampled_from([1, 3, 30]),
    ignore=st.booleans(),
)
num_classes = st.shared(st.sampled_from([1, 2, 19, 150, 255]), key="num_classes")

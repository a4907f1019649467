import numpy as np
import pytest
from scipy import ndimage

from seglib.training.class_uniform import ANYWHERE, class_centres, draw_epoch


@pytest.mark.parametrize("tile", [7, 16, 1000])
def test_centres_are_the_means_of_each_class_in_each_tile(tile):
    label = np.random.default_rng(0).choice(
        np.array([0, 1, 3, 255], np.uint8), (33, 50), p=[0.5, 0.4, 0.05, 0.05]
    )
    label[20:] = 2
    found = class_centres(label, num_classes=5, tile=tile)
    expected = []
    for top in range(0, 33, tile):
        for left in range(0, 50, tile):
            part = label[top : top + tile, left : left + tile]
            for c in range(5):
                if c in part:
                    y, x = ndimage.center_of_mass(part == c)
                    expected.append((c, int(y + 1e-9) + top, int(x + 1e-9) + left))
    assert list(map(tuple, found)) == expected


def test_an_epoch_has_as_many_crops_of_each_class_and_fills_up_with_images():
    # Class 0 in many places, 1 in two, 2 in none.
    centres = [
        np.array([(i, 5, i) for i in range(50)]),
        np.array([(7, 1, 2), (8, 3, 4)]),
        np.empty((0, 3), int),
    ]
    epoch = draw_epoch(40, centres, share=0.4, rng=np.random.default_rng(0))
    assert epoch.shape == (40, 3)
    of_0, of_1 = epoch[epoch[:, 1] == 5], epoch[(epoch[:, 1] == 1) | (epoch[:, 1] == 3)]
    assert len(of_0) == len(of_1) == 5
    assert len(np.unique(of_0, axis=0)) == 5  # none twice while there are others
    assert sorted(np.unique(of_1, axis=0, return_counts=True)[1]) == [2, 3]
    anywhere = epoch[epoch[:, 1] == ANYWHERE, 0]
    assert len(np.unique(anywhere)) == len(anywhere) == 30
    assert not np.array_equal(epoch, draw_epoch(40, centres, share=0.4, rng=np.random.default_rng(1)))

"""Region confusion on the device where the maps are; in its own file so that scoring imports no torch.

``B`` batch, ``H, W`` image size, ``K`` classes.
"""

import torch


def region_confusion(
    labels_BHW: torch.Tensor, predictions_BHW: torch.Tensor, *, num_classes: int, ignore_index: int
) -> torch.Tensor:
    """Pixels of class i predicted as class j, over all maps given: int64 (K, K), row = label.

    Any integer dtype and any number of dimensions. Pixels labelled ``ignore_index`` do not count.
    The sum is one of integers, so it is the same on every device and in every order.

    Raises ``ValueError`` for maps of two shapes, and for values that are no class.
    """
    if labels_BHW.shape != predictions_BHW.shape:
        raise ValueError(f"labels are {tuple(labels_BHW.shape)}, predictions {tuple(predictions_BHW.shape)}")
    labels, predictions = labels_BHW.long(), predictions_BHW.long()
    counted = labels != ignore_index
    inside = (labels >= 0) & (labels < num_classes) & (predictions >= 0) & (predictions < num_classes)
    cells = num_classes**2
    index = torch.where(inside, labels * num_classes + predictions, cells)
    index = torch.where(counted, index, cells + 1)
    counts = torch.bincount(index.flatten(), minlength=cells + 2)
    if counts[cells]:
        raise ValueError(
            f"{int(counts[cells])} pixels hold no class (0..{num_classes - 1}) nor {ignore_index} (ignore)"
        )
    return counts[:cells].view(num_classes, num_classes)

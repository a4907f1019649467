"""CamVid as its authors released it: 701 frames of 960x720 labelled in 32 colours, here merged to 11 classes.

Colours: the authors' ``label_colors.txt``. Merging: as SegNet's authors did (MATLAB's ``camvidPixelLabelIDs``
lists it). Splits: the frames of SegNet's release, by their names. No checksums are published.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np

from seglib.data.label_formats import IGNORE_INDEX
from seglib.data.sets.base import DataSet, Source, Split, open_image
from seglib.data.sets.camvid import CamVid

UCL = "http://web4.cs.ucl.ac.uk/staff/g.brostow/MotionSegRecData"
COLORS = {
    (128, 128, 128): "Sky",
    (0, 128, 64): "Building",  # Bridge
    (128, 0, 0): "Building",
    (64, 192, 0): "Building",  # Wall
    (64, 0, 64): "Building",  # Tunnel
    (192, 0, 128): "Building",  # Archway
    (192, 192, 128): "Pole",  # Column_Pole
    (0, 0, 64): "Pole",  # TrafficCone
    (128, 64, 128): "Road",
    (128, 0, 192): "Road",  # LaneMkgsDriv
    (192, 0, 64): "Road",  # LaneMkgsNonDriv
    (0, 0, 192): "Pavement",  # Sidewalk
    (64, 192, 128): "Pavement",  # ParkingBlock
    (128, 128, 192): "Pavement",  # RoadShoulder
    (128, 128, 0): "Tree",
    (192, 192, 0): "Tree",  # VegetationMisc
    (192, 128, 128): "SignSymbol",
    (128, 128, 64): "SignSymbol",  # Misc_Text
    (0, 64, 64): "SignSymbol",  # TrafficLight
    (64, 64, 128): "Fence",
    (64, 0, 128): "Car",
    (64, 128, 192): "Car",  # SUVPickupTruck
    (192, 128, 192): "Car",  # Truck_Bus
    (192, 64, 128): "Car",  # Train
    (128, 64, 64): "Car",  # OtherMoving
    (64, 64, 0): "Pedestrian",
    (192, 128, 64): "Pedestrian",  # Child
    (64, 0, 192): "Pedestrian",  # CartLuggagePram
    (64, 128, 64): "Pedestrian",  # Animal
    (0, 128, 192): "Bicyclist",
    (192, 0, 192): "Bicyclist",  # MotorcycleScooter
    (0, 0, 0): None,  # Void
}


class CamVidFull(DataSet):
    TITLE = "CamVid 960x720"
    CLASSES = CamVid.CLASSES
    PALETTE = CamVid.PALETTE
    LABEL_TABLE: ClassVar = {
        i: CamVid.CLASSES.index(name) if name else IGNORE_INDEX for i, name in enumerate(COLORS.values())
    }
    """Keys are the places of colours in ``COLORS``."""
    SPLITS: ClassVar = {
        split: Split(
            size=size, images="701_StillsRaw_full/{id}.png", labels="LabeledApproved_full/{id}_L.png"
        )
        for split, size in (("train", 367), ("val", 101), ("test", 233))
    }
    SOURCES = (
        Source(
            file_name="701_StillsRaw_full.zip",
            url=f"{UCL}/files/701_StillsRaw_full.zip",
            checksum=None,
            size_mib=557,
        ),
        Source(
            file_name="LabeledApproved_full.zip",
            url=f"{UCL}/data/LabeledApproved_full.zip",
            checksum=None,
            size_mib=16,
            into="LabeledApproved_full/",
        ),
    )
    EVALUATION = "test (233 images). Void pixels are left out."
    LICENCE = CamVid.LICENCE
    CITATION = (
        "G. J. Brostow, J. Fauqueur, R. Cipolla: Semantic object classes in video: A high-definition ground "
        "truth database. Pattern Recognition Letters 30(2), 2009."
    )

    def listed(self, name: str, root: Path) -> list[str]:
        """The frames that SegNet's release has in the split of that name."""
        paths = [path.split("/") for path in CamVid().checksums()]
        return [path[2].removesuffix(".png") for path in paths if path[1] == name]

    def read_label(self, path: Path) -> np.ndarray:
        """Place of each pixel's colour in ``COLORS``, (H, W) uint8."""
        image = open_image(path.read_bytes(), path)
        if image.mode != "RGB":
            raise ValueError(f"{path}: no colours ({image.mode}); put the published file in its place")
        red, green, blue = np.moveaxis(np.asarray(image, np.uint32), 2, 0)
        values = red << 16 | green << 8 | blue
        known = np.array([int.from_bytes(bytes(color)) for color in COLORS], np.uint32)
        order = known.argsort()
        places = np.searchsorted(known[order], values).clip(max=len(known) - 1)
        ids = order[places].astype(np.uint8)
        if (known[ids] != values).any():
            color = tuple(int(values[known[ids] != values][0]).to_bytes(3))
            raise ValueError(
                f"{path}: colour {color} is none of CamVid's 32; put the published file in its place"
            )
        return ids

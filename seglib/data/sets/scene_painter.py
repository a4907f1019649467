"""Paints the images of the data set ``scenes``: small landscapes whose labels are known exactly.

What makes them hard to segment:

- Tints, exposures and surface colours vary from scene to scene, and overlap.
- Windowed walls look the same below a gable (`house`) and below a flat slab (`tower`).
- Disks look the same on grass (`bush`) and on water (`buoy`).
- Poles are two to five pixels wide, wires one; near things hide far ones; a stain on the lens and the
  bonnet of the car carry no label.

Equal arguments give equal bytes on every machine: integer arithmetic only, and random numbers only
from ``numpy.random.RandomState``, whose stream is frozen. (Own choice throughout.)

Shapes: images (H, W, 3) uint8, labels (H, W) uint8, textures (H, W) int32.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.random import RandomState

CLASSES = (
    "sky",
    "hill",
    "grass",
    "water",
    "road",
    "house",
    "tower",
    "pole",
    "wire",
    "bush",
    "buoy",
)
SKY, HILL, GRASS, WATER, ROAD, HOUSE, TOWER, POLE, WIRE, BUSH, BUOY = range(len(CLASSES))
IGNORE = 255
MIN_HW = (64, 64)

# Mean colour of each surface, and how far each channel strays from it in one scene. Tuned so that the
# best classifier of single colours stays below 0.5 mIoU (a test), while a small network learns fast.
SURFACES = {
    "sky": (150, 170, 200),
    "hill": (130, 115, 130),
    "grass": (110, 150, 80),
    "water": (90, 140, 170),
    "road": (130, 125, 125),
    "gable": (165, 90, 75),
    "slab": (90, 100, 125),
    "wall": (175, 150, 110),
    "disk": (200, 180, 40),
    "post": (70, 65, 60),
}
STRAY = 16


def paint(*, seed: Sequence[int], height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """One scene: image (height, width, 3) uint8 RGB and label (height, width) uint8.

    ``seed``: whole numbers below 2**32; different sequences give unrelated scenes.
    Raises ``ValueError`` below 64 x 64 pixels, where the objects find no place.
    """
    if height < MIN_HW[0] or width < MIN_HW[1]:
        raise ValueError(f"a scene of {height}x{width} is too small: at least {MIN_HW[0]}x{MIN_HW[1]} pixels")
    return _Scene(RandomState(list(seed)), height, width).finish()


class _Scene:
    """A canvas that is painted from back to front."""

    def __init__(self, random: RandomState, height: int, width: int):
        self.random, self.height, self.width = random, height, width
        self.y, self.x = np.mgrid[:height, :width].astype(np.int32)
        self.image = np.zeros((height, width, 3), np.int32)
        self.label = np.full((height, width), SKY, np.uint8)
        self.colour = {
            name: np.array(mean) + self.draw(-STRAY, STRAY + 1, 3) for name, mean in SURFACES.items()
        }
        self.horizon = height * self.draw(38, 52) // 100
        self.landscape()
        if self.draw(0, 4):
            self.road()
        self.ground = self.label.copy()
        for base in sorted(self.draw(self.horizon + 1, self.horizon + height // 8, self.draw(1, 3))):
            self.building(int(base))
        if self.draw(0, 4):
            self.power_line()
        for kind in (GRASS, WATER):
            for _ in range(self.draw(1, 4)):
                self.disk(kind)

    def draw(self, low: int, high: int, size: int | tuple[int, ...] | None = None) -> int | np.ndarray:
        """Whole numbers in ``low..high - 1``."""
        # The type is fixed since the default one, and with it the stream, differs between systems.
        numbers = self.random.randint(low, high, size, dtype=np.int64)
        return int(numbers) if size is None else numbers

    def fill(self, where: np.ndarray, colour: np.ndarray, texture: np.ndarray | int, label: int) -> None:
        """Cover the pixels of the mask ``where``."""
        surface = colour + np.broadcast_to(texture, where.shape)[..., None]
        self.image[where] = surface[where]
        self.label[where] = label

    def noise(self, cell_height: int, cell_width: int, amplitude: int) -> np.ndarray:
        """Bilinear noise in about -amplitude..amplitude with grains of the given size in pixels."""
        rows, columns = self.height // cell_height + 2, self.width // cell_width + 2
        grid = self.draw(-amplitude, amplitude + 1, (rows, columns)).astype(np.int32)
        row, dy = np.divmod(self.y, cell_height)
        column, dx = np.divmod(self.x, cell_width)
        top = grid[row, column] * (cell_width - dx) + grid[row, column + 1] * dx
        bottom = grid[row + 1, column] * (cell_width - dx) + grid[row + 1, column + 1] * dx
        return (top * (cell_height - dy) + bottom * dy) // (cell_height * cell_width)

    def ridge(self, low: int, high: int, step: int) -> np.ndarray:
        """A broken line across the image: one height in ``low..high - 1`` per column."""
        knots = self.draw(low, high, self.width // step + 2).astype(np.int32)
        knot, dx = np.divmod(np.arange(self.width, dtype=np.int32), step)
        return (knots[knot] * (step - dx) + knots[knot + 1] * dx) // step

    def landscape(self) -> None:
        """Sky, hills, and a ground of grass and water that meet at a shore."""
        height, horizon = self.height, self.horizon
        self.fill(self.y >= 0, self.colour["sky"], self.noise(14, 30, 26) - self.y // 3, SKY)
        hills = self.ridge(horizon - height // 4, horizon - height // 16, 23)
        self.fill(self.y >= hills, self.colour["hill"], self.noise(5, 5, 22), HILL)
        on_ground = self.y >= horizon
        self.fill(on_ground, self.colour["grass"], self.noise(4, 1, 26), GRASS)
        shore = self.ridge(horizon, height, 43)
        near_water = self.y >= shore if self.draw(0, 2) else self.y < shore
        self.fill(on_ground & near_water, self.colour["water"], self.noise(1, 9, 26), WATER)

    def road(self) -> None:
        """A strip that narrows towards the horizon, with a dashed middle line."""
        depth = self.y - self.horizon
        length = self.height - self.horizon
        far, near = self.draw(0, self.width, 2)
        middle = far + (near - far) * depth // length
        half_width = 3 + self.draw(20, 36) * self.width // 128 * depth // length
        strip = (depth >= 0) & (abs(self.x - middle) <= half_width)
        dashes = (abs(self.x - middle) <= depth // 24) & (depth * depth // length % 6 < 3)
        self.fill(strip, self.colour["road"], self.noise(1, 1, 16) + 50 * dashes, ROAD)

    def building(self, base: int) -> None:
        """A windowed wall, `house` below a gable and `tower` below a slab, else drawn alike."""
        kind = (HOUSE, TOWER)[self.draw(0, 2)]
        half_width, left = self.draw(14, 22), self.draw(-8, self.width - 20)
        middle = left + half_width
        roof_height = self.draw(12, 17)
        top = max(base - self.draw(18, 34), roof_height + 1)
        across, down = abs(self.x - middle), self.y - top
        wall = (across <= half_width) & (down >= 0) & (self.y <= base)
        windows = ((self.x - left) % 6 < 3) & (down % 7 > 2)
        pane = self.draw(-70, -40) if self.draw(0, 2) else self.draw(40, 70)
        self.fill(wall, self.colour["wall"], self.noise(3, 3, 10) + pane * windows, kind)
        up = -down
        gable = (
            (up > 0) & (up <= roof_height) & (across * roof_height <= (half_width + 3) * (roof_height - up))
        )
        slab = (up > 0) & (up <= roof_height // 2) & (across <= half_width + 3)
        stripes = 14 * ((self.x + self.y) % 4 < 2)
        shape, surface = (gable, "gable") if kind == HOUSE else (slab, "slab")
        self.fill(shape, self.colour[surface], stripes - 7, kind)

    def power_line(self) -> None:
        """Poles of growing height and nearness, and two sagging wires from top to top."""
        count = self.draw(2, 5)
        feet_x = np.sort(self.draw(2, self.width - 2, count))[:: 1 if self.draw(0, 2) else -1]
        shade = self.draw(-30, 30)
        tops = []
        for i, x in enumerate(map(int, feet_x)):
            foot = self.horizon + 4 + (self.height - self.horizon - 6) * i // count
            top = max(2, foot - 22 - 11 * i)
            thick = (self.x >= x) & (self.x <= x + 1 + i)
            self.fill(thick & (self.y >= top) & (self.y <= foot), self.colour["post"], shade, POLE)
            tops.append((x, top))
        for (x0, y0), (x1, y1) in itertools.pairwise(tops):
            for below, sag in ((1, 4), (5, 5)):
                self.wire(x0, y0 + below, x1, y1 + below, sag, shade)

    def wire(self, x0: int, y0: int, x1: int, y1: int, sag: int, shade: int) -> None:
        if x0 > x1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        length = max(1, x1 - x0)
        x = np.arange(x0 + 1, x1)
        y = y0 + ((y1 - y0) * (x - x0) + sag * 4 * (x - x0) * (x1 - x) // length) // length
        where = np.zeros(self.label.shape, bool)
        where[np.clip(y, 0, self.height - 1), x] = True
        self.fill(where & (self.label != POLE), self.colour["post"], shade, WIRE)

    def disk(self, ground: int) -> None:
        """A ringed ball: `bush` where all around it is grass, `buoy` where all is water."""
        for _ in range(12):
            radius = self.draw(9, 17)
            y, x = self.draw(self.horizon, self.height), self.draw(0, self.width)
            square = (self.y - y) ** 2 + (self.x - x) ** 2
            if (self.ground[square <= (radius + 2) ** 2] == ground).all():
                rings = 24 * (square // (radius + 1) % 3) - 20
                label = BUSH if ground == GRASS else BUOY
                self.fill(square <= radius**2, self.colour["disk"], rings - (self.y - y) * 3, label)
                return

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Stain, bonnet, tint, exposure and sensor noise."""
        y, x, radius = self.draw(0, self.height), self.draw(0, self.width), self.draw(5, 12)
        stain = (self.y - y) ** 2 + (self.x - x) ** 2 + 3 * self.noise(6, 6, 12) <= radius**2
        self.fill(stain, self.draw(60, 180, 3), self.noise(2, 2, 12), IGNORE)
        bonnet = self.y >= self.height - self.draw(2, 6) + (2 * self.x - self.width) ** 2 // (9 * self.width)
        self.fill(bonnet, self.draw(20, 120, 3), 0, IGNORE)
        gain = self.draw(84, 117) + self.draw(-5, 6, 3)
        grain = self.draw(-9, 10, self.image.shape)
        image = np.clip(self.image * gain // 100 + grain, 0, 255).astype(np.uint8)
        return image, self.label

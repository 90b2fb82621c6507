"""Images, and the moves that are still to be carried out on them.

The stages of neighbouring spatial operations become one map, so voxels are interpolated once.
Operations whose fill rules differ break the chain; flips, transpositions and crops inside the image
have none and fit in anywhere, and a chain of them alone stays an exact index operation.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine
from ecvl.augment.spatial import Drawn, Scene, Spatial
from ecvl.errors import GeometryError
from ecvl.grids import Grid
from ecvl.image import Image
from ecvl.process.fields import Bend, Field, composed
from ecvl.process.pull import Fill, pull


class Chain:
    """Images that are moved together.

    Args:
        images: images and labels on one grid.

    Attributes:
        images: as far as the moves were carried out.
        bends: those of the moves carried out that no affine holds.
    """

    def __init__(self, images: list[Image]) -> None:
        self.images = images
        self.bends: list[Bend] = []
        self._spatial_axes = min((image.spatial_axes for image in images), key=len)
        self._stages: list[Affine | Field] = []
        self._fills: list[Fill] = []
        self._shape = images[0].grid.shape

    def add(self, operation: Spatial, rng: np.random.Generator) -> dict[str, Any] | None:
        """Take one more operation in, and return what it drew, or `None` if nothing is done."""
        grid = self._grid()
        drawn = operation.draw(rng, Scene(grid, self._spatial_axes, self._find))
        if drawn is None:
            return None
        if operation.interpolates or _reaches_outside(drawn, grid):
            if self._fills and operation.filling not in self._fills:
                self.carry_out()
            self._fills = [operation.filling]
        self._stages.append(drawn.stage)
        if drawn.shape is not None:
            self._shape = drawn.shape
        return drawn.record

    def carry_out(self) -> None:
        """Move the voxels."""
        if not self._stages:
            return
        grid, way = self._grid(), composed(self._stages, self._shape)
        if way.field is not None:
            self.bends.append(Bend(self.images[0].grid, grid, way))
        fill = self._fills[0] if self._fills else None
        self.images = [
            pull(image, grid, way.matrix, fill, field=way.field) for image in self.images
        ]
        self._stages, self._fills = [], []

    def _grid(self) -> Grid:
        affine = self.images[0].affine
        for stage in self._stages:
            if not isinstance(stage, Field):
                affine = affine @ stage
        return Grid(self._shape, affine)

    def _find(
        self, values: tuple[int, ...], rng: np.random.Generator
    ) -> NDArray[np.float64] | None:
        """Return where a voxel of the first labels stands now: one of some values, as x, y, z."""
        labels = next((image for image in self.images if image.kind == "labels"), None)
        if labels is None:
            raise GeometryError("expected labels to crop by, received images only")
        array = labels.array
        found = np.unique(array[np.isin(array, values)] if values else array[array > 0])
        if not found.size:
            return None
        value = found[int(rng.random() * len(found))]
        places = np.flatnonzero(array == value)
        index = np.unravel_index(places[int(rng.random() * len(places))], array.shape)
        here = [
            float(index[labels.axes.index(letter)]) if letter in labels.axes else 0.0
            for letter in "xyz"
        ]
        return np.asarray(composed(self._stages, self._shape).sources([here])[0])


def _reaches_outside(drawn: Drawn, grid: Grid) -> bool:
    """Whether a stage asks for voxels beyond the grid."""
    if drawn.shape is None or isinstance(drawn.stage, Field):
        return False
    corners = np.array([[0, 0, 0, 1], [*(n - 1 for n in drawn.shape[::-1]), 1]], float)
    places = corners @ drawn.stage[:3].T
    return bool((places < -0.5).any() or (places > np.array(grid.shape[::-1]) - 0.5).any())

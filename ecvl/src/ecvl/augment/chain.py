"""Images, and the moves that are still to be carried out on them.

The stages of neighbouring spatial operations become one map, so voxels are interpolated once.
Operations whose fill rules differ break the chain; flips, transpositions and crops inside the image
have none and fit in anywhere, and a chain of them alone stays an exact index operation.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine
from ecvl.augment.spatial import Scene, Sizes, Spatial
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
        self._stages: list[Affine | Field] = []
        self._fills: list[Fill] = []
        self._shape: Sizes | None = None

    def add(self, operation: Spatial, rng: np.random.Generator) -> dict[str, Any] | None:
        """Take one more operation in, and return what it drew, or `None` if nothing is done."""
        grid = self._grid()
        axes = min((image.spatial_axes for image in self.images), key=len)
        drawn = operation.draw(rng, Scene(grid, axes, self._find))
        if drawn is None:
            return None
        if operation.interpolates or drawn.reaches_outside:
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
        grid = self._grid()
        way = composed(self._stages, grid.shape)
        if way.field is not None:
            self.bends.append(Bend(self.images[0].grid, grid, way))
        fill = self._fills[0] if self._fills else None
        self.images = [
            pull(image, grid, way.matrix, fill, field=way.field) for image in self.images
        ]
        self._stages, self._fills, self._shape = [], [], None

    def _grid(self) -> Grid:
        image = self.images[0]
        affine = image.affine
        for stage in self._stages:
            if not isinstance(stage, Field):
                affine = affine @ stage
        return Grid(self._shape or image.grid.shape, affine)

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
        return np.asarray(composed(self._stages, self._grid().shape).sources([here])[0])

"""Images, and the moves that are still to be carried out on them.

The stages of neighbouring spatial operations become one map, so voxels are interpolated once.
Operations whose fill rules differ break the chain; flips, transpositions and crops inside the image
have none and fit in anywhere, and a chain of them alone stays an exact index operation.
"""

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import ORTHOGONAL_TOLERANCE, Affine, non_orthogonality
from ecvl.errors import GeometryError
from ecvl.grids import Grid, Recount, recount_matrix, recounted_twice
from ecvl.image import Image
from ecvl.process.fields import Bend, Field, composed
from ecvl.process.pull import Fill, pull, recounted

Sizes = tuple[int, int, int]
Stage = Affine | Recount | Field


class Chain:
    """Images that are moved together.

    Args:
        images: images and labels on one grid.

    Attributes:
        images: as far as the moves were carried out.
        bends: those of the moves carried out that no affine holds.
    """

    bends: tuple[Bend, ...] = ()
    _stages: tuple[Stage, ...] = ()
    _fills: tuple[Fill, ...] = ()
    _shape: Sizes | None = None
    _grid: Grid | None = None

    def __init__(self, images: list[Image]) -> None:
        self._given = images[0]
        # The range is settled once: what is filled in or rounded on the way must not move it.
        self.images = list(map(Image.settled, images))

    @property
    def grid_shape(self) -> Sizes:
        """The sizes z, y, x after all moves so far."""
        shape = self._shape
        if shape is None:
            shape = self._shape = self.images[0].grid_shape
        return shape

    @property
    def spatial_axes(self) -> str:
        """Those that all of the images have: "yx" or "zyx"."""
        for image in self.images:
            if "z" not in image.axes:
                return "yx"
        return "zyx"

    @property
    def grid(self) -> Grid:
        """Where the voxels stand after all moves so far."""
        if self._grid is None:
            affine = self.images[0].affine
            for stage in self._stages:
                if not isinstance(stage, Field):
                    affine = affine @ _matrix(stage)
            self._grid = Grid(self.grid_shape, affine)
        return self._grid

    def require_right_angles(self, name: str) -> None:
        """Refuse what measures in mm along axes where they stood at other angles when given."""
        if non_orthogonality(self._given.affine) > ORTHOGONAL_TOLERANCE:
            raise GeometryError(
                f"{name} needs voxel axes at right angles, received a sheared affine (a tilted "
                "series); put it on a straight grid with ecvl.resample(image, like=...) first"
            )

    def add(self, stage: Stage, shape: Sizes | None, fills: tuple[Fill, ...]) -> None:
        """Take one more move in.

        Args:
            stage: from new voxel indices to old ones.
            shape: the new sizes z, y, x; `None` keeps them.
            fills: how to fill where the image does not reach, or nothing where it always does.
        """
        if fills:
            if self._fills and fills[0] not in self._fills:
                self.carry_out()
            self._fills = fills
        self._stages += (stage,)
        self._grid = None
        if shape is not None:
            self._shape = shape

    def carry_out(self) -> None:
        """Move the voxels."""
        stages = self._stages
        if not stages:
            return
        fill = self._fills[0] if self._fills else None
        recount = _one_recount(stages)
        if recount is not None:
            images, shape = self.images, self.grid_shape
            for index, image in enumerate(images):
                images[index] = recounted(image, shape, recount, fill)
        else:
            grid = self.grid
            way = composed(_matrices(stages), grid.shape)
            if way.field is not None:
                self.bends += (Bend(self.images[0].grid, grid, way),)
            self.images = [
                pull(image, grid, way.matrix, fill, field=way.field) for image in self.images
            ]
        self._stages, self._fills, self._shape, self._grid = (), (), None, None

    def find(self, values: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64] | None:
        """Return where a voxel of the first labels stands now, as x, y, z.

        Args:
            values: the labels to pick from; none stands for all above 0.
            rng: what picks one of those that occur, and one of its voxels.
        """
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
        return np.asarray(composed(_matrices(self._stages), self.grid_shape).sources([here])[0])


def _one_recount(stages: tuple[Stage, ...]) -> Recount | None:
    """Return stages as one, if each of them moves whole voxels."""
    result = stages[0]
    if not isinstance(result, tuple):
        return None
    for stage in stages[1:]:
        if not isinstance(stage, tuple):
            return None
        result = recounted_twice(result, stage)
    return result


def _matrix(stage: Affine | Recount) -> Affine:
    return recount_matrix(stage) if isinstance(stage, tuple) else stage


def _matrices(stages: tuple[Stage, ...]) -> list[Affine | Field]:
    return [stage if isinstance(stage, Field) else _matrix(stage) for stage in stages]

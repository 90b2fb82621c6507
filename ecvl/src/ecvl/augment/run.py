"""Carry out augmentations: fuse neighbouring spatial ones, remember what was done.

The matrices of neighbouring spatial operations are multiplied and carried out by one `pull`, so
voxels are interpolated once. Operations whose fill rules differ break the chain; flips have none
and fit in anywhere. A chain of flips alone stays an exact index operation.
"""

from typing import Any

import numpy as np

from ecvl.augment.base import Augmentation, generator
from ecvl.augment.intensity import Intensity
from ecvl.augment.spatial import Spatial
from ecvl.errors import KindError
from ecvl.grids import Grid
from ecvl.image import Image
from ecvl.process.pull import Fill, pull
from ecvl.sample import Sample, require_one_grid


def run(augmentation: Augmentation, given: Any, seed: int, epoch: int, number: int) -> Any:
    """Return a sample, or a tuple of images, after all operations of an augmentation.

    Example:
        >>> from ecvl.augment import Flip
        >>> run(Flip(p=1), (Image(np.array([[1, 2]]), "yx"),), 1, 0, 0)
        (Image(image yx 1×2 int64, spacing 1×1 mm, LAS),)
    """
    if isinstance(given, Sample):
        images = [*given.images.values(), *given.labels.values()]
    else:
        images = list(given)
        require_one_grid(images)
    # The range is settled once: what is filled in or rounded on the way must not move it.
    chain = _Chain(
        [
            image.replace(value_range=image.value_range) if image.kind == "image" else image
            for image in images
        ]
    )
    history: list[dict[str, Any]] = []
    for index, operation in enumerate(augmentation.operations()):
        rng = generator(seed, epoch, number, index)
        if rng.random() >= operation.p:
            continue
        record: dict[str, Any]
        if isinstance(operation, Spatial):
            record = chain.add(operation, rng)
            if not augmentation.fuses:
                chain.carry_out()
        elif isinstance(operation, Intensity):
            chain.carry_out()
            record = _change_intensity(operation, chain.images, rng)
        history.append({"op": type(operation).__name__, **record})
    chain.carry_out()
    if not isinstance(given, Sample):
        return tuple(chain.images)
    count = len(given.images)
    return given.changed(
        dict(zip(given.images, chain.images[:count], strict=True)),
        dict(zip(given.labels, chain.images[count:], strict=True)),
        (*given.history, *history),
    )


class _Chain:
    """Images, and the matrix that is still to be carried out on them."""

    def __init__(self, images: list[Image]) -> None:
        self.images = images
        self._spatial_axes = min((image.spatial_axes for image in images), key=len)
        self._matrix = np.eye(4)
        self._fills: list[Fill] = []
        self._pending = False

    def add(self, operation: Spatial, rng: np.random.Generator) -> dict[str, Any]:
        """Multiply the matrix of one more operation in."""
        if operation.interpolates:
            if self._fills and operation.filling not in self._fills:
                self.carry_out()
            self._fills = [operation.filling]
        matrix, record = operation.draw(rng, self._grid(), self._spatial_axes)
        self._matrix = self._matrix @ matrix
        self._pending = True
        return record

    def carry_out(self) -> None:
        """Move the voxels."""
        if self._pending:
            fill: Fill = self._fills[0] if self._fills else None
            grid = self._grid()
            self.images = [pull(image, grid, self._matrix, fill) for image in self.images]
        self._matrix, self._fills, self._pending = np.eye(4), [], False

    def _grid(self) -> Grid:
        grid = self.images[0].grid
        return Grid(grid.shape, grid.affine @ self._matrix)


def _change_intensity(
    operation: Intensity, images: list[Image], rng: np.random.Generator
) -> dict[str, Any]:
    pictures = [index for index, image in enumerate(images) if image.kind == "image"]
    if not pictures:
        raise KindError(
            f"{type(operation).__name__} changes intensities and takes images, received labels only"
        )
    channels = [
        images[index].shape[images[index].axes.index("c")]
        for index in pictures
        if "c" in images[index].axes
    ]
    amounts = operation.draw(rng, max(channels, default=1))
    for index in pictures:
        low, high = images[index].value_range
        if low < high:
            images[index] = operation.apply(images[index], amounts, rng)
    return amounts

"""Volumes as 2.5-D slices: each sample is a slice with its neighbours as channels.

The volumes are kept as they are and shared; a slice is copied when its sample is loaded, not
before.
"""

from dataclasses import dataclass, field

import numpy as np

from ecvl.dataset.dataset import Dataset
from ecvl.errors import GeometryError, ParameterError
from ecvl.grids import boxed
from ecvl.image import Image, require_kind
from ecvl.sample import Sample, require_one_grid


@dataclass(frozen=True)
class Slice:
    """One slice of a volume, not loaded yet.

    Example:
        >>> item = Slice(Image(np.zeros((3, 2, 2)), "zyx"), None, "a", 0, 1)
        >>> item.load().image.shape
        (3, 2, 2)
    """

    image: Image = field(repr=False)
    labels: Image | None = field(repr=False)
    volume: str
    position: int
    reach: int
    group: str | None = None

    @property
    def id(self) -> str:
        """The volume's name and the slice's number."""
        return f"{self.volume}/{self.position}"

    def load(self) -> Sample:
        """Return the sample: an image "cyx" in float32, and labels "yx"."""
        last = self.image.shape[0] - 1
        around = np.arange(self.position - self.reach, self.position + self.reach + 1)
        channels = self.image.array[np.clip(around, 0, last)].astype(np.float32)
        _, rows, columns = self.image.shape
        box = [(self.position, self.position + 1), (0, rows), (0, columns)]
        affine = boxed(self.image.grid, box).grid.affine
        image = Image(channels, "cyx", affine, value_range=self.image.value_range)
        labels = None
        if self.labels is not None:
            names = self.labels.label_names
            plane = self.labels.array[self.position].copy()
            labels = Image(plane, "yx", affine, "labels", label_names=names)
        return Sample(image, labels, {"position": self.position}, id=self.id, group=self.group)


def slices(
    image: Image,
    labels: Image | None = None,
    neighbours: int = 1,
    *,
    id: str = "volume",
    group: str | None = None,
) -> Dataset:
    """Return the slices of a volume along its z axis as a dataset of 2.5-D samples.

    Slices along z are axial where voxel z runs to the head or the feet: `ecvl.reorient` first. The
    datasets of several volumes are joined with `+`; give each its own `id`.

    Args:
        image: axes "zyx", any type and unit.
        labels: axes "zyx" on the same grid, or `None`.
        neighbours: slices to each side that go along as channels; at the ends the last one repeats.
        id: the volume's name; a sample is called "id/number".
        group: what must not be split, such as a patient; `id` by default.

    Returns:
        A dataset in the order of the slices: images "cyx" float32 with 2 * neighbours + 1 channels
        and the value range of the volume, labels "yx" in their own type.

    Raises:
        GeometryError: the axes are not "zyx" or the grids differ.

    Example:
        >>> scan = Image(np.zeros((5, 4, 4), np.int16), "zyx")
        >>> slices(scan, neighbours=1)[0].image
        Image(image cyx 3×4×4 float32, spacing 1×1 mm, RAS)
    """
    require_kind(image, "image", "slices")
    volumes = [image]
    if labels is not None:
        require_kind(labels, "labels", "slices")
        volumes.append(labels)
    for volume in volumes:
        if volume.axes != "zyx":
            raise GeometryError(f"slices takes axes 'zyx', received {volume.axes!r}")
    require_one_grid(volumes)
    if not isinstance(neighbours, int) or isinstance(neighbours, bool) or neighbours < 0:
        raise ParameterError(
            f"expected neighbours as a whole number from 0, received {neighbours!r}"
        )
    image = image.replace(value_range=image.value_range)
    return Dataset(
        [
            Slice(image, labels, id, position, neighbours, id if group is None else group)
            for position in range(image.shape[0])
        ]
    )

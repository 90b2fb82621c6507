"""The single steps: small frozen objects, each a change of the grid or of what stands on it.

Parameters stand in array order of the spatial axes, as in `ecvl.process`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecvl.affines import Affine, parsed_orientation, voxel_sizes, world_axes
from ecvl.errors import GeometryError, ParameterError
from ecvl.grids import Change, Grid, padded_to_multiple, reoriented, resampled, resized
from ecvl.image import Image
from ecvl.process.dtypes import number_in_type
from ecvl.process.geometry import cropped, padded
from ecvl.process.masks import body_mask
from ecvl.process.pull import Fill, checked_fill
from ecvl.serial import is_number


@dataclass(frozen=True)
class Step:
    """What every step has: a change of the grid, and what stands where the image does not reach."""

    def change(self, grid: Grid, spatial_axes: str) -> Change:
        """Return the new grid and the matrix from its indices to the old ones."""
        raise NotImplementedError

    @property
    def filling(self) -> Fill:
        """What stands beyond the image."""
        return "edge"

    def values(self, image: Image) -> Image:
        """Return an image, never labels, that stands on the new grid with its values changed."""
        return image


@dataclass(frozen=True)
class Reorient(Step):
    """Turn to an orientation, exactly; as `ecvl.reorient`.

    Example:
        >>> import numpy as np
        >>> from ecvl import Image, Steps
        >>> Steps([Reorient("LPS")]).apply(Image(np.zeros((2, 3)), "yx")).orientation
        'LPS'
    """

    orientation: str = "RAS"

    def __post_init__(self) -> None:
        if not isinstance(self.orientation, str):
            raise ParameterError(f"expected an orientation, received {self.orientation!r}")
        parsed_orientation(self.orientation)

    def change(self, grid: Grid, spatial_axes: str) -> Change:
        """Return the turned grid."""
        return reoriented(grid, self.orientation)


@dataclass(frozen=True)
class Resample(Step):
    """Resample to a spacing in mm or to a shape, the field of view kept; as `ecvl.resample`.

    Example:
        >>> import numpy as np
        >>> from ecvl import Image, Steps
        >>> Steps([Resample(spacing=(None, 2, 2))]).apply(Image(np.zeros((3, 4, 4)), "zyx")).shape
        (3, 2, 2)
    """

    spacing: tuple[float | None, ...] | float | None = None
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if (self.spacing is None) == (self.shape is None):
            raise ParameterError("expected exactly one of spacing and shape")
        _store_tuple(self, "spacing")
        _store_tuple(self, "shape")
        for value in _entries(self.spacing):
            if value is not None and not (is_number(value) and value > 0):
                raise ParameterError(f"expected spacing above 0 mm, received {self.spacing!r}")
        if self.shape is not None:
            _require_whole(self.shape, "shape", 1)

    def change(self, grid: Grid, spatial_axes: str) -> Change:
        """Return the resampled grid."""
        if self.shape is not None:
            return resized(grid, _three(self.shape, spatial_axes, "shape", 1))
        return resampled(grid, _three(self.spacing, spatial_axes, "spacing", None))


@dataclass(frozen=True)
class Crop(Step):
    """Cut out a box, half-open (start, stop) along each spatial axis; as `ecvl.crop`.

    Example:
        >>> import numpy as np
        >>> from ecvl import Image, Steps
        >>> Steps([Crop(((0, 2), (1, 3)))]).apply(Image(np.zeros((4, 4)), "yx")).shape
        (2, 2)
    """

    box: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        _store_pairs(self, "box")

    def change(self, grid: Grid, spatial_axes: str) -> Change:
        """Return the grid of the box."""
        return cropped(grid, _three(self.box, spatial_axes, "box", (0, 1)))


@dataclass(frozen=True)
class Pad(Step):
    """Add voxels (before, after) along each spatial axis; as `ecvl.pad`.

    Example:
        >>> import numpy as np
        >>> from ecvl import Image, Steps
        >>> Steps([Pad(((1, 1), (0, 2)))]).apply(Image(np.zeros((4, 4)), "yx")).shape
        (6, 6)
    """

    widths: tuple[tuple[int, int], ...]
    fill: Fill = None

    def __post_init__(self) -> None:
        _store_pairs(self, "widths")
        checked_fill(self.fill)

    @property
    def filling(self) -> Fill:
        """What stands in the new voxels."""
        return self.fill

    def change(self, grid: Grid, spatial_axes: str) -> Change:
        """Return the larger grid."""
        return padded(grid, _three(self.widths, spatial_axes, "widths", (0, 0)))


@dataclass(frozen=True)
class PadToMultiple(Step):
    """Pad evenly until sizes are multiples of a number; as `ecvl.pad_to_multiple`.

    Example:
        >>> import numpy as np
        >>> from ecvl import Image, Steps
        >>> Steps([PadToMultiple(16)]).apply(Image(np.zeros((30, 33)), "yx")).shape
        (32, 48)
    """

    multiple: tuple[int, ...] | int = 16
    fill: Fill = None

    def __post_init__(self) -> None:
        _store_tuple(self, "multiple")
        _require_whole(_entries(self.multiple), "multiple", 1)
        checked_fill(self.fill)

    @property
    def filling(self) -> Fill:
        """What stands in the new voxels."""
        return self.fill

    def change(self, grid: Grid, spatial_axes: str) -> Change:
        """Return the larger grid."""
        return padded_to_multiple(grid, _three(self.multiple, spatial_axes, "multiple", 1))


@dataclass(frozen=True)
class KeepBody(Step):
    """Make air of all that is no patient: the table, cushions, clothes; as `ecvl.body_mask`.

    Tables differ from scanner to scanner, so a model that saw one takes the next for something
    else. Best after `Resample`, since its time grows with the voxels. Labels stay as they are.

    Args:
        lower: the least value of tissue, in HU.
        gap_mm: bridges to other things thinner than this are cut.
        least: regions stay that are at least this part of the largest, such as arms.
        air: what stands where no patient is; where the image's type cannot hold it, its nearest.

    Example:
        >>> import numpy as np
        >>> from ecvl import Image, Steps
        >>> ct = np.full((40, 40), -1000, np.int16)
        >>> ct[5:30, 5:35], ct[35:37] = 40, 300
        >>> np.unique(Steps([KeepBody()]).apply(Image(ct, "yx"))).tolist()
        [-1000, 40]
    """

    lower: float = -300.0
    gap_mm: float = 12.0
    least: float = 0.02
    air: float = -1000.0

    def __post_init__(self) -> None:
        for name in ("lower", "gap_mm", "least", "air"):
            if not is_number(value := getattr(self, name)):
                raise ParameterError(f"expected {name} as a number, received {value!r}")
        if not (0 <= self.gap_mm < 1e4 and 0 < self.least <= 1):
            raise ParameterError(
                "expected gap_mm of 0 to 10,000 and least above 0 and at most 1, received "
                f"{self.gap_mm!r} and {self.least!r}"
            )

    def change(self, grid: Grid, spatial_axes: str) -> Change:
        """Return the grid as it is."""
        return Change(grid, np.eye(4))

    def values(self, image: Image) -> Image:
        """Return the image with air around the patient."""
        upright = image.replace(affine=_upright(image.affine))
        inside = body_mask(upright, self.lower, gap_mm=self.gap_mm, least=self.least).array > 0
        air = number_in_type(self.air, image.dtype)
        return image.with_array(np.where(inside, image.array, air))


STEPS: dict[str, type[Step]] = {
    cls.__name__: cls for cls in (Reorient, Resample, Crop, Pad, PadToMultiple, KeepBody)
}


def _entries(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _store_tuple(step: Step, name: str) -> None:
    value = getattr(step, name)
    if isinstance(value, list | tuple):
        object.__setattr__(step, name, tuple(value))
        if len(value) not in (2, 3):
            raise ParameterError(f"expected {name} for 2 or 3 spatial axes, received {value!r}")


def _store_pairs(step: Step, name: str) -> None:
    value = getattr(step, name)
    if not isinstance(value, list | tuple) or len(value) not in (2, 3):
        raise ParameterError(f"expected {name} as 2 or 3 pairs, received {value!r}")
    for pair in value:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ParameterError(f"expected {name} as pairs of whole numbers, received {value!r}")
        _require_whole(pair, name, 0)
    object.__setattr__(step, name, tuple(tuple(pair) for pair in value))


def _require_whole(values: Sequence[Any], name: str, least: int) -> None:
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1 << 31:
            raise ParameterError(
                f"expected {name} of whole numbers of at least {least}, received {values!r}"
            )


def _upright(affine: Affine) -> Affine:
    """Return the axes at right angles, as long as they are: mm count along the axes themselves."""
    straight = np.eye(4)
    straight[:3, :3] = 0
    sizes = voxel_sizes(affine)
    for axis, (world, sign) in enumerate(world_axes(affine)):
        straight[world, axis] = sign * sizes[axis]
    return straight


def _three(value: Any, spatial_axes: str, name: str, for_z: Any) -> tuple[Any, ...]:
    """Return one entry each for z, y and x; a 2-D image gets `for_z` on its one slice."""
    entries = value if isinstance(value, tuple) else (value,) * len(spatial_axes)
    if len(entries) != len(spatial_axes):
        raise GeometryError(
            f"expected {name} for axes {spatial_axes!r}, received {value!r} of another length"
        )
    return entries if len(entries) == 3 else (for_z, *entries)

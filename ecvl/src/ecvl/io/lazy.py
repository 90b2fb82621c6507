"""An image whose voxels are still in its file.

Held by `tests/ecvl/test_formats_contract.py`: whatever is indexed equals the same part of the image
read whole, for every format.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecvl.affines import Affine, checked_affine
from ecvl.image import Image, Kind
from ecvl.placed import Placed
from ecvl.regions import Box, chosen


class LazyImage(Placed):
    """Geometry and metadata now, voxels when they are indexed: `ecvl.read(path, lazy=True)`.

    Args:
        decode: gives the voxels of a half-open box, one (start, stop) an axis.
        axes, shape, affine, kind, meta, label_names: as of `ecvl.Image`.

    `lazy[40:60]` is the `Image` that `lazy.load()[40:60]` is, and only that much is decoded;
    `np.asarray(lazy)` decodes all. The file has to stay as it is.

    Example:
        >>> import tempfile, ecvl
        >>> path = tempfile.mkdtemp() + "/a.nii"
        >>> _ = ecvl.write(path, Image(np.zeros((8, 3, 4), np.int16), "zyx"))
        >>> lazy = ecvl.read(path, lazy=True)
        >>> lazy, lazy[2:4]
        (LazyImage(image zyx 8×3×4 int16, spacing 1×1×1 mm, RAS),
         Image(image zyx 2×3×4 int16, spacing 1×1×1 mm, RAS))
    """

    def __init__(
        self,
        decode: Callable[[Box], NDArray[Any]],
        axes: str,
        shape: tuple[int, ...],
        affine: ArrayLike,
        kind: Kind = "image",
        meta: Mapping[str, Any] | None = None,
        label_names: Mapping[int, str] | None = None,
    ) -> None:
        self._decode = decode
        self.axes: str = axes
        self.shape: tuple[int, ...] = tuple(shape)
        self.affine: Affine = checked_affine(affine)
        self.affine.flags.writeable = False
        self.kind: Kind = kind
        self.meta: dict[str, Any] = dict(meta or {})
        self.label_names = dict(label_names) if label_names is not None else None
        self._dtype: np.dtype[Any] | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type that voxels are decoded to; a voxel is decoded to see it."""
        if self._dtype is None:
            self._dtype = self._decode(((0, 1),) * self.ndim).dtype
        return self._dtype

    @property
    def time_step(self) -> float | None:
        """Seconds between steps along t, or `None` where that is not known."""
        return self.meta.get("time_step")

    def __getitem__(self, key: Any) -> Image:
        """Decode a part of the image: what `load()[key]` would be.

        Raises:
            GeometryError: as for `Image`.
            FormatError: the file is damaged there.
        """
        region = chosen(key, self.axes, self.shape, self.affine)
        array = self._decode(region.box)
        whole = array.shape == self.shape
        return Image(
            array[region.inner],
            region.axes,
            region.affine,
            self.kind,
            region.meta(self.meta, self.affine, whole),
            self.label_names,
        )

    # Without it Python would walk an image by `image[0]`, `image[1]`, ...
    __iter__ = None

    def load(self) -> Image:
        """Decode all of it."""
        return self[...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.load().array, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return f"LazyImage({self.kind} {self._described() % self.dtype})"


def deferred(image: Image) -> LazyImage:
    """Return a decoded image as a lazy one, for formats that can only be decoded whole.

    Example:
        >>> deferred(Image(np.zeros((2, 2)), "yx")).load().shape
        (2, 2)
    """
    return LazyImage(
        lambda box: image.array[tuple(slice(*ends) for ends in box)],
        image.axes,
        image.shape,
        image.affine,
        image.kind,
        image.meta,
        image.label_names,
    )

"""The image: an array with named axes that knows where it stands in the patient.

* The array is in C order; `np.asarray(image)` and DLPack share its memory.
* Axis letters name storage order over `n c t z y x`, spatial ones in the order z, y, x.
* `affine` is the only truth about geometry; spacing and orientation are derived from it.
* Images are not changed in place by anything in ecvl; `replace` gives a new one.

Held by `tests/ecvl/test_image.py`.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecvl.affines import Affine, checked_affine
from ecvl.errors import GeometryError, KindError, ParameterError
from ecvl.grids import Recount, recount_matrix
from ecvl.placed import Placed
from ecvl.regions import chosen

Kind = Literal["image", "labels"]
AXIS_LETTERS = "nctzyx"


class Image(Placed):
    """An array of pixels or labels with named axes, geometry and metadata.

    Args:
        array: anything NumPy can read, or a host tensor with DLPack. Used as it is where it is in C
            order and native byte order, else copied once. `bool` becomes `uint8`.
        axes: one letter a dimension, over `n c t z y x`, with y and x, and z before y before x.
        affine: 4x4, voxel x, y, z to RAS+ mm, whatever the array's order; the identity by default.
        kind: "image", or "labels" for integers that are names of regions.
        meta: a plain mapping with `source`, `common`, `slices` and `time_step` (seconds); it stays
            in the object.
        label_names: label value to name; for labels only.
        value_range: the (low, high) that intensity operations and drawing work over; 0 to 255 for
            `uint8`, else the data's own by default.

    Raises:
        GeometryError: axes, shape or affine do not fit together.
        KindError: the data type is neither integer nor real, or labels are not integers.

    Example:
        >>> import numpy as np
        >>> image = Image(np.zeros((3, 4, 5), np.int16), axes="zyx", affine=np.diag([1, 2, 3, 1]))
        >>> image
        Image(image zyx 3×4×5 int16, spacing 3×2×1 mm, RAS)
        >>> np.asarray(image) is image.array
        True
    """

    __slots__ = (
        "_affine",
        "_array",
        "_axes",
        "_given_range",
        "_kind",
        "_label_names",
        "_own_range",
        "meta",
    )

    def __init__(
        self,
        array: ArrayLike | Any,
        axes: str = "yxc",
        affine: ArrayLike | None = None,
        kind: Kind = "image",
        meta: Mapping[str, Any] | None = None,
        label_names: Mapping[int, str] | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        if kind not in ("image", "labels"):
            raise ParameterError(f"expected kind 'image' or 'labels', received {kind!r}")
        self._array = _checked_array(array, kind)
        self._axes = _checked_axes(axes, self._array.shape)
        # Or an affine and a recount, whose product is made when it is asked for.
        self._affine: Affine | tuple[Affine, Recount] = _frozen(checked_affine(affine))
        self._kind: Kind = kind
        self.meta: dict[str, Any] = dict(meta or {})
        if label_names is not None and kind != "labels":
            raise KindError("expected label_names only with kind='labels', received kind='image'")
        self._label_names = dict(label_names) if label_names is not None else None
        self._given_range = _checked_range(value_range)
        self._own_range: tuple[float, float] | None = None

    @property
    def array(self) -> NDArray[Any]:
        """The pixels, in C order; not a copy."""
        return self._array

    @property
    def axes(self) -> str:
        """One letter a dimension, such as "zyx"."""
        return self._axes

    @property
    def affine(self) -> Affine:
        """4x4 from voxel x, y, z to RAS+ mm; read-only."""
        affine = self._affine
        if isinstance(affine, tuple):
            before, recount = affine
            affine = self._affine = _frozen(before @ recount_matrix(recount))
        return affine

    @property
    def kind(self) -> Kind:
        """Either "image" or "labels"."""
        return self._kind

    @property
    def label_names(self) -> dict[int, str] | None:
        """Label value to name, or `None`."""
        return self._label_names

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape, in the order of `axes`."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The array's data type."""
        return self._array.dtype

    @property
    def time_step(self) -> float | None:
        """Seconds between steps along t, or `None` where that is not known."""
        return self.meta.get("time_step")

    @property
    def value_range(self) -> tuple[float, float]:
        """The (low, high) that intensity operations work over."""
        if self._given_range is not None:
            return self._given_range
        if self._array.dtype.char == "B" and self._kind == "image":
            return 0.0, 255.0
        if self._own_range is None:
            self._own_range = _measured_range(self._array)
        return self._own_range

    def settled(self) -> Self:
        """Return the image with its value range given, so that it stays when pixels change.

        Example:
            >>> import numpy as np
            >>> image = Image(np.array([[3.0, 4.0]]), "yx").settled()
            >>> image.with_array(image.array * 2).value_range
            (3.0, 4.0)
        """
        if self._given_range or self._kind != "image" or self._array.dtype.char == "B":
            return self
        return self.with_array(self._array, value_range=self.value_range)

    def __getitem__(self, key: Any) -> Self:
        """Return a part of the image, with its geometry: `image[10:20, ..., ::-1]`.

        Slices keep an axis; whole numbers drop z, t, c or n; `None` in front makes a 2-D image one
        slice thick. What `meta` holds a slice goes when the grid changes.

        Raises:
            GeometryError: the index is out of range, empty, or drops y or x.

        Example:
            >>> import numpy as np
            >>> image = Image(np.zeros((3, 4, 5)), "zyx", np.diag([1, 2, 3, 1]))
            >>> image[2, 1:], image[2].world((0, 0))
            (Image(image yx 3×5 float64, spacing 2×1 mm, RAS), array([0., 0., 6.]))
        """
        region = chosen(key, self._axes, self.shape, self.affine)
        within = tuple(slice(*ends) for ends in region.box)
        array = self._array[within][region.inner]
        whole = array.shape == self.shape
        meta = region.meta(self.meta, self.affine, whole)
        return self.replace(array=array, axes=region.axes, affine=region.affine, meta=meta)

    # Without it Python would walk an image by `image[0]`, `image[1]`, ...
    __iter__ = None

    def replace(self, **changes: Any) -> Self:
        """Return a new image in which the named constructor arguments are different.

        A measured value range is measured again for a new array; a given one is kept.

        Example:
            >>> import numpy as np
            >>> image = Image(np.zeros((4, 5), np.float32), "yx")
            >>> image.replace(value_range=(0, 1)).value_range
            (0.0, 1.0)
        """
        kept: dict[str, Any] = {
            "array": self._array,
            "axes": self._axes,
            "affine": self.affine,
            "kind": self._kind,
            "meta": self.meta,
            "label_names": self._label_names
            if changes.get("kind", self._kind) == "labels"
            else None,
            "value_range": self._given_range,
        }
        if unknown := sorted(changes.keys() - kept.keys()):
            raise ParameterError(f"expected names among {', '.join(kept)}, received {unknown}")
        return type(self)(**kept | changes)

    def with_array(
        self,
        array: NDArray[Any],
        affine: Affine | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> Self:
        """Return the image with other pixels, and on another grid where an affine is given.

        Quicker than `replace` and `regridded`, for nothing is checked: the array must be in C
        order, in native byte order and of a type that images have, the affine float64 and
        invertible. Its value range is given, or kept where it was given.

        Example:
            >>> import numpy as np
            >>> Image(np.zeros((1, 2)), "yx").with_array(np.ones((1, 2))).array
            array([[1., 1.]])
        """
        meta = dict(self.meta)
        if affine is None:
            return self._made(array, self._affine, meta, value_range)
        meta.pop("slices", None)
        return self._made(array, _frozen(affine), meta, value_range)

    def _made(
        self,
        array: NDArray[Any],
        affine: Affine | tuple[Affine, Recount],
        meta: dict[str, Any],
        value_range: tuple[float, float] | None = None,
    ) -> Self:
        result = object.__new__(type(self))
        result._array = array
        result._axes = self._axes
        result._affine = affine
        result._kind = self._kind
        result._label_names = self._label_names
        result._given_range = value_range or self._given_range
        result._own_range = None
        result.meta = meta
        return result

    def recounted(self, array: NDArray[Any], recount: Recount) -> Self:
        """Return the image with other pixels, which were copied from its own as a recount says.

        As quick as `with_array`: the affine is worked out when it is asked for.

        Example:
            >>> import numpy as np
            >>> image = Image(np.array([[1, 2, 3]]), "yx")
            >>> flip = ((0, -1, 2), (1, 1, 0), (2, 1, 0))
            >>> image.recounted(image.array[:, ::-1].copy(), flip).orientation
            'LAS'
        """
        meta = self.meta.copy()
        if meta:
            meta.pop("slices", None)
        return self._made(array, (self.affine, recount), meta)

    def regridded(self, array: NDArray[Any], affine: Affine) -> Self:
        """Return the image on another grid; what was known of each slice no longer holds and goes.

        Example:
            >>> import numpy as np
            >>> image = Image(np.zeros((2, 2)), "yx", meta={"slices": [{}], "source": {}})
            >>> image.regridded(np.zeros((4, 4)), np.eye(4)).meta
            {'source': {}}
        """
        meta = {key: value for key, value in self.meta.items() if key != "slices"}
        return self.replace(array=array, affine=affine, meta=meta)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._array, dtype=dtype, copy=copy)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        return self._array.__dlpack__(
            stream=stream, max_version=max_version, dl_device=dl_device, copy=copy
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()

    def __repr__(self) -> str:
        return f"Image({self.kind} {self._described() % self.dtype})"


def require_kind(image: Any, kind: Kind | None, function: str) -> None:
    """Refuse what is not an image, or not one of the kind that a function takes.

    Example:
        >>> require_kind(3, None, "window")
        Traceback (most recent call last):
        ecvl.errors.KindError: window takes an ecvl.Image, received int; ...
    """
    if not isinstance(image, Image):
        if isinstance(image, Placed):
            raise KindError(
                f"{function} takes an ecvl.Image, received {type(image).__name__}; decode it or a "
                "part of it first: lazy.load() or lazy[40:60]"
            )
        raise KindError(
            f"{function} takes an ecvl.Image, received {type(image).__name__}; make one with "
            "ecvl.read(path) or ecvl.Image(array, axes=...)"
        )
    if kind is not None and image.kind != kind:
        raise KindError(f"{function} takes kind={kind!r}, received kind={image.kind!r}")


def _frozen(affine: Affine) -> Affine:
    affine.flags.writeable = False
    return affine


def _checked_array(array: Any, kind: Kind) -> NDArray[Any]:
    if not hasattr(array, "__array__") and hasattr(array, "__dlpack__"):
        array = np.from_dlpack(array)
    try:
        found = np.asarray(array)
    except (TypeError, ValueError):
        raise KindError(f"expected an array of numbers, received {type(array).__name__}") from None
    if found.dtype == bool:
        found = found.view(np.uint8)
    if found.dtype.kind not in "iuf" or found.dtype.itemsize > 8:
        raise KindError(
            f"expected integers or real numbers of at most 64 bits, received {found.dtype}; "
            "convert with array.astype"
        )
    if kind == "labels" and found.dtype.kind == "f":
        raise KindError(
            f"expected labels of an integer type, received {found.dtype}; convert with astype, "
            "or say kind='image'"
        )
    if found.ndim and not found.size:
        raise GeometryError(f"expected at least one voxel along each axis, received {found.shape}")
    return np.ascontiguousarray(found, dtype=found.dtype.newbyteorder("="))


def _checked_axes(axes: str, shape: tuple[int, ...]) -> str:
    if not isinstance(axes, str) or len(axes) != len(shape):
        raise GeometryError(
            f"expected one letter of axes a dimension, received axes={axes!r} for shape {shape}; "
            "say for instance axes='zyx'"
        )
    spatial = "".join(letter for letter in axes if letter in "zyx")
    if (
        len(set(axes)) != len(axes)
        or not set(axes) <= set(AXIS_LETTERS)
        or spatial not in ("zyx", "yx")
    ):
        raise GeometryError(
            f"expected different letters over '{AXIS_LETTERS}' with [z]yx in this order, received "
            f"axes={axes!r}; transpose the array (nibabel's x, y, z is array.T with axes='zyx')"
        )
    return axes


def _checked_range(value_range: Any) -> tuple[float, float] | None:
    if value_range is None:
        return None
    try:
        low, high = map(float, value_range)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not (np.isfinite([low, high]).all() and low <= high):
        raise ParameterError(f"expected value_range=(low, high), received {value_range!r}")
    return low, high


def _measured_range(array: NDArray[Any]) -> tuple[float, float]:
    low, high = array.min(), array.max()
    if not np.isfinite([low, high]).all():
        finite = array[np.isfinite(array)]
        low, high = (finite.min(), finite.max()) if finite.size else (0, 0)
    return float(low), float(high)

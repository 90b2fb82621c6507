"""Augmentations that imitate what goes wrong while an image is acquired.

The value at the low end of the range counts as no signal. What is done along one axis of k-space
is a circular convolution along that axis, and computed as a product with its matrix.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.augment.affine import turned_about
from ecvl.augment.base import drawn
from ecvl.augment.blur import TAKEN
from ecvl.augment.intensity import Amounts, Intensity
from ecvl.augment.randoms import Source
from ecvl.augment.spatial import around_centre, checked_axes, require_axes
from ecvl.errors import ParameterError
from ecvl.image import Image
from ecvl.process.dtypes import in_type, working_type
from ecvl.process.planes import in_planes
from ecvl.process.pull import pull

Array = NDArray[Any]


@dataclass(frozen=True)
class BiasField(Intensity):
    """Multiply by a smooth field, as of an uneven coil: `exp` of a polynomial of the place.

    Places run from -1 to 1 along each spatial axis (Van Leemput et al. 1999).

    Args:
        strength: the range of the greatest coefficient; each is drawn from -strength to strength.
        order: the polynomial's.
        p: the probability.

    Example:
        >>> image = Image(np.full((4, 4), 0.5, np.float32), "yx", value_range=(0, 1))
        >>> bool(np.asarray(BiasField(0.5)(image, seed=1)).std() > 0)
        True
    """

    strength: tuple[float, float] = (0.0, 0.5)
    order: int = 3
    p: float = 1.0

    def __post_init__(self) -> None:
        _require_whole(self.order, "order", 0, 10)
        self._check(strength=0)

    def draw(self, rng: np.random.Generator, channels: int) -> Amounts:
        """Return the coefficients by powers of x, y and z; those without z are drawn first."""
        strength = drawn(rng, self.strength)
        powers = [
            (i, j, k)
            for k, j, i in product(range(self.order + 1), repeat=3)
            if i + j + k <= self.order
        ]
        return {"coefficients": [[*power, drawn(rng, (-strength, strength))] for power in powers]}

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the image in the field."""
        table = np.zeros((self.order + 1,) * 3, np.float32)
        for i, j, k, coefficient in amounts["coefficients"]:
            table[k, j, i] = coefficient
        z, y, x = (
            np.vander(_places(size), self.order + 1, increasing=True).astype(np.float32)
            for size in image.grid.shape
        )
        kind = working_type(image.dtype)
        low, high = image.value_range
        axes = image.axes
        others = [index for index, letter in enumerate(axes) if letter not in "zyx"]
        order = [*(index for index, letter in enumerate(axes) if letter in "zyx"), *others]
        stack = image.array.transpose(order)
        if "z" not in axes:
            stack = stack[None]
        result = np.empty(stack.shape, image.dtype)
        for index, plane in enumerate(stack):
            field = np.exp(y @ np.tensordot(z[index], table, 1) @ x.T)
            field = field.reshape(field.shape + (1,) * len(others))
            values = (plane.astype(kind) - kind(low)) * field
            values += kind(low)
            result[index] = in_type(np.clip(values, low, high, out=values), image.dtype)
        back = result.reshape(image.array.transpose(order).shape).transpose(np.argsort(order))
        return image.with_array(np.ascontiguousarray(back))


@dataclass(frozen=True)
class RicianNoise(Intensity):
    """Add the noise of a magnitude image: `sqrt((value + a) ** 2 + b ** 2)`, a and b Gaussian.

    Args:
        deviation: the range of standard deviations of both, as parts of the value range.
        p: the probability.

    Example:
        >>> image = Image(np.zeros((2, 2), np.float32), "yx", value_range=(0, 1))
        >>> bool((np.asarray(RicianNoise(0.1)(image, seed=1)) > 0).all())
        True
    """

    deviation: tuple[float, float] = (0.0, 0.1)
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check(deviation=0)

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the noisy image."""
        low, high = image.value_range
        kind = working_type(image.dtype)
        deviation = amounts["deviation"] * (high - low)
        first, second = Source(rng), Source(rng)
        result = np.empty_like(image.array)
        flat, out = image.array.reshape(-1), result.reshape(-1)
        parts = (source.normals(flat.size, deviation) for source in (first, second))
        for (place, real), (_, imaginary) in zip(*parts, strict=True):
            signal = flat[place].astype(kind)
            signal -= kind(low)
            signal += real
            signal *= signal
            imaginary *= imaginary
            signal += imaginary
            np.sqrt(signal, out=signal)
            signal += kind(low)
            out[place] = in_type(np.clip(signal, low, high, out=signal), image.dtype)
        return image.with_array(result)


@dataclass(frozen=True)
class Ghosting(Intensity):
    """Repeat the image faintly along one axis: every n-th line of k-space is weakened.

    Args:
        intensity: the range of parts by which lines are weakened.
        ghosts: n, the range of numbers of repetitions along the axis.
        axis: the letter of the phase-encoding axis.
        restore: the part of k-space around its centre that is left alone.
        p: the probability.

    Example:
        >>> image = Image(np.eye(16, dtype=np.float32), "yx")
        >>> bool((np.asarray(Ghosting(0.5, 4)(image, seed=1)) != np.eye(16)).any())
        True
    """

    intensity: tuple[float, float] = (0.3, 0.8)
    ghosts: tuple[int, int] = (4, 10)
    axis: str = "y"
    restore: float = 0.02
    p: float = 1.0

    def __post_init__(self) -> None:
        _store_counts(self, "ghosts", 2, 10_000)
        _check_axis(self.axis)
        if not isinstance(self.restore, int | float) or not 0 <= self.restore <= 1:
            raise ParameterError(f"expected restore from 0 to 1, received {self.restore!r}")
        self._check(intensity=(0, 1))

    def draw(self, rng: np.random.Generator, channels: int) -> Amounts:
        """Return the intensity and the number."""
        ghosts = int(rng.integers(*self.ghosts, endpoint=True))
        return {"intensity": drawn(rng, self.intensity), "ghosts": ghosts}

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the image with its ghosts."""
        require_axes(self.axis, image.spatial_axes, "Ghosting")
        size = image.shape[image.axes.index(self.axis)]
        lines = np.abs(np.fft.fftfreq(size, 1 / size))
        weakened = (lines % amounts["ghosts"] == 0) & (lines > self.restore * size / 2)
        weights = 1 - amounts["intensity"] * weakened
        low, _ = image.value_range
        signal = image.array.astype(working_type(image.dtype)) - low
        ghosted = _along(image, self.axis, [(_circular(weights).real, signal)])
        return _finished(image, np.abs(ghosted) + low)


@dataclass(frozen=True)
class Motion(Intensity):
    """Move the patient while the image is acquired: lines of k-space are taken in turn, some after
    each movement (Shaw et al. 2019). The place during the middle lines is that of the image.

    Args:
        degrees: the range of angles of each movement; with "zyx" about each axis.
        translate: the range of shifts of each movement along each axis, in mm.
        movements: how many.
        axis: the letter of the phase-encoding axis.
        axes: "yx" for movements in the plane, "zyx" for all.
        p: the probability.

    Example:
        >>> image = Image(np.eye(16, dtype=np.float32), "yx")
        >>> bool((np.asarray(Motion()(image, seed=1)) != np.eye(16)).any())
        True
    """

    degrees: tuple[float, float] = (-5.0, 5.0)
    translate: tuple[float, float] = (-5.0, 5.0)
    movements: int = 2
    axis: str = "y"
    axes: str = "yx"
    p: float = 1.0

    def __post_init__(self) -> None:
        _require_whole(self.movements, "movements", 1, 100)
        _check_axis(self.axis)
        if self.axes not in ("yx", "zyx"):
            raise ParameterError(f"expected axes 'yx' or 'zyx', received {self.axes!r}")
        self._check()

    def draw(self, rng: np.random.Generator, channels: int) -> Amounts:
        """Return when and where to."""
        return {
            "times": sorted(rng.random(self.movements).tolist()),
            "degrees": [
                {letter: drawn(rng, self.degrees) for letter in self._turns}
                for _ in range(self.movements)
            ],
            "translate": [
                {letter: drawn(rng, self.translate) for letter in self.axes[::-1]}
                for _ in range(self.movements)
            ],
        }

    @property
    def _turns(self) -> str:
        return "z" if self.axes == "yx" else "zxy"

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the image after the movements."""
        require_axes(self.axes + self.axis, image.spatial_axes, "Motion")
        low, _ = image.value_range
        kind = working_type(image.dtype)
        still = image.replace(array=image.array.astype(kind) - kind(low), value_range=(0, 1))
        poses = [still.array]
        for degrees, shifts in zip(amounts["degrees"], amounts["translate"], strict=True):
            linear = np.eye(3)
            for letter, angle in degrees.items():
                linear = linear @ turned_about(angle, letter)
            shift = np.array([shifts.get(letter, 0.0) for letter in "xyz"])
            matrix = around_centre(linear, image.grid, -linear @ shift)
            poses.append(pull(still, image.grid, matrix, 0.0).array)
        size = image.shape[image.axes.index(self.axis)]
        ends = [0, *(round(time * size) for time in amounts["times"]), size]
        # The patient lies still while the middle of k-space is taken, which says where things are.
        middle = next(i for i in range(len(poses)) if ends[i + 1] > size // 2)
        order = [*range(1, middle + 1), 0, *range(middle + 1, len(poses))]
        parts = []
        for index, pose in enumerate(order):
            lines = np.zeros(size)
            lines[ends[index] : ends[index + 1]] = 1
            if lines.any():
                parts.append((_circular(np.fft.ifftshift(lines)), poses[pose]))
        real = _along(image, self.axis, [(np.real(m), pose) for m, pose in parts])
        imaginary = _along(image, self.axis, [(np.imag(m), pose) for m, pose in parts])
        return _finished(image, np.hypot(real, imaginary) + low)


@dataclass(frozen=True)
class LowResolution(Intensity):
    """Make an image as if its voxels had been larger: means of larger ones, interpolated linearly.

    Args:
        factor: the range of how much larger.
        axes: along these axes; thick slices are "z".
        p: the probability.

    Example:
        >>> image = Image(np.array([[0, 0, 8, 0]] * 4, np.uint8), "yx")
        >>> np.asarray(LowResolution(2, "x")(image, seed=1))[0]
        array([0, 1, 3, 4], dtype=uint8)
    """

    factor: tuple[float, float] = (1.0, 3.0)
    axes: str = "yx"
    p: float = 1.0

    def __post_init__(self) -> None:
        checked_axes(self.axes)
        self._check(factor=(1, 1000))

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the image as of larger voxels."""
        import cv2

        axes, factor = self.axes, amounts["factor"]
        require_axes(axes, image.spatial_axes, "LowResolution")
        z, y, x = depth, height, width = image.grid_shape
        if "z" in axes:
            z = max(1, round(depth / factor))
        if "y" in axes:
            y = max(1, round(height / factor))
        if "x" in axes:
            x = max(1, round(width / factor))
        values = image.array
        if values.dtype.char not in TAKEN:
            values = values.astype(working_type(values.dtype))
        if z < depth:
            values = values.astype(working_type(values.dtype), copy=False)
            values = _along(image, "z", [(_coarser(depth, z), values)])

        def coarse(plane: Array) -> Array:
            small = cv2.resize(plane, (x, y), interpolation=cv2.INTER_AREA)
            return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))

        if y < height or x < width:
            values = in_planes(values, image.axes, coarse)
        elif values is image.array:
            values = values.copy()
        return _finished(image, values)


def _finished(image: Image, values: Array) -> Image:
    if values.dtype.kind == "f":
        np.clip(values, *image.value_range, out=values)
    return image.with_array(in_type(values, image.dtype))


def _places(size: int) -> NDArray[np.float64]:
    """Return where voxels stand from -1 to 1; one alone stands at 0."""
    return np.linspace(-1, 1, size) if size > 1 else np.zeros(1)


def _circular(weights: Array) -> Array:
    """Return the matrix that multiplies the lines of k-space, in the order of `fft`, by weights."""
    kernel = np.fft.ifft(weights)
    size = len(weights)
    return np.asarray(kernel[(np.arange(size)[:, None] - np.arange(size)) % size])


def _along(image: Image, axis: str, parts: list[tuple[Array, Array]]) -> Array:
    """Return the sum of products of matrices with arrays, along an axis of an image."""
    at = image.axes.index(axis)
    total: Any = 0
    for matrix, array in parts:
        fitting = matrix.astype(array.dtype)
        if at == array.ndim - 1:
            moved = array @ fitting.T
        else:
            # The axis as rows, all behind it as columns.
            columns = array.reshape(*array.shape[: at + 1], -1)
            moved = np.matmul(fitting, columns).reshape(array.shape)
        total = total + moved
    return np.asarray(total)


def _coarser(size: int, fewer: int) -> NDArray[np.float64]:
    """Return the matrix that averages `size` voxels to `fewer` and interpolates back."""
    edges = np.linspace(0, size, fewer + 1)
    starts = np.arange(size)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    down = np.maximum(overlap, 0) * (fewer / size)
    places = np.clip((starts + 0.5) * (fewer / size) - 0.5, 0, fewer - 1)
    up = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(fewer)))
    return np.asarray(up @ down)


def _check_axis(axis: Any) -> None:
    if axis not in ("x", "y", "z"):
        raise ParameterError(f"expected axis 'x', 'y' or 'z', received {axis!r}")


def _require_whole(value: Any, name: str, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ParameterError(
            f"expected {name} as a whole number from {least} to {most}, received {value!r}"
        )


def _store_counts(operation: Any, name: str, least: int, most: int) -> None:
    value = getattr(operation, name)
    ends = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(ends) != 2 or ends[0] > ends[1]:
        raise ParameterError(
            f"expected {name} as a number or a range (low, high), received {value!r}"
        )
    for end in ends:
        _require_whole(end, name, least, most)
    object.__setattr__(operation, name, ends)

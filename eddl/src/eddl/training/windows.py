"""Volumes larger than a network takes at once: windows that slide, blended in bounded memory.

Windows are visited plane by plane along the first spatial axis, and what no later window reaches is
finished, reduced and written. So the memory is that of one row of windows, whatever the volume's
length, and each plane is read once. Weights are products of one factor an axis, divided beforehand
by the sum of all windows' factors there: they add up to 1 everywhere, at borders and corners, too,
and no volume of weights is held. `tests/eddl/training/test_windows.py` compares with brute force.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eddl.backends.array.memory import require
from eddl.errors import AttributeValueError, ShapeError, TypeMismatchError
from eddl.graph import Value
from eddl.tensors import as_host_array

Array = np.ndarray[Any, Any]
Reduce = Callable[[Array], Array]
Progress = Callable[[int, int], object]

SPREAD = 1 / 8
"""The standard deviation of Gaussian weights, in windows (Isensee et al. 2021, nnU-Net)."""
PADDINGS = {"zeros": "constant", "edge": "edge"}


@dataclass(frozen=True)
class Axis:
    """The windows along one axis of `size` elements."""

    size: int
    window: int
    starts: tuple[int, ...]
    before: int
    """Elements of padding before the volume, where it is smaller than a window."""
    weights: Array
    """A row of factors for each window; over all windows that reach an element they sum to 1."""

    @property
    def padded(self) -> int:
        """The size with the padding, which is half before and half behind."""
        return max(self.size, self.window)


def windows_along(size: int, window: int, overlap: float, blending: str) -> Axis:
    """As few windows as the overlap allows, spread evenly, the last one at the end.

    >>> windows_along(10, 4, 0.5, "constant").starts
    (0, 2, 4, 6)
    >>> windows_along(3, 4, 0.5, "constant").before
    0
    """
    room = max(size, window) - window
    gaps = math.ceil(room / max(window * (1 - overlap), 1))
    starts = [(2 * room * i + gaps) // (2 * gaps) for i in range(gaps + 1)] if gaps else [0]
    away = np.arange(window) - (window - 1) / 2
    curve = (
        np.ones(window) if blending == "constant" else np.exp(-((away / window / SPREAD) ** 2) / 2)
    )
    total = np.zeros(room + window)
    for start in starts:
        total[start : start + window] += curve
    rows = [curve / total[start : start + window] for start in starts]
    return Axis(size, window, tuple(starts), max(window - size, 0) // 2, np.array(rows, np.float32))


class Sliding:
    """A run over one volume.

    Parameters: `predict`, a function of a batch [N, channels, *window] that gives
    [N, outputs, *window]; `channels`; `axes`, one a spatial axis; the rest as of
    `Model.predict_windows`.
    """

    def __init__(
        self,
        predict: Callable[[Array], Array],
        channels: int,
        axes: Sequence[Axis],
        *,
        batch_size: int,
        padding: str,
        mirror: Sequence[int],
        reduce: Reduce,
    ) -> None:
        self.predict, self.axes, self.reduce = predict, tuple(axes), reduce
        self.padding = PADDINGS[padding]
        counts = range(len(mirror) + 1)
        self.flips = [f for count in counts for f in itertools.combinations(mirror, count)]
        self.window = tuple(axis.window for axis in axes)
        row = (self.window[0], *(axis.padded for axis in axes[1:]))
        wanted = 4 * channels * (math.prod(row) + batch_size * math.prod(self.window))
        require(wanted, f"windows of {self.window} in rows of {row}")
        self._data = np.empty((channels, *row), np.float32)
        self._batch = np.empty((batch_size, channels, *self.window), np.float32)
        self._sums: Array | None = None

    @property
    def count(self) -> int:
        """How many windows there are."""
        return math.prod(len(axis.starts) for axis in self.axes)

    def rows(
        self, read: Callable[[int, int], Array], progress: Progress
    ) -> Iterator[tuple[int, Array]]:
        """Finished planes, reduced, and the index of their first; `read` gives planes
        [channels, planes, ...] of the volume."""
        first, done = self.axes[0], 0
        ends = (*first.starts[1:], first.padded)
        for number, (start, end) in enumerate(zip(first.starts, ends, strict=True)):
            kept = first.starts[number - 1] + first.window - start if number else 0
            self._take(read, start, kept)
            for places in self._groups():
                self._add(places, first.weights[number])
                done += len(places)
                progress(done, self.count)
            lowest = max(start, first.before)
            highest = min(end, first.before + first.size)
            if lowest < highest:
                yield lowest - first.before, self._finished(lowest - start, highest - start)
            self._move(end - start)

    def _take(self, read: Callable[[int, int], Array], start: int, kept: int) -> None:
        """Planes of the volume into the row, but for the first ones, which are there."""
        first = self.axes[0]
        begin, stop = start + kept - first.before, start + first.window - first.before
        planes = read(max(begin, 0), min(stop, first.size))
        widths = [(0, 0), (max(-begin, 0), max(stop - first.size, 0))]
        widths += [(a.before, a.padded - a.size - a.before) for a in self.axes[1:]]
        if any(map(any, widths)):
            planes = np.pad(planes, widths, self.padding)  # type: ignore[call-overload]
        self._data[:, kept:] = planes

    def _groups(self) -> Iterator[tuple[tuple[int, ...], ...]]:
        """The windows of a row (their numbers along each further axis) in batches."""
        places = itertools.product(*(range(len(axis.starts)) for axis in self.axes[1:]))
        while group := tuple(itertools.islice(places, len(self._batch))):
            yield group

    def _part(self, place: Sequence[int]) -> tuple[Any, ...]:
        """Where a window of the row is."""
        return (
            slice(None),
            slice(None),
            *(
                slice(axis.starts[i], axis.starts[i] + axis.window)
                for axis, i in zip(self.axes[1:], place, strict=True)
            ),
        )

    def _add(self, places: Sequence[Sequence[int]], outermost: Array) -> None:
        """Predict windows and add them, weighted, to the sums."""
        for index, place in enumerate(places):
            self._batch[index] = self._data[self._part(place)]
        found = self._predicted(self._batch[: len(places)])
        if self._sums is None:
            shape = (found.shape[1], *self._data.shape[1:])
            require(4 * math.prod(shape), f"{found.shape[1]} outputs of a row of windows")
            self._sums = np.zeros(shape, np.float32)
        for made, place in zip(found, places, strict=True):
            factors = [
                outermost,
                *(a.weights[i] for a, i in zip(self.axes[1:], place, strict=True)),
            ]
            weight = factors[0]
            for factor in factors[1:]:
                weight = weight[..., None] * factor
            self._sums[self._part(place)] += made * weight

    def _predicted(self, batch: Array) -> Array:
        """The mean of the predictions for all reflections, each reflected back."""
        total: Array | None = None
        for flip in self.flips:
            axes = tuple(2 + axis for axis in flip)
            found = self.predict(np.flip(batch, axes))
            if found.shape[:1] + found.shape[2:] != batch.shape[:1] + self.window:
                raise ShapeError(
                    f"predict_windows: the network makes {found.shape} of {batch.shape}, expected "
                    f"an output [{len(batch)}, outputs, {', '.join(map(str, self.window))}]"
                )
            if found.dtype.kind != "f":
                raise TypeMismatchError(
                    f"predict_windows: the network gives elements of type {found.dtype}, expected "
                    "floating scores, which can be blended"
                )
            found = np.flip(found, axes)
            total = found if total is None else total + found
        assert total is not None
        return total if len(self.flips) == 1 else total / np.float32(len(self.flips))

    def _finished(self, begin: int, stop: int) -> Array:
        assert self._sums is not None
        inner = (slice(a.before, a.before + a.size) for a in self.axes[1:])
        return self.reduce(self._sums[(slice(None), slice(begin, stop), *inner)])

    def _move(self, planes: int) -> None:
        """Make room for the next planes: what stays goes to the front."""
        assert self._sums is not None
        left = self._data.shape[1] - planes
        for held in (self._data, self._sums):
            for plane in range(left):  # one by one, since NumPy copies what overlaps twice
                held[:, plane] = held[:, plane + planes]
        self._sums[:, left:] = 0


def run_windows(
    predict: Callable[[Array], Array],
    input: Value,
    volume: Any,
    window: int | Sequence[int] | None,
    *,
    overlap: float | Sequence[float],
    blending: str,
    batch_size: int,
    padding: str,
    mirror: Sequence[int],
    reduce: str | Reduce | None,
    out: Any,
    progress: bool | Progress | None,
) -> Any:
    """`Model.predict_windows` for the network's only input."""
    volume = volume if hasattr(volume, "shape") else as_host_array(volume, what="volume")
    rank, shape = input.rank - 2, tuple(int(size) for size in volume.shape)
    bare = len(shape) == rank
    channels = 1 if bare else shape[0]
    if rank < 1 or len(shape) not in (rank, rank + 1) or input.shape[1] not in (channels, None):
        raise ShapeError(
            f"predict_windows: received a volume of the shape {shape} for the input {input.type}, "
            "expected one sample, [channels, space...], or [space...] where there is one channel"
        )
    if 0 in shape:
        raise ShapeError(f"predict_windows: received a volume of the shape {shape}, without voxels")
    if blending not in ("gaussian", "constant") or padding not in PADDINGS:
        raise AttributeValueError(
            f"predict_windows: received blending={blending!r} and padding={padding!r}, expected "
            f"'gaussian' or 'constant', and one of {list(PADDINGS)}"
        )
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise AttributeValueError(
            f"predict_windows: received batch_size={batch_size!r}, expected at least 1"
        )
    if len({*mirror}) < len(mirror) or not all(m in range(rank) for m in mirror):
        raise AttributeValueError(
            f"predict_windows: received mirror={mirror!r}, expected different spatial axes, from 0 "
            f"to {rank - 1}"
        )
    sizes = _window(input, window)
    overlaps = [overlap] * rank if isinstance(overlap, (int, float)) else list(overlap)
    if len(overlaps) != rank or not all(0 <= o < 1 for o in overlaps):
        raise AttributeValueError(
            f"predict_windows: received overlap={overlap!r}, expected a share from 0 to below 1, "
            f"or one for each of {rank} axes"
        )
    space = shape[-rank:]
    axes = [windows_along(*a, blending) for a in zip(space, sizes, overlaps, strict=True)]
    sliding = Sliding(predict, channels, axes, batch_size=batch_size, padding=padding,
                      mirror=mirror, reduce=_reduction(reduce))  # fmt: skip

    def read(start: int, stop: int) -> Array:
        part = volume[start:stop] if bare else volume[:, start:stop]
        found = as_host_array(part, what="volume")
        return found.reshape(channels, stop - start, *space[1:])

    with _Bar(progress, sliding.count) as advance:
        for start, block in sliding.rows(read, advance):
            before = block.ndim - rank
            if before not in (0, 1) or block.shape[before + 1 :] != space[1:]:
                raise ShapeError(
                    f"predict_windows: reduce gave {block.shape} for planes of {space[1:]}, "
                    "expected [planes, ...] or [anything, planes, ...]"
                )
            whole = (*block.shape[:before], *space)
            if out is None:
                require(math.prod(whole) * block.itemsize, "the result (write it to out=)")
                out = np.empty(whole, block.dtype)
            elif tuple(out.shape) != whole:
                raise ShapeError(
                    f"predict_windows: received an out of the shape {tuple(out.shape)}, expected "
                    f"{whole}"
                )
            out[(slice(None),) * before + (slice(start, start + block.shape[before]),)] = block
    return out


def _window(input: Value, given: int | Sequence[int] | None) -> tuple[int, ...]:
    """The window's sizes: as given, or the input's own where they are fixed."""
    fixed = input.shape[2:]
    sizes: tuple[Any, ...] = fixed
    if given is not None:
        sizes = (given,) * len(fixed) if isinstance(given, int) else tuple(given)
    fits = len(sizes) == len(fixed) and all(
        isinstance(size, (int, np.integer))
        and size > 0
        and (own == size or not isinstance(own, int))
        for size, own in zip(sizes, fixed, strict=True)
    )
    if not fits:
        raise AttributeValueError(
            f"predict_windows: received window={given!r} for the input {input.type}, expected a "
            "size for each spatial axis, the input's own where it is fixed"
        )
    return tuple(int(size) for size in sizes)


def _reduction(given: str | Reduce | None) -> Reduce:
    if given is None:
        return lambda scores: scores
    if given == "labels":
        return labels_of
    if callable(given):
        return given
    raise AttributeValueError(
        f"predict_windows: received reduce={given!r}, expected None, 'labels' or a function"
    )


def labels_of(scores: Array) -> Array:
    """The class of the greatest score along the first axis; of one score, whether it is above 0.5.

    >>> labels_of(np.array([[0.1, 0.7], [0.9, 0.3]])).tolist()
    [1, 0]
    """
    found: Array = np.argmax(scores, axis=0) if len(scores) > 1 else scores[0] > 0.5
    return found.astype(np.min_scalar_type(len(scores) - 1))


class _Bar:
    """Tells how far a run is: to a function, in a bar, or nobody."""

    def __init__(self, progress: bool | Progress | None, total: int) -> None:
        self._tell = progress if callable(progress) else None
        shown = sys.stderr.isatty() if progress is None else progress is True
        self._bar: Any = None
        if shown:
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc="windows", leave=False, unit="window")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        if self._tell is not None:
            self._tell(done, total)

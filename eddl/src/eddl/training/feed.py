"""What a training goes through: arrays, or anything that gives batches.

A batch is an object with `images` and `labels`, or a pair `(inputs, targets)`, each a tensor or,
for models with several, a list or tuple of them. Every kind can be left in the middle of an epoch
and taken up again there: by its own `state_dict`, where it has one, else by going past the batches
that were trained on.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError, ShapeError, StateError, TypeMismatchError
from eddl.tensors import as_host_array
from eddl.training.store import generator

Array = np.ndarray[Any, Any]


class ArrayBatches:
    """Arrays in batches, in an order that depends on seed and epoch alone."""

    def __init__(
        self,
        inputs: Sequence[Array],
        targets: Sequence[Array],
        batch_size: int,
        seed: int = 0,
        *,
        shuffle: bool,
    ) -> None:
        self.inputs, self.targets = inputs, targets
        sizes = {len(array) if array.ndim else 0 for array in (*inputs, *targets)}
        if len(sizes) != 1 or 0 in sizes:
            raise ShapeError(
                f"received arrays of {sorted(sizes)} samples, expected equal numbers above 0"
            )
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise AttributeValueError(
                f"received batch_size={batch_size!r}, expected a whole number of at least 1"
            )
        (self.size,) = sizes
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.epoch = self.position = 0

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        order = np.arange(self.size)
        if self.shuffle:
            order = generator(self.seed, f"epoch {self.epoch}").permutation(self.size)
        for number in range(self.position, len(self)):
            chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
            self.position = number + 1
            yield tuple(a[chosen] for a in self.inputs), tuple(a[chosen] for a in self.targets)
        self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """The epoch, how many of its batches were given, and what the order depends on."""
        return {"epoch": self.epoch, "position": self.position, "seed": self.seed,
                "size": self.size, "batch_size": self.batch_size}  # fmt: skip

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a saved state of the same arrays."""
        own = self.state_dict()
        for name in ("seed", "size", "batch_size"):
            if state.get(name) != own[name]:
                raise StateError(
                    f"the checkpoint was written with {name}={state.get(name)}, received "
                    f"{own[name]}: resume with the arrays and arguments of the first call"
                )
        self.epoch, self.position = int(state["epoch"]), int(state["position"])


class Source:
    """Data as epochs of batches, with a place that can be saved.

    Parameters: `data`, an iterable of batches; `steps`, batches an epoch: the next ones of data
    that is begun again whenever it ends (by default an epoch is one pass); `repeated`, whether
    there will be more than one epoch.
    """

    def __init__(self, data: Any, *, steps: int | None = None, repeated: bool = False) -> None:
        if not hasattr(data, "__iter__"):
            raise TypeMismatchError(
                f"received {type(data).__name__}, expected arrays with targets, or an iterable of "
                "batches"
            )
        if steps is not None and (
            isinstance(steps, bool) or not isinstance(steps, int) or steps < 1
        ):
            raise AttributeValueError(
                f"received steps_per_epoch={steps!r}, expected a whole number of at least 1"
            )
        self._once = isinstance(data, Iterator)
        if repeated and self._once and steps is None:
            raise AttributeValueError(
                f"received a {type(data).__name__}, which can be gone through once, for several "
                "epochs; expected something that begins anew in each, such as a list or an object "
                "with __iter__, or steps_per_epoch for a generator without end"
            )
        self._data, self._steps = data, steps
        self._running: Iterator[Any] | None = None
        self._saves = hasattr(data, "state_dict") and hasattr(data, "load_state_dict")
        self._position = 0  # batches since the data were begun
        self._taken = 0  # batches of this epoch

    def __len__(self) -> int:
        """Batches an epoch; 0 where that is not known."""
        if self._steps is not None:
            return self._steps
        return len(self._data) if hasattr(self._data, "__len__") else 0

    def epoch(self) -> Generator[Any]:
        """The batches of an epoch, or those that are left of it."""
        if self._steps is None:
            self._running = None
        left = itertools.repeat(None) if self._steps is None else range(self._steps - self._taken)
        for _ in left:
            try:
                batch = next(self._begun())
            except StopIteration:
                self._running, self._position = None, 0
                if self._steps is None:
                    break
                batch = self._anew()
            self._position += 1
            self._taken += 1
            yield batch
        self._taken = 0

    def _begun(self) -> Iterator[Any]:
        if self._running is None:
            self._running = iter(self._data)
            if not self._saves:
                for _ in range(self._position):
                    next(self._running, None)
        return self._running

    def _anew(self) -> Any:
        """The first batch of data that had ended."""
        missing = object()
        batch = missing if self._once else next(self._begun(), missing)
        if batch is missing:
            raise ShapeError(
                f"the data ended after {self._taken} of steps_per_epoch={self._steps} batches and "
                "cannot be begun again"
            )
        return batch

    def close(self) -> None:
        """End a pass that was left in the middle: loaders stop their threads."""
        if self._running is not None and not self._once and hasattr(self._running, "close"):
            self._running.close()
        self._running = None

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, after the batch that was given last."""
        inner = dict(self._data.state_dict()) if self._saves else None
        return {"position": self._position, "taken": self._taken, "data": inner}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where another source of the same data stood."""
        if self._saves != (state["data"] is not None):
            raise StateError(
                "the checkpoint was written with other data: resume with the data of the first call"
            )
        if self._saves:
            self._data.load_state_dict(state["data"])
        self._running = None
        self._position, self._taken = int(state["position"]), int(state["taken"])


def batches_of(
    data: Any, targets: Any, batch_size: int, seed: int, *, counts: tuple[int, int], shuffle: bool
) -> Any:
    """What to iterate over: the data itself, or its arrays in batches; `counts`, how many inputs
    and targets a sample has."""
    if targets is None and _is_pair(data, counts[0]):
        data, targets = data
    if targets is None:
        return data
    inputs, labels = (
        [as_host_array(x, what=what) for x in listed(given, count, what)]
        for given, count, what in zip((data, targets), counts, ("inputs", "targets"), strict=True)
    )
    return ArrayBatches(inputs, labels, batch_size, seed, shuffle=shuffle)


def _is_pair(data: Any, inputs: int) -> bool:
    """Whether data are a tuple of arrays and targets, and not one of two batches."""
    if not isinstance(data, tuple) or len(data) != 2 or not _holds_arrays(data[1]):
        return False
    return hasattr(data[0], "shape") or (inputs > 1 and _holds_arrays(data[0]))


def listed(given: Any, count: int, what: str) -> Sequence[Any]:
    """Tensors in a sequence: a model of one input takes one, or a tuple or list with it alone."""
    if count != 1:
        if not isinstance(given, (tuple, list)) or len(given) != count:
            got = len(given) if isinstance(given, (tuple, list)) else type(given).__name__
            raise TypeMismatchError(
                f"{what}: received {got}, expected a tuple or list of {count} tensors"
            )
        return given
    if isinstance(given, (tuple, list)) and len(given) == 1 and _has_axes(given[0]):
        return given
    return (given,)


def unpack(batch: Any, counts: tuple[int, int]) -> tuple[Sequence[Any], Sequence[Any]]:
    """The inputs and targets of a batch."""
    if hasattr(batch, "images") and hasattr(batch, "labels"):
        if batch.labels is None:
            raise TypeMismatchError(
                "received a batch without labels, expected data that have them for all samples"
            )
        batch = (batch.images, batch.labels)
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return listed(batch[0], counts[0], "inputs"), listed(batch[1], counts[1], "targets")
    raise TypeMismatchError(
        f"received a batch of type {type(batch).__name__}, expected an object with images and "
        "labels, or a pair (inputs, targets)"
    )


def _has_axes(value: Any) -> bool:
    return hasattr(value, "shape") and len(value.shape) > 0


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return bool(value) and all(hasattr(item, "shape") for item in value)
    return hasattr(value, "shape")

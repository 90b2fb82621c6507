"""Training and evaluation loops, and what they go through: arrays or batches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eddl.errors import AttributeValueError, ShapeError, TypeMismatchError
from eddl.optimizers import rate_at
from eddl.training.checkpoint import read_checkpoint, write_checkpoint
from eddl.training.interrupt import between_steps
from eddl.training.store import generator

if TYPE_CHECKING:
    from eddl.training.model import Model

Array = np.ndarray[Any, Any]
History = dict[str, list[float]]
"""One list a quantity, one number an epoch."""


class ArrayBatches:
    """Arrays in batches, in an order that depends on seed and epoch alone."""

    def __init__(
        self, inputs: Any, targets: Any, batch_size: int, seed: int = 0, *, shuffle: bool
    ) -> None:
        self.inputs = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
        self.targets = targets
        sizes = {len(array) for array in (*self.inputs, targets)}
        if len(sizes) != 1 or 0 in sizes:
            raise ShapeError(
                f"received arrays of {sorted(sizes)} samples, expected equal numbers above 0"
            )
        if batch_size < 1:
            raise AttributeValueError(f"received batch_size={batch_size}, expected at least 1")
        (self.size,) = sizes
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        order = np.arange(self.size)
        if self.shuffle:
            order = generator(self.seed, f"epoch {self.epoch}").permutation(self.size)
        self.epoch += 1
        for start in range(0, self.size, self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield tuple(array[chosen] for array in self.inputs), self.targets[chosen]

    def state_dict(self) -> dict[str, int]:
        """The epoch that comes next."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on with the epoch of a saved state."""
        self.epoch = int(state["epoch"])


def batches_of(data: Any, targets: Any, batch_size: int, seed: int, *, shuffle: bool) -> Any:
    """What to iterate over: the data itself, or its arrays in batches."""
    if targets is not None:
        return ArrayBatches(data, targets, batch_size, seed, shuffle=shuffle)
    if isinstance(data, tuple) and len(data) == 2 and hasattr(data[1], "shape"):
        return ArrayBatches(*data, batch_size, seed, shuffle=shuffle)
    if not hasattr(data, "__iter__"):
        raise TypeMismatchError(
            f"received {type(data).__name__}, expected arrays with targets, or an iterable of "
            "batches"
        )
    return data


def unpack(batch: Any) -> tuple[Sequence[Any], Any]:
    """The inputs and targets of a batch."""
    if hasattr(batch, "images") and hasattr(batch, "labels"):
        return (batch.images,), batch.labels
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        inputs, targets = batch
        return (inputs if isinstance(inputs, (tuple, list)) else (inputs,)), targets
    raise TypeMismatchError(
        f"received a batch of type {type(batch).__name__}, expected an object with images and "
        "labels, or a pair (inputs, targets)"
    )


class _Mean:
    """The mean of the batches' losses, weighted by their sizes."""

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0

    def add(self, value: float, count: int) -> None:
        self.total += value * count
        self.count += count

    @property
    def value(self) -> float:
        return self.total / self.count if self.count else float("nan")


def run_training(
    model: Model,
    data: Any,
    targets: Any,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    validation: Any,
    callbacks: Sequence[Callable[[int, dict[str, float]], None]],
    checkpoint: str | Path | None,
    resume: bool,
    progress: bool | None,
) -> History:
    """`Model.fit`."""
    source = batches_of(data, targets, batch_size, seed, shuffle=True)
    history: History = {}
    done = 0
    if resume and checkpoint is not None and Path(checkpoint).exists():
        done, history = read_checkpoint(model, checkpoint, source)
    for epoch in range(done, epochs):
        logs = _epoch(model, source, _bar(source, f"epoch {epoch + 1}/{epochs}", progress))
        if validation is not None:
            pair = validation if isinstance(validation, tuple) else (validation, None)
            scores = run_evaluation(model, *pair, batch_size=batch_size)
            logs.update({f"val_{name}": value for name, value in scores.items()})
        for name, value in logs.items():
            history.setdefault(name, []).append(value)
        if checkpoint is not None:
            write_checkpoint(model, checkpoint, epoch + 1, history, source)
        for callback in callbacks:
            callback(epoch, logs)
    return history


def _epoch(model: Model, source: Any, bar: Any) -> dict[str, float]:
    mean, counters, step = _Mean(), None, None
    try:
        for batch in source:
            inputs, labels = unpack(batch)
            step, fresh = model.training_step(labels)
            if counters is not fresh:
                counters = fresh
                counters.reset()
            with between_steps():
                loss, *rows = step(*inputs, labels)
            counters.add(rows)
            mean.add(float(loss), len(labels))
            bar.set_postfix(loss=f"{mean.value:.4f}", refresh=False)
            bar.update()
    finally:
        bar.close()
    if step is None or counters is None:
        raise ShapeError("fit: received data without a batch, expected at least one")
    group = step.groups[0]
    rate = rate_at(group.optimizer, max(int(group.count) - 1, 0))
    return {"loss": mean.value, **counters.results(), "learning_rate": rate}


def run_evaluation(model: Model, data: Any, targets: Any, *, batch_size: int) -> dict[str, float]:
    """`Model.evaluate`."""
    mean, counters = _Mean(), None
    for batch in batches_of(data, targets, batch_size, 0, shuffle=False):
        inputs, labels = unpack(batch)
        step, fresh = model.evaluation_step(labels)
        if counters is not fresh:
            counters = fresh
            counters.reset()
        loss, *rows = step(*inputs, labels)
        counters.add(rows)
        mean.add(float(loss), len(labels))
    if counters is None:
        raise ShapeError("evaluate: received data without a batch, expected at least one")
    return {"loss": mean.value, **counters.results()}


def _bar(source: Any, text: str, progress: bool | None) -> Any:
    from tqdm import tqdm

    shown = sys.stderr.isatty() if progress is None else progress
    total = len(source) if hasattr(source, "__len__") else None
    return tqdm(total=total, desc=text, disable=not shown, leave=False, unit="batch")

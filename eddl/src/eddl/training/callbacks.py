"""Callbacks: what happens at the borders of a training besides the training itself.

A callback is an object with some of `Callback`'s methods, or a plain function `(epoch, logs)` that
is called after each epoch. What it remembers goes into checkpoints, so that a resumed training is
the uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eddl.errors import AttributeValueError
from eddl.training.checkpoint import sweep

if TYPE_CHECKING:
    from eddl.training.loop import Training

Logs = Mapping[str, Any]


class Callback:
    """The base of callbacks: every method does nothing, `training` is what `fit` is at.

    A callback may read `training.model`, `history`, `epoch` (finished ones), `epochs`, `batch` and
    `steps`, and call `training.stop()` and `training.save(path)`. Logs after an epoch are the row
    that the history gets, those after a batch its losses.

    >>> import eddl, numpy as np
    >>> class Patient(eddl.Callback):
    ...     def on_epoch_end(self, training, logs):
    ...         if training.epoch == 2:
    ...             training.stop()
    >>> x = eddl.Input((2,))
    >>> net = eddl.Model(x, eddl.layers.dense(x, 2))
    >>> net.build(optimizer=eddl.SGD(0.1), loss="categorical_cross_entropy")
    >>> data, labels = np.zeros((4, 2), "float32"), np.zeros(4, int)
    >>> len(net.fit(data, labels, epochs=9, callbacks=[Patient()])["loss"])
    2
    """

    def on_train_begin(self, training: Training) -> None:
        """Before the first step, of a resumed training too."""

    def on_batch_end(self, training: Training, logs: Logs) -> None:
        """After each update. The keyboard interrupts after what runs here and at an epoch's end."""

    def on_epoch_end(self, training: Training, logs: Logs) -> None:
        """After each epoch and its validation."""

    def on_train_end(self, training: Training) -> None:
        """After the last step, unless an error ended the training."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold: JSON values, and arrays."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""


class Called(Callback):
    """A plain function `(epoch, logs)` as a callback; epochs count from 0."""

    def __init__(self, function: Callable[[int, dict[str, Any]], Any]) -> None:
        self.function = function

    def on_epoch_end(self, training: Training, logs: Logs) -> None:
        """Call it."""
        self.function(training.epoch - 1, dict(logs))


class Best:
    """The best value of a quantity so far.

    `mode` is "min" or "max"; "auto" takes "min" for names with `loss` or `error` in them or those
    of error metrics, else "max".
    """

    def __init__(self, monitor: str, mode: str = "auto", min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise AttributeValueError(f"received mode={mode!r}, expected 'auto', 'min' or 'max'")
        if not 0 <= min_delta < math.inf:
            raise AttributeValueError(f"received min_delta={min_delta!r}, expected at least 0")
        self.monitor, self.min_delta = monitor, min_delta
        low = any(word in monitor for word in ("loss", "error", "mse", "mae", "mre"))
        self.sign = -1.0 if mode == "min" or (mode == "auto" and low) else 1.0
        self.value: float | None = None

    def improved(self, logs: Logs) -> bool:
        """Whether an epoch was better than all before by more than `min_delta`; NaN never is."""
        if self.monitor not in logs:
            raise AttributeValueError(
                f"received monitor={self.monitor!r}, expected one of {', '.join(logs)}"
            )
        value = float(logs[self.monitor])
        if math.isnan(value):
            return False
        if self.value is not None and self.sign * (value - self.value) <= self.min_delta:
            return False
        self.value = value
        return True


class EarlyStopping(Callback):
    """Stop when a quantity has not improved for `patience` epochs.

    Parameters: `monitor`, a name of the history; `patience`, epochs; `min_delta`, what counts as an
    improvement; `mode`, "min", "max" or "auto" (by the name); `restore_best`, whether weights (and
    averages) go back to those of the best epoch at the end.

    >>> EarlyStopping("val_loss", patience=3).patience
    3
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = False,
    ) -> None:
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise AttributeValueError(
                f"received patience={patience!r}, expected a whole number of at least 1"
            )
        self.patience, self.restore_best = patience, restore_best
        self._settings = (monitor, mode, min_delta)
        self._begin()

    def _begin(self) -> None:
        self.best, self.waited = Best(*self._settings), 0
        self._kept: dict[str, np.ndarray[Any, Any]] = {}
        self._resumed = False

    def on_train_begin(self, training: Training) -> None:
        """Forget an earlier training, unless this one goes on with it."""
        if not self._resumed:
            self._begin()
        self._resumed = False

    def on_epoch_end(self, training: Training, logs: Logs) -> None:
        """Compare, and count."""
        if self.best.improved(logs):
            self.waited = 0
            if self.restore_best:
                self._kept = training.model.all_weights()
            return
        self.waited += 1
        if self.waited >= self.patience:
            training.stop()

    def on_train_end(self, training: Training) -> None:
        """Bring the best weights back."""
        if self._kept:
            training.model.set_all_weights(self._kept)

    def state_dict(self) -> dict[str, Any]:
        """The best value, the epochs since, and the best weights."""
        return {"best": self.best.value, "waited": self.waited, **self._kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._begin()
        kept = dict(state)
        self.best.value, self.waited = kept.pop("best"), int(kept.pop("waited"))
        self._kept, self._resumed = kept, True


class PeriodicCheckpoint(Callback):
    """Write a checkpoint every so many epochs or steps, whole or not at all.

    Parameters: `path`, in which `{epoch}` and `{step}` stand for numbers (`"run-{epoch:03}.ckpt"`)
    where each is to be kept; `epochs`, `steps`, how often (by default after each epoch). With
    `steps` the training can be resumed in the middle of an epoch.

    >>> PeriodicCheckpoint("training.ckpt", steps=100).steps
    100
    """

    def __init__(
        self, path: str | Path, *, epochs: int | None = None, steps: int | None = None
    ) -> None:
        for name, number in (("epochs", epochs), ("steps", steps)):
            if number is not None and (
                isinstance(number, bool) or not isinstance(number, int) or number < 1
            ):
                raise AttributeValueError(
                    f"received {name}={number!r}, expected a whole number of at least 1"
                )
        self.path = Path(path)
        try:
            self.path.name.format(epoch=0, step=0)
        except (KeyError, ValueError, IndexError) as error:
            raise AttributeValueError(
                f"received path={str(path)!r}, expected no braces but {{epoch}} and {{step}}"
            ) from error
        self.steps = steps
        self.epochs = 1 if epochs is None and steps is None else epochs

    @property
    def single(self) -> bool:
        """Whether there is one file, always written over."""
        return self.path.name.format(epoch=0, step=0) == self.path.name

    def path_of(self, training: Training) -> Path:
        """The file of the present moment."""
        name = self.path.name.format(epoch=training.epoch, step=training.steps)
        return self.path.with_name(name)

    def on_batch_end(self, training: Training, logs: Logs) -> None:
        """Every so many steps, and where the training is stopped."""
        if training.stopped or (self.steps and training.steps % self.steps == 0):
            training.save(self.path_of(training))

    def on_epoch_end(self, training: Training, logs: Logs) -> None:
        """Every so many epochs, and after the last."""
        last = training.stopped or training.epoch == training.epochs
        if last or (self.epochs and training.epoch % self.epochs == 0):
            training.save(self.path_of(training))


class BestCheckpoint(Callback):
    """Write a file whenever a quantity is better than in all epochs before.

    Parameters: `path`, of a checkpoint, or of an ONNX file where it ends in `.onnx` (then with the
    averaged weights, where the model has them); `monitor`, `min_delta` and `mode` as for
    `EarlyStopping`. `Model.restore` reads the checkpoint's weights.

    >>> BestCheckpoint("best.onnx", "val_dice").path.name
    'best.onnx'
    """

    def __init__(
        self,
        path: str | Path,
        monitor: str = "val_loss",
        *,
        min_delta: float = 0.0,
        mode: str = "auto",
    ) -> None:
        self.path = Path(path)
        self._settings = (monitor, mode, min_delta)
        self.best = Best(*self._settings)
        self._resumed = False

    def on_train_begin(self, training: Training) -> None:
        """Forget an earlier training, unless this one goes on with it."""
        if not self._resumed:
            self.best = Best(*self._settings)
        self._resumed = False
        sweep(self.path)

    def on_epoch_end(self, training: Training, logs: Logs) -> None:
        """Compare, and write."""
        if not self.best.improved(logs):
            return
        if self.path.suffix.lower() == ".onnx":
            with training.model.averaged():
                training.model.save(self.path)
        else:
            training.save(self.path)

    def state_dict(self) -> dict[str, Any]:
        """The best value."""
        return {"best": self.best.value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.best.value, self._resumed = state["best"], True

"""Training and evaluation loops.

A training stands between two steps, and what it needs to go on from there, place in the epoch
included, can be saved at any of these borders: `tests/eddl/training/test_resume.py` kills it at all
of them. Whatever a callback writes for an epoch is written before the checkpoint that counts it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eddl.errors import AttributeValueError, ShapeError, StateError, TypeMismatchError
from eddl.optimizers import rate_at
from eddl.tensors import as_host_array
from eddl.training.callbacks import Callback, Called, PeriodicCheckpoint
from eddl.training.checkpoint import compare_kernels, read_checkpoint, write_checkpoint
from eddl.training.feed import Source, batches_of, unpack
from eddl.training.interrupt import between_steps

if TYPE_CHECKING:
    from eddl.training.model import Model
    from eddl.training.setup import Pass, Report
    from eddl.training.step import Step

History = dict[str, list[float]]
"""One list a quantity, one number an epoch."""

END = object()


class Training:
    """One call of `fit`: where it stands, and what callbacks may ask of it.

    `model`; `history`; `epochs`, how many are wanted; `epoch`, how many are finished; `batch`, how
    many batches of the present one are trained on; `steps`, how many updates were made in all;
    `resumed`, the checkpoint from which it goes on, and `kernels`, by which that one was computed.
    """

    def __init__(
        self, model: Model, source: Source, epochs: int, callbacks: Sequence[Callback]
    ) -> None:
        self.model, self.source, self.epochs = model, source, epochs
        self.callbacks = sorted(callbacks, key=lambda c: isinstance(c, PeriodicCheckpoint))
        self.setup = model.built()
        self.history: History = {}
        self.epoch = self.batch = self.steps = self.finite = 0
        self.stopped = self.ended = False
        self.place = source.state_dict()
        self.kernels: dict[str, Any] = {}
        self.resumed: str | Path | None = None
        self._wanted: list[Path] = []

    def stop(self) -> None:
        """End the training: at this step from `on_batch_end`, with this epoch from `on_epoch_end`.
        It counts as finished then: resuming trains no further."""
        self.stopped = True

    def save(self, path: str | Path) -> None:
        """Write a checkpoint once all callbacks of this moment have run."""
        self._wanted.append(Path(path))

    def run(self, validate: Callable[[], Mapping[str, float]], progress: bool | None) -> None:
        """Train from where it stands to the last epoch."""
        self.setup.state.history = self.history
        if not self.batch:
            self.setup.scores[True].reset()
        self._tell("on_train_begin")
        try:
            while self.epoch < self.epochs and not self.stopped:
                with _bar(self, progress) as bar:
                    self._batches(bar)
                if self.ended:
                    scores = validate()
                    with between_steps():
                        self._end_epoch(scores)
        except KeyboardInterrupt:
            for callback in self.callbacks:
                if isinstance(callback, PeriodicCheckpoint) and callback.single:
                    self.save(callback.path)
            self._write()
            raise
        finally:
            self.setup.state.micro[...] = 0
            self.source.close()
        self._tell("on_train_end")

    def _batches(self, bar: Any) -> None:
        """Train on the batches that are left of an epoch, or until stopped."""
        if self.ended:
            return
        size = self.setup.accumulate
        with contextlib.closing(self.source.epoch()) as batches:
            batch, one = next(batches, END), None
            while batch is not END and not self.stopped:
                reports: list[Report] = []
                while batch is not END and len(reports) < size:
                    inputs, targets = unpack(batch, self.setup.counts)
                    with self.model.lock:
                        one, before = self.setup.find(targets, training=True), one
                    if reports and one is not before:
                        raise ShapeError(
                            "fit: received micro-batches of one step with targets of different "
                            "types or ranks; expected the same in all that are gathered"
                        )
                    with self.model.lock, between_steps():
                        reports.append(one.add(inputs, targets))
                    place = self.source.state_dict()
                    batch = next(batches, END)
                ended = batch is END
                if ended:
                    place = self.source.state_dict()
                assert one is not None
                with between_steps():
                    with self.model.lock:
                        self._update(one, reports)
                    self.place, self.ended = place, ended
                    compare_kernels(self)
                    self._tell("on_batch_end", {k: v for k, (v, _) in reports[-1].losses.items()})
                means = self.setup.scores[True].means.results()
                bar.set_postfix(loss=f"{means.get('loss', float('nan')):.4f}", refresh=False)
                bar.update(len(reports))
        if not self.batch:
            raise ShapeError("fit: received data without a batch, expected at least one")

    def _update(self, one: Pass, reports: Sequence[Report]) -> None:
        self.finite += one.update(reports)
        self.batch += len(reports)
        self.steps += 1

    def _end_epoch(self, scores: Mapping[str, float]) -> None:
        scale = self.setup.state.scale
        if not self.finite and (scale is None or scale.scale <= 1):
            raise StateError(
                f"epoch {self.epoch + 1}: no step had a finite loss and finite gradients, so none "
                "changed anything; look at the data, or take a lower learning rate or clip_norm"
            )
        group = self.setup.state.groups[0]
        rate = rate_at(group.optimizer, max(int(group.count) - 1, 0), self.history)
        logs = {**self.setup.scores[True].results(), "learning_rate": rate, **scores}
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)
        self.epoch += 1
        self.batch = self.finite = 0
        self.ended = False
        self.setup.scores[True].reset()
        self._tell("on_epoch_end", logs)

    def _tell(self, moment: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, moment)(self, *arguments)
        self._write()

    def _write(self) -> None:
        wanted, self._wanted = self._wanted, []
        for path in dict.fromkeys(wanted):
            write_checkpoint(self, path)


def run_training(
    model: Model,
    data: Any,
    targets: Any,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    steps_per_epoch: int | None,
    validation: Any,
    callbacks: Sequence[Any],
    checkpoint: str | Path | PeriodicCheckpoint | None,
    resume: bool,
    progress: bool | None,
) -> History:
    """`Model.fit`."""
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
        raise AttributeValueError(f"received epochs={epochs!r}, expected a whole number")
    setup = model.built()
    batches = batches_of(data, targets, batch_size, seed, counts=setup.counts, shuffle=True)
    source = Source(batches, steps=steps_per_epoch, repeated=epochs > 1)
    pair = validation if isinstance(validation, tuple) else (validation, None)
    if isinstance(pair[0], Iterator):
        Source(pair[0], repeated=epochs > 1)
    chosen = [_callback(one) for one in callbacks]
    if checkpoint is not None and not isinstance(checkpoint, PeriodicCheckpoint):
        checkpoint = PeriodicCheckpoint(checkpoint)
    if checkpoint is not None and checkpoint not in chosen:
        chosen.append(checkpoint)
    training = Training(model, source, epochs, chosen)
    if resume:
        if checkpoint is None or not checkpoint.single:
            raise AttributeValueError(
                f"resume: received checkpoint={checkpoint and str(checkpoint.path)!r}, expected "
                "the name of one file, without {epoch} or {step}"
            )
        if checkpoint.path.exists():
            read_checkpoint(training, checkpoint.path)

    def validate() -> dict[str, float]:
        if validation is None:
            return {}
        with model.averaged():
            scores = run_evaluation(model, *pair, batch_size=batch_size)
        return {f"val_{name}": value for name, value in scores.items()}

    training.run(validate, progress)
    return training.history


def run_evaluation(model: Model, data: Any, targets: Any, *, batch_size: int) -> dict[str, float]:
    """`Model.evaluate`."""
    setup = model.built()
    score = setup.scores[False]
    score.reset()
    batches = batches_of(data, targets, batch_size, 0, counts=setup.counts, shuffle=False)
    seen = False
    with contextlib.closing(Source(batches)) as source:
        for batch in source.epoch():
            inputs, labels = unpack(batch, setup.counts)
            one = setup.find(labels, training=False)
            one.update([one.add(inputs, labels)])
            seen = True
    if not seen:
        raise ShapeError("evaluate: received data without a batch, expected at least one")
    return score.results()


def run_prediction(step: Step, inputs: Sequence[Any], batch_size: int) -> Any:
    """`Model.predict`."""
    arrays = [x if isinstance(x, np.ndarray) else as_host_array(x, what="inputs") for x in inputs]
    if len(set(map(len, arrays))) != 1:
        raise ShapeError(f"predict: received {len(arrays)} inputs, expected arrays of one size")
    if len(arrays[0]) <= batch_size:
        whole = step.compute(*arrays)
        return whole[0] if len(whole) == 1 else whole
    if batch_size < 1:
        raise AttributeValueError(
            f"predict: received batch_size={batch_size}, expected a whole number of at least 1"
        )
    parts = [
        step.compute(*(x[start : start + batch_size] for x in arrays))
        for start in range(0, len(arrays[0]), batch_size)
    ]
    if any(np.ndim(o) == 0 or len(o) != batch_size for o in parts[0]):
        raise ShapeError(
            f"predict: the outputs do not have the batch as their first axis, so that batches "
            f"of {batch_size} cannot be joined; call it with batch_size={len(arrays[0])}"
        )
    results = [np.concatenate(part) for part in zip(*parts, strict=True)]
    return results[0] if len(results) == 1 else results


def _callback(given: Any) -> Callback:
    if isinstance(given, Callback):
        return given
    if callable(given) and not isinstance(given, type):
        return Called(given)
    raise TypeMismatchError(
        f"callbacks: received {given!r}, expected an eddl.Callback or a function (epoch, logs)"
    )


def _bar(training: Training, progress: bool | None) -> Any:
    """Batches done and left, their rate and the time left of the epoch."""
    from tqdm import tqdm

    shown = sys.stderr.isatty() if progress is None else progress
    text = f"epoch {training.epoch + 1}/{training.epochs}"
    return tqdm(total=len(training.source) or None, initial=training.batch, desc=text,
                disable=not shown, leave=False, unit="batch")  # fmt: skip

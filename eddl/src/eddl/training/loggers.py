"""Callbacks that write the history down while it grows.

A logger's file is the history: when a training begins it is written anew from the epochs that are
finished, whole or not at all, and each further epoch is appended and synced before the checkpoint
that counts it. So a training that was killed and resumed leaves every line once.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eddl.errors import StateError
from eddl.training.callbacks import Callback, Logs
from eddl.training.checkpoint import sweep, write_atomically

if TYPE_CHECKING:
    from eddl.training.loop import Training


class _Lines(Callback):
    """A file with a line an epoch."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def head(self, names: Sequence[str]) -> str:
        """What stands before the first line."""
        return ""

    def line(self, row: Mapping[str, Any]) -> str:
        """An epoch's line."""
        raise NotImplementedError

    def on_train_begin(self, training: Training) -> None:
        """Write the finished epochs."""
        rows = finished(training.history, training.epoch)
        text = self.head(list(rows[0])) if rows else ""
        sweep(self.path)
        write_atomically(self.path, (text + "".join(map(self.line, rows))).encode())

    def on_epoch_end(self, training: Training, logs: Logs) -> None:
        """Append an epoch."""
        row = {"epoch": training.epoch, **logs}
        text = self.line(row)
        if training.epoch == 1:
            text = self.head(list(row)) + text
        with open(self.path, "ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())


class CSVLogger(_Lines):
    """The history as comma-separated values: a head of names, then a line an epoch, from 1.

    >>> CSVLogger("history.csv").path.name
    'history.csv'
    """

    def head(self, names: Sequence[str]) -> str:
        """The names of the columns."""
        return _csv(names)

    def line(self, row: Mapping[str, Any]) -> str:
        """The numbers, in full."""
        return _csv([repr(value) if isinstance(value, float) else value for value in row.values()])


class JSONLinesLogger(_Lines):
    """The history as one JSON object a line, an epoch each; what is not finite is null.

    >>> JSONLinesLogger("history.jsonl").path.name
    'history.jsonl'
    """

    def line(self, row: Mapping[str, Any]) -> str:
        """The numbers by name."""
        values = {name: value if math.isfinite(value) else None for name, value in row.items()}
        return json.dumps(values) + "\n"


class TensorBoard(Callback):
    """The history as scalars for TensorBoard, whose package or tensorboardX must be installed.

    Parameters: `folder`, in which each training writes a file of its own. Epochs that a killed
    training had written beyond its checkpoint are struck out by the one that resumes it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._writer: Any = None
        self._open = _writer_of()

    def on_train_begin(self, training: Training) -> None:
        """Begin a file."""
        self._writer = self._open(str(self.folder), training.epoch + 1)

    def on_epoch_end(self, training: Training, logs: Logs) -> None:
        """Write a scalar for each quantity."""
        for name, value in logs.items():
            self._writer.add_scalar(name, value, training.epoch)
        self._writer.flush()

    def on_train_end(self, training: Training) -> None:
        """End the file."""
        self._writer.close()


class _Scalars:
    """What tensorboard itself offers for scalars, in the form of tensorboardX."""

    def __init__(self, folder: str, purge_step: int) -> None:
        proto = "tensorboard.compat.proto."
        self._event = importlib.import_module(proto + "event_pb2")
        self._summary = importlib.import_module(proto + "summary_pb2")
        writer = importlib.import_module("tensorboard.summary.writer.event_file_writer")
        self._file = writer.EventFileWriter(folder)
        begin = self._event.SessionLog(status=self._event.SessionLog.START)
        self._file.add_event(self._event.Event(step=purge_step, session_log=begin))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        one = self._summary.Summary.Value(tag=name, simple_value=value)
        self._file.add_event(
            self._event.Event(step=step, summary=self._summary.Summary(value=[one]))
        )

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _writer_of() -> Any:
    for name in ("tensorboardX", "tensorboard"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if name == "tensorboard":
            return _Scalars
        return lambda folder, step: module.SummaryWriter(folder, purge_step=step)
    raise StateError(
        "TensorBoard: neither tensorboard nor tensorboardX is installed; expected one of them: "
        "pip install tensorboardX, or take eddl.CSVLogger"
    )


def finished(history: Mapping[str, Sequence[float]], epochs: int) -> list[dict[str, Any]]:
    """The history as rows; a quantity that was looked at later belongs to the last epochs."""
    return [
        {
            "epoch": epoch + 1,
            **{
                name: values[epoch - epochs + len(values)]
                for name, values in history.items()
                if epoch >= epochs - len(values)
            },
        }
        for epoch in range(epochs)
    ]


def _csv(values: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()

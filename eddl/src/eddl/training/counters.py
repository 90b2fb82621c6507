"""What is counted over an epoch: losses' means and metrics, exact whatever the batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from eddl.graph import State, Value
from eddl.metrics import Metric, gathers
from eddl.training.store import flat_state

Array = np.ndarray[Any, Any]


class Counters:
    """The metrics of one prediction: counts as states, rows gathered on the host, results."""

    def __init__(self, metrics: Iterable[Metric], prediction: Value) -> None:
        self.metrics = list(metrics)
        self._prediction = prediction
        self._initial = [
            {key: np.array(array) for key, array in metric.init(prediction).items()}
            for metric in self.metrics
        ]
        self._states = [
            {} if gathers(metric) else {key: flat_state(array.copy(), f"{metric.name} {key}")
                                        for key, array in initial.items()}
            for metric, initial in zip(self.metrics, self._initial, strict=True)
        ]  # fmt: skip
        self._rows: dict[tuple[int, str], list[Array]] = {
            (index, key): []
            for index, (metric, initial) in enumerate(zip(self.metrics, self._initial, strict=True))
            if gathers(metric)
            for key in initial
        }

    def updates(self, target: Value) -> tuple[dict[State, Value], list[Value]]:
        """The new counts after a batch, and the batch's rows of what is gathered."""
        counts: dict[State, Value] = {}
        rows: dict[tuple[int, str], Value] = {}
        for index, (metric, own) in enumerate(zip(self.metrics, self._states, strict=True)):
            new = metric.update(own, self._prediction, target)
            counts.update({state: new[key] for key, state in own.items()})
            rows.update({(index, key): value for key, value in new.items() if key not in own})
        return counts, [rows[place] for place in self._rows]

    def add(self, rows: Iterable[Array]) -> None:
        """Append a batch's rows."""
        for parts, array in zip(self._rows.values(), rows, strict=True):
            parts.append(array)

    def reset(self) -> None:
        """Begin to count anew."""
        for states, initial in zip(self._states, self._initial, strict=True):
            for key, state in states.items():
                state.storage.view()[...] = initial[key]
        for parts in self._rows.values():
            parts.clear()

    def results(self) -> dict[str, float]:
        """Each metric from its counts or rows."""
        return {
            metric.name: float(metric.result({
                key: states[key].storage.view() if key in states else self._gathered(index, key)
                for key in initial
            }))
            for index, (metric, states, initial) in enumerate(
                zip(self.metrics, self._states, self._initial, strict=True)
            )
        }  # fmt: skip

    def counts(self) -> dict[str, Array]:
        """The counts by metric and name, as views."""
        return {
            f"{metric.name}/{key}": state.storage.view()
            for metric, states in zip(self.metrics, self._states, strict=True)
            for key, state in states.items()
        }

    def rows(self) -> dict[str, Array]:
        """The rows so far by metric and name."""
        return {
            f"{self.metrics[index].name}/{key}": self._gathered(index, key)
            for index, key in self._rows
        }

    def set_rows(self, rows: Mapping[str, Array]) -> None:
        """Go on from saved rows."""
        for (index, key), parts in self._rows.items():
            parts[:] = [rows[f"{self.metrics[index].name}/{key}"]]

    def _gathered(self, index: int, key: str) -> Array:
        return np.concatenate([self._initial[index][key], *self._rows[index, key]])


class Means:
    """Means of named quantities, each number with its weight."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}

    def add(self, values: Mapping[str, tuple[float, float]]) -> None:
        """Count values with their weights."""
        for name, (value, weight) in values.items():
            total = self._sums.setdefault(name, [0.0, 0.0])
            # Where every label is ignored a loss may be anything.
            total[0] += value * weight if weight else 0.0
            total[1] += weight

    def reset(self) -> None:
        """Begin to count anew."""
        self._sums = {}

    def results(self) -> dict[str, float]:
        """The means; NaN where all weights were 0."""
        return {name: total / weight if weight else float("nan")
                for name, (total, weight) in self._sums.items()}  # fmt: skip

    def state_dict(self) -> dict[str, list[float]]:
        """The sums, as plain numbers."""
        return {name: list(total) for name, total in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, Sequence[float]]) -> None:
        """Go on from saved sums."""
        self._sums = {name: [float(t), float(w)] for name, (t, w) in state.items()}


class Score:
    """All that is counted over an epoch, by name: losses' means and the metrics of each output."""

    def __init__(self, counters: Mapping[str, Counters]) -> None:
        self.means = Means()
        self.counters = dict(counters)

    def reset(self) -> None:
        """Begin to count anew."""
        self.means.reset()
        for counters in self.counters.values():
            counters.reset()

    def results(self) -> dict[str, float]:
        """Means, then metrics, which have the output's name before them where there are several."""
        found = self.means.results()
        for name, counters in self.counters.items():
            prefix = f"{name}_" if len(self.counters) > 1 else ""
            found.update({prefix + key: value for key, value in counters.results().items()})
        return found

    def counts(self) -> dict[str, Array]:
        """The metrics' counts by name, as views."""
        return {f"{name}/{key}": array for name, counters in self.counters.items()
                for key, array in counters.counts().items()}  # fmt: skip

    def rows(self) -> dict[str, Array]:
        """What metrics have gathered, by name."""
        return {f"{name}/{key}": array for name, counters in self.counters.items()
                for key, array in counters.rows().items()}  # fmt: skip

    def set_rows(self, rows: Mapping[str, Array]) -> None:
        """Go on from saved rows."""
        for name, counters in self.counters.items():
            prefix = f"{name}/"
            counters.set_rows(
                {k.removeprefix(prefix): a for k, a in rows.items() if k.startswith(prefix)}
            )

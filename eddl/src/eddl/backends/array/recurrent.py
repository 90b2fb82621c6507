"""RNN, GRU and LSTM over whole sequences, and their gradients.

Rows of the batch do not depend on each other, so each thread takes some of them, in one direction,
through all steps and waits for no other; `eddl.backends.array.spans` says how. The gradients of the
weights are summed over a thread's rows and then over the threads, always in the same order. The
forward pass saves what the gates let through, and the cells' states.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from eddl.backends.array.backend import ArrayBackend, kernel
from eddl.backends.array.cells import Buffers
from eddl.backends.array.products import Blas, Make
from eddl.backends.array.recurrence import Recurrence
from eddl.backends.array.spans import Backward, Forward, Run
from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Workspace
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node
from eddl.ops.recurrent import gradient_names, named

FEWEST = 1 << 21
"""Multiplications of a step and a thread below which another thread costs more than it saves."""


@kernel("RNN", "GRU", "LSTM", fits=Recurrence.fits)
def recurrent(backend: ArrayBackend, node: Node) -> Offer:
    """The states behind all steps, and the last ones."""
    return forward(backend, node, Blas(backend.xp))


@kernel("RNNGrad", "GRUGrad", "LSTMGrad", domain="eddl", fits=Recurrence.fits)
def recurrent_grad(backend: ArrayBackend, node: Node) -> Offer:
    """The gradients of sequence, weights, biases and initial states."""
    return backward(backend, node, Blas(backend.xp))


def forward(backend: ArrayBackend, node: Node, make: Make) -> Offer:
    """The offer for an operator, its products made by `make`."""
    r = Recurrence.of(node)
    parts = [Forward(backend.xp, r, d, rows, make) for d, rows in _parts(backend, r)]
    kept = Kept(lambda space: [part.take(space) for part in parts])

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        given = named(node, inputs)
        x = given.pop("X")

        def make(memory: list[Buffers]) -> list[Run]:
            return [part.bind(b, given, outputs) for part, b in zip(parts, memory, strict=True)]

        runs = kept.of(workspace, [*given.values(), *outputs], make)
        tasks = [partial(run, x) for run in runs]
        return lambda: _share(backend, r, tasks)

    every = frozenset(range(len(node.outputs)))
    return Offer("spans", bind, workspace=kept.nbytes, optional=every)


def backward(backend: ArrayBackend, node: Node, make: Make) -> Offer:
    """The offer for an operator's gradient, its products made by `make`."""
    r = Recurrence.of(node)
    parts = [Backward(backend.xp, r, d, rows, make) for d, rows in _parts(backend, r)]
    places = gradient_names(node)

    def plan(space: Workspace) -> tuple[list[Any], list[tuple[Buffers, dict[str, Any]]]]:
        """The second direction's gradient of X; the parts' memory, and what all parts but the
        first of a direction sum the gradients of weights in."""
        shape, found = (r.steps, r.batch, r.features), []
        flows = [space.take(shape, r.dtype) for _ in range(r.directions - 1)]
        for part in parts:
            sums = {}
            if part.rows.start:
                sums = {name: space.take(size, r.dtype) for name, size in r.weights.items()}
            found.append((part.take(space), sums))
        return flows, found

    kept = Kept(plan)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        given, results = named(node, inputs), dict(zip(places, outputs, strict=True))
        x = given.pop("X")

        def make(memory: tuple[list[Any], list[tuple[Buffers, dict[str, Any]]]]) -> Any:
            flows, dx = memory[0], results["X"]
            runs, later = [], []
            for part, (buffers, sums) in zip(parts, memory[1], strict=True):
                own = {}
                for name in r.weights:
                    if results.get(name) is not None:
                        own[name] = results[name][part.direction]
                        if sums:
                            later.append((own[name], sums[name]))
                            own[name] = sums[name]
                flow = None if dx is None else [dx, *flows][part.direction]
                runs.append(part.bind(buffers, given, results, own, flow))
            if dx is not None:
                later += [(dx, flow) for flow in flows]
            return runs, later

        runs, later = kept.of(workspace, [*given.values(), *outputs], make)
        tasks = [partial(run, x) for run in runs]

        def run() -> None:
            _share(backend, r, tasks)
            for total, part in later:
                backend.xp.add(total, part, out=total)

        return run

    every = frozenset(range(len(node.outputs)))
    return Offer("spans", bind, workspace=kept.nbytes, optional=every)


class Kept:
    """What an offer is bound to, as long as that lies where it lay: a call that reads the caller's
    arrays is bound anew in every run. `plan` takes from a workspace what is needed of it."""

    def __init__(self, plan: Callable[[Workspace], Any]) -> None:
        self._plan, self._made = plan, None
        self._key: tuple[int | None, ...] = ()
        need = Workspace()
        plan(need)
        self.nbytes = need.used

    def of(self, workspace: Any, arrays: Sequence[Any], make: Callable[[Any], Any]) -> Any:
        """What `make` gives for the memory that is planned, and holds the `arrays`."""
        key = tuple(None if array is None else _address(array) for array in (workspace, *arrays))
        if key != self._key:
            self._made = make(self._plan(Workspace(workspace)))
            self._key = key
        return self._made


def _address(array: Any) -> int:
    found: Any = getattr(array, "__array_interface__", None) or array.__cuda_array_interface__
    return int(found["data"][0])


def _parts(backend: ArrayBackend, r: Recurrence) -> list[tuple[int, slice]]:
    """Directions and rows of the batch, one pair a task."""
    work = r.batch * r.gates * r.units
    ways = min(backend.threads.count // r.directions, r.batch, work // FEWEST)
    bounds = [r.batch * i // max(ways, 1) for i in range(max(ways, 1) + 1)]
    rows = [slice(start, stop) for start, stop in itertools.pairwise(bounds)]
    return [(direction, part) for direction in range(r.directions) for part in rows]


def _share(backend: ArrayBackend, r: Recurrence, tasks: Sequence[Thunk]) -> None:
    if r.batch * r.gates * r.units < FEWEST:
        in_turn(tasks)()
    else:
        backend.threads.run(tasks)

"""The way through a sequence for some rows of a batch in one direction, a span of steps at a time.

A thread works in memory of its own: one product for all inputs of a span, then the cell's equations
step after step. Backward the spans come in the opposite order; what needs no gradient of the state
is computed for a whole span at once, and so are the gradients of inputs and weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array
from eddl.backends.array.cells import CELLS, Buffers, Cell
from eddl.backends.array.products import Make, Matrix, Product
from eddl.backends.array.recurrence import Recurrence
from eddl.backends.array.unfolding import Workspace
from eddl.compiler.protocol import Thunk

ROWS = 256
"""Rows of a span, steps by batch, that make good products and stay in the cache."""
LONGEST = 32
"""Steps of a span."""
Run = Callable[[Array], None]
"""What is done for a sequence, which may be another in every run."""


class Part:
    """Rows of the batch in one direction: what is the same forward and backward."""

    back: bool

    def __init__(self, xp: Any, r: Recurrence, direction: int, rows: slice, make: Make) -> None:
        self.xp, self.r, self.direction, self.rows, self.make = xp, r, direction, rows, make
        self.count = rows.stop - rows.start
        longest = min(r.steps, LONGEST, max(1, ROWS // self.count))
        self.span = -(-r.steps // -(-r.steps // longest))
        self.spans = [
            (start, min(self.span, r.steps - start)) for start in range(0, r.steps, self.span)
        ]
        self.sizes = sorted({size for _, size in self.spans})
        self.cell: Cell = CELLS[r.op](xp, r, direction, self.count, make, back=self.back)

    def products(self) -> Sequence[Product]:
        """All products, to find the scratch memory of the largest."""
        raise NotImplementedError

    def take(self, space: Workspace) -> Buffers:
        """The memory of the thread that works on these rows."""
        r, n, span, dtype = self.r, self.count, self.span, self.r.dtype
        b = Buffers(c=None, dead=None, inner_bias=None)
        b.h = space.take((span + 1, n, r.units), dtype)
        b.x = space.take((span, n, r.features), dtype)
        own = self.cell.products
        b.packed = [space.take((product.packed,), np.uint8) for product in own]
        scratch = max(product.scratch for product in (*own, *self.products()))
        b.scratch = space.take((scratch,), np.uint8)
        self.cell.take(b, space, span, back=self.back)
        return b

    def pack(self, b: Buffers, weights: Array) -> Thunk:
        """The call that packs this direction's R."""
        rights = self.gates(weights)
        return self.make.in_turn([
            product.pack(right if self.back else right.T, target)
            for right, product, target in zip(rights, self.cell.products, b.packed, strict=True)
        ])  # fmt: skip

    def gates(self, weights: Array) -> Array:
        """Each gate's rows of this direction's W or R."""
        return self.each(weights[self.direction])

    def each(self, weights: Array) -> Array:
        """Each gate's rows of weights."""
        return weights.reshape(-1, self.r.units, *weights.shape[1:])

    def mine(self, whole: Array | None) -> Any:
        """These rows of [T, N, ...] or [T, D, ..., N, H], in the order in which steps are taken."""
        if whole is None:
            return None
        turned = whole[::-1] if self.r.turned(self.direction) else whole
        if whole.ndim > 3:
            turned = turned[:, self.direction]
        return turned[..., self.rows, :]

    def start(self, state: Array, given: Array | None) -> None:
        """A state before the first step, or a gradient behind the last."""
        self.xp.copyto(state, 0 if given is None else given[self.direction, self.rows])

    def dead(self, lengths: Array | None) -> Any:
        """Which steps of which rows do not count, [T, n]; `None` where all do."""
        if lengths is None:
            return None
        times = np.arange(self.r.steps)[:: -1 if self.r.turned(self.direction) else 1]
        found = lengths[self.rows] <= times[:, None]
        return found if found.any() else None


class Forward(Part):
    """From the first step to the last."""

    back = False

    def __init__(self, xp: Any, r: Recurrence, direction: int, rows: slice, make: Make) -> None:
        super().__init__(xp, r, direction, rows, make)
        weights = Matrix.part(r.units, r.features).turned
        self.project = {
            size: make.product(r.dtype, Matrix.part(size * self.count, r.features), weights,
                               Matrix.part(size * self.count, r.units), bias=True)
            for size in self.sizes
        }  # fmt: skip

    def products(self) -> Sequence[Product]:
        """Those with the inputs."""
        return list(self.project.values())

    def take(self, space: Workspace) -> Buffers:
        """And biases."""
        b = super().take(space)
        b.bias = space.take((self.r.gates,), self.r.dtype)
        b.inner_bias = space.take((self.r.units,), self.r.dtype)
        return b

    def bind(self, b: Buffers, given: Mapping[str, Any], outputs: Sequence[Any]) -> Run:
        """What takes these rows of X through all steps."""
        xp, r, in_turn = self.xp, self.r, self.make.in_turn
        y, last_h = self.mine(outputs[0]), outputs[1]
        last_c = outputs[2] if r.op == "LSTM" else None
        values, cells = (*map(self.mine, outputs[3 if r.op == "LSTM" else 2 :]), None, None)[:2]
        h, c = self._slots(b.h, y), self._slots(b.c, cells)
        states = [state for state in (h, c) if state]
        pack, steps = self.pack(b, given["R"]), [*map(in_turn, self.cell.forward(b, h, c))]
        kept = [(y, b.h[1:])]
        if cells is not None:
            kept.append((cells, b.c[1:]))
        if values is not None:
            kept.append((values, b.values.swapaxes(0, 1)))
        spans = []
        for start, size in self.spans:
            copies = [(target[start : start + size], source[:size]) for target, source in kept
                      if target is not None]  # fmt: skip
            copies += [(s[0], s[size]) for s in states if s[size] is not s[0]]
            project = in_turn(self._project(b, size, given["W"]))
            leave = in_turn([self.make.copy(*copy) for copy in copies])
            whole = in_turn([project, *steps[:size], leave])
            spans.append((start, size, project, leave, whole))
        closed = np.asarray(self.cell.closed, r.dtype)[:, None, None]

        def in_steps(size: int, dead: Array) -> None:
            """Step by step, and what the dead ones do not change."""
            for j in range(size):
                steps[j]()
                for state in states if dead[j].any() else ():
                    xp.copyto(state[j + 1], state[j], where=dead[j, :, None])
                if values is not None:
                    b.values[:, j, dead[j]] = closed

        def run(whole_x: Array) -> None:
            x = self.mine(whole_x)
            pack()
            self._biases(b, given["B"])
            self.start(h[0], given["initial_h"])
            if c:
                self.start(c[0], given["initial_c"])
            dead = self.dead(given["sequence_lens"])
            for start, size, project, leave, whole in spans:
                xp.copyto(b.x[:size], x[start : start + size])
                if dead is None:
                    whole()
                    continue
                project()
                in_steps(size, dead[start : start + size])
                leave()
                if y is not None:
                    y[start : start + size][dead[start : start + size]] = 0
            for place, state in ((last_h, h), (last_c, c)):
                if place is not None:
                    xp.copyto(place[self.direction, self.rows], state[0])

        return run

    def _slots(self, states: Array | None, kept: Array | None) -> list[Array]:
        """The states of a span, one behind the other; where nobody reads them all, two places take
        turns, which stay in the cache."""
        if states is None:
            return []
        if kept is None and not self.cell.joined:
            return [*states[:2]] * (len(states) // 2) + [*states[: len(states) % 2]]
        return [*states]

    def _project(self, b: Buffers, size: int, weights: Array) -> list[Thunk]:
        """The products of a span's inputs, one a gate."""
        left, biases = _flat(b.x[:size]), self.each(b.bias)
        return [
            self.project[size].bind(left, right.T, _flat(values[:size]), b.scratch, bias)
            for right, values, bias in zip(self.gates(weights), b.values, biases, strict=False)
        ]

    def _biases(self, b: Buffers, given: Array | None) -> None:
        """What is added to the products with the inputs, and to GRU's last one with the state."""
        xp, r = self.xp, self.r
        b.bias.fill(0)
        b.inner_bias.fill(0)
        if given is None:
            return
        outer, inner = given[self.direction, : r.gates], given[self.direction, r.gates :]
        xp.add(outer, inner, out=b.bias)
        if r.before:
            xp.copyto(b.bias[2 * r.units :], outer[2 * r.units :])
            xp.copyto(b.inner_bias, inner[2 * r.units :])


class Backward(Part):
    """From the last step to the first."""

    back = True

    def __init__(self, xp: Any, r: Recurrence, direction: int, rows: slice, make: Make) -> None:
        super().__init__(xp, r, direction, rows, make)
        n, units, gates = self.count, r.units, r.gates // r.units

        def sums(k: int, right: int) -> Product:
            """The gradient of a gate's weights: values, turned, by what they were multiplied
            with."""
            left, out = Matrix.part(k * n, units).turned, Matrix.part(units, right)
            return make.product(r.dtype, left, Matrix.part(k * n, right), out, add=True)

        def inputs(k: int, gate: int) -> Product:
            """What flows into the inputs by a gate."""
            left, right = Matrix.part(k * n, units), Matrix.part(units, r.features)
            return make.product(r.dtype, left, right, Matrix.part(k * n, r.features), add=gate > 0)

        self.inputs = {k: [inputs(k, gate) for gate in range(gates)] for k in self.sizes}
        self.weights = {k: sums(k, r.features) for k in self.sizes}
        self.states = {k: sums(k, units) for k in self.sizes}

    def products(self) -> Sequence[Product]:
        """Those for the gradients of inputs and weights."""
        inputs = itertools.chain(*self.inputs.values())
        return [*inputs, *self.weights.values(), *self.states.values()]

    def take(self, space: Workspace) -> Buffers:
        """And what flows."""
        b, r, shape = super().take(space), self.r, (self.span, self.count)
        b.dh = space.take((self.count, r.units), r.dtype)
        b.dy = space.take((*shape, r.units), r.dtype)
        b.dx = space.take((*shape, r.features), r.dtype)
        b.total = space.take((self.cell.columns, r.units), r.dtype)
        b.ones = space.take((self.span * self.count,), r.dtype)
        b.dead = space.take((*shape, r.units), r.dtype) if r.lengths else None
        return b

    def bind(
        self,
        b: Buffers,
        given: Mapping[str, Any],
        results: Mapping[str, Any],
        own: Mapping[str, Array],
        flow: Array | None,
    ) -> Run:
        """What takes these rows back through all steps, given X. It sums the gradients of the
        weights in `own`, and writes that of X to `flow`."""
        xp, r, dh = self.xp, self.r, b.dh
        pack = self.pack(b, given["R"])
        dy, dx = self.mine(given["dY"]), self.mine(flow)
        ends = [(dh, "dY_h", "initial_h")]
        if r.op == "LSTM":
            ends.append((b.dc[0], "dY_c", "initial_c"))
        steps = self.cell.backward(b)
        if dy is not None:
            add = self.make.chain(r.dtype, self.count * r.units, "add")
            steps = [
                [add.bind(dh, dh, flow), *calls] for flow, calls in zip(b.dy, steps, strict=True)
            ]
        whole = {
            size: self.make.in_turn([
                *itertools.chain(*reversed(steps[:size])),
                *self._finish(b, size, given["W"], own, dx is not None),
            ])
            for size in self.sizes
        }  # fmt: skip
        load = self._load(b, given, dy)

        def run(whole_x: Array) -> None:
            x = self.mine(whole_x)
            pack()
            b.ones.fill(1)
            for total in own.values():
                total.fill(0)
            for state, behind, _ in ends:
                self.start(state, given[behind])
            dead = self.dead(given["sequence_lens"])
            for start, size in reversed(self.spans):
                rest = None if dead is None else dead[start : start + size]
                xp.copyto(b.x[:size], x[start : start + size])
                load(start, size, dead)
                self.cell.slopes(b, size)
                if b.dead is not None:
                    b.dead[:size] = 0 if rest is None else rest[..., None]
                if rest is not None and r.op == "RNN":
                    b.values[0, :size][rest] = 0
                whole[size]()
                if "B" in own:
                    self._biases(b, size, own["B"])
                if dx is not None:
                    xp.copyto(dx[start : start + size], b.dx[:size])
            for state, _, before in ends:
                if results.get(before) is not None:
                    xp.copyto(results[before][self.direction, self.rows], state)

        return run

    def _load(self, b: Buffers, given: Mapping[str, Any], dy: Array | None) -> Any:
        """What fills a span with what was there before its steps, and what flows into them."""
        xp, y, h = self.xp, self.mine(given["Y"]), b.h
        saved, cells = self.mine(given.get("values", given["Y"])), self.mine(given.get("cells"))
        first_h, first_c = (
            None if (state := given.get(name)) is None else state[self.direction, self.rows]
            for name in ("initial_h", "initial_c")
        )

        def load(start: int, size: int, dead: Array | None) -> None:
            stop = start + size
            b.saved = saved[start:stop]
            xp.copyto(h[1:size], y[start : stop - 1])
            xp.copyto(h[0], y[start - 1] if start else 0 if first_h is None else first_h)
            if cells is not None:
                b.c = cells[start:stop]
                b.c_before = cells[start - 1] if start else 0 if first_c is None else first_c
            if dy is not None:
                xp.copyto(b.dy[:size], dy[start:stop])
            if dead is None:
                return
            if dy is not None:
                b.dy[:size][dead[start:stop]] = 0
            if first_h is not None:
                # Y is 0 where the state stays: before the first step that counts, at its beginning.
                before = dead[max(start, 1) - 1 : stop - 1, :, None]
                xp.copyto(h[size - len(before) : size], first_h, where=before)

        return load

    def _finish(
        self, b: Buffers, size: int, weights: Array, own: Mapping[str, Array], inputs: bool
    ) -> list[Thunk]:
        """What a span gives to the gradients of inputs and weights."""
        values, calls = [_flat(column[:size]) for column in b.values], []
        if inputs:
            calls += [
                product.bind(left, right, _flat(b.dx[:size]), b.scratch)
                for product, left, right in zip(
                    self.inputs[size], values, self.gates(weights), strict=False
                )
            ]
        if "W" in own:
            calls += [
                self.weights[size].bind(left.T, _flat(b.x[:size]), total, b.scratch)
                for left, total in zip(values, self.each(own["W"]), strict=False)
            ]
        for first, last, column, name in self.cell.sides if "R" in own else ():
            right, totals = _flat(getattr(b, name)[:size]), self.each(own["R"])[first:last]
            calls += [
                self.states[size].bind(left.T, right, total, b.scratch)
                for left, total in zip(values[column:], totals, strict=False)
            ]
        return calls

    def _biases(self, b: Buffers, size: int, total: Array) -> None:
        """What a span gives to the gradient of B."""
        xp, gates = self.xp, self.r.gates // self.r.units
        outer, inner = self.each(total)[:gates], self.each(total)[gates:]
        columns = b.values[:, :size].reshape(self.cell.columns, -1, self.r.units)
        xp.matmul(b.ones[: columns.shape[1]], columns, out=b.total)
        xp.add(outer, b.total[:gates], out=outer)
        for first, last, column, _ in self.cell.sides:
            place = inner[first:last]
            xp.add(place, b.total[column:][: len(place)], out=place)


def _flat(x: Array) -> Array:
    """Steps and rows as one axis."""
    return x.reshape(-1, x.shape[-1])

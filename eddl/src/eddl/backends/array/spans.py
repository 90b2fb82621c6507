"""The way through a sequence for some rows of a batch in one direction, a span of steps at a time.

A thread works in memory of its own: one product for all inputs of a span, then the cell's equations
step after step. Backward the spans come in the opposite order; what needs no gradient of the state
is computed for a whole span at once, and so are the gradients of inputs and weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array
from eddl.backends.array.cells import CELLS, Buffers, Cell
from eddl.backends.array.products import Make, Matrix, Product
from eddl.backends.array.recurrence import Recurrence
from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Workspace
from eddl.compiler.protocol import Thunk

ROWS = 256
"""Rows of a span, steps by batch, that make good products and stay in the cache."""
LONGEST = 32
"""Steps of a span."""


class Part:
    """Rows of the batch in one direction: what is the same forward and backward."""

    back: bool

    def __init__(self, xp: Any, r: Recurrence, direction: int, rows: slice, make: Make) -> None:
        self.xp, self.r, self.direction, self.rows = xp, r, direction, rows
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
        b.values = space.take((span, n, self.cell.wide), dtype)
        b.h = space.take((span + 1, n, r.units), dtype)
        b.x = space.take((span, n, r.features), dtype)
        own = [product for _, product in self.cell.products]
        b.packed = [space.take((product.packed,), np.uint8) for product in own]
        scratch = max(product.scratch for product in (*own, *self.products()))
        b.scratch = space.take((scratch,), np.uint8)
        self.cell.take(b, space, span, back=self.back)
        return b

    def packs(self, b: Buffers, weights: Array) -> list[Thunk]:
        """The calls that pack this direction's R."""
        found = []
        for (rows, product), target in zip(self.cell.products, b.packed, strict=True):
            right = weights[self.direction, rows]
            found.append(product.pack(right if self.back else right.T, target))
        return found

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
        weights = Matrix.part(r.gates, r.features).turned
        self.project = {
            size: make(r.dtype, Matrix.part(size * self.count, r.features), weights,
                       Matrix.part(size * self.count, r.gates, self.cell.wide), bias=True)
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

    def bind(self, b: Buffers, given: Mapping[str, Any], outputs: Sequence[Any]) -> Thunk:
        """The call that takes these rows through all steps."""
        xp, r, h, c = self.xp, self.r, b.h, b.c
        packs, step, x = self.packs(b, given["R"]), self.cell.forward(b), self.mine(given["X"])
        y, last_h = self.mine(outputs[0]), outputs[1]
        last_c = outputs[2] if r.op == "LSTM" else None
        values, cells = (*map(self.mine, outputs[3 if r.op == "LSTM" else 2 :]), None, None)[:2]
        weights = given["W"][self.direction].T
        projects = {
            size: project.bind(_flat(b.x[:size]), weights, _flat(b.values[:size])[:, : r.gates],
                               b.scratch, b.bias)
            for size, project in self.project.items()
        }  # fmt: skip

        closed = np.repeat(np.asarray(self.cell.closed or (0,), r.dtype), r.units)

        def run() -> None:
            for pack in packs:
                pack()
            self._biases(b, given["B"])
            self.start(h[0], given["initial_h"])
            if c is not None:
                self.start(c[0], given["initial_c"])
            dead = self.dead(given["sequence_lens"])
            for start, size in self.spans:
                stop = start + size
                xp.copyto(b.x[:size], x[start:stop])
                projects[size]()
                for j in range(size):
                    step(j)
                    if dead is not None and (rest := dead[start + j]).any():
                        for state in (h, c):
                            if state is not None:
                                xp.copyto(state[j + 1], state[j], where=rest[:, None])
                        b.values[j][rest] = closed
                if y is not None:
                    xp.copyto(y[start:stop], h[1 : size + 1])
                    if dead is not None:
                        y[start:stop][dead[start:stop]] = 0
                if values is not None:
                    columns = b.values[:size].reshape(size, self.count, -1, r.units)
                    xp.copyto(values[start:stop], columns.swapaxes(1, 2))
                if cells is not None:
                    xp.copyto(cells[start:stop], c[1 : size + 1])
                for state in (h, c):
                    if state is not None:
                        xp.copyto(state[0], state[size])
            for place, state in ((last_h, h), (last_c, c)):
                if place is not None:
                    xp.copyto(place[self.direction, self.rows], state[0])

        return run

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
        n, wide, size = self.count, self.cell.wide, r.units

        def sums(k: int, columns: int, right: int) -> Product:
            """The gradient of weights: values, turned, by what they were multiplied with."""
            left = Matrix.part(k * n, columns, wide).turned
            out = Matrix.part(columns, right)
            return make(r.dtype, left, Matrix.part(k * n, right), out, add=True)

        self.inputs = {
            k: make(r.dtype, Matrix.part(k * n, r.gates, wide), Matrix.part(r.gates, r.features),
                    Matrix.part(k * n, r.features))
            for k in self.sizes
        }  # fmt: skip
        self.weights = {k: sums(k, r.gates, r.features) for k in self.sizes}
        self.states = {
            k: [sums(k, (last - first) * size, size) for first, last, *_ in self.cell.sides]
            for k in self.sizes
        }

    def products(self) -> Sequence[Product]:
        """Those for the gradients of inputs and weights."""
        states = [product for products in self.states.values() for product in products]
        return [*self.inputs.values(), *self.weights.values(), *states]

    def take(self, space: Workspace) -> Buffers:
        """And what flows."""
        b, r, shape = super().take(space), self.r, (self.span, self.count)
        b.dh = space.take((self.count, r.units), r.dtype)
        b.dy = space.take((*shape, r.units), r.dtype)
        b.dx = space.take((*shape, r.features), r.dtype)
        b.total = space.take((self.cell.wide,), r.dtype)
        b.ones = space.take((self.span * self.count,), r.dtype)
        b.dead = space.take((*shape, 1), r.dtype) if r.lengths else None
        return b

    def bind(
        self,
        b: Buffers,
        given: Mapping[str, Any],
        results: Mapping[str, Any],
        own: Mapping[str, Array],
        flow: Array | None,
    ) -> Thunk:
        """The call that takes these rows back through all steps. It sums the gradients of the
        weights in `own`, and writes that of X to `flow`."""
        xp, r, dh = self.xp, self.r, b.dh
        packs, step = self.packs(b, given["R"]), self.cell.backward(b)
        dy, dx = self.mine(given["dY"]), self.mine(flow)
        ends = [(dh, "dY_h", "initial_h")]
        if r.op == "LSTM":
            ends.append((b.dc[0], "dY_c", "initial_c"))
        finish = {size: self._finish(b, size, given["W"][self.direction], own, dx is not None)
                  for size in self.sizes}  # fmt: skip
        load = self._load(b, given, dy)

        def run() -> None:
            for pack in packs:
                pack()
            b.ones.fill(1)
            for total in own.values():
                total.fill(0)
            for state, behind, _ in ends:
                self.start(state, given[behind])
            dead = self.dead(given["sequence_lens"])
            for start, size in reversed(self.spans):
                rest = None if dead is None else dead[start : start + size]
                load(start, size, dead)
                self.cell.slopes(b, size)
                if b.dead is not None:
                    b.dead[:size, :, 0] = 0 if rest is None else rest
                if rest is not None and r.op == "RNN":
                    b.values[:size][rest] = 0
                for j in reversed(range(size)):
                    if dy is not None:
                        xp.add(dh, b.dy[j], out=dh)
                    step(j)
                finish[size]()
                if dx is not None:
                    xp.copyto(dx[start : start + size], b.dx[:size])
            for state, _, before in ends:
                if results.get(before) is not None:
                    xp.copyto(results[before][self.direction, self.rows], state)

        return run

    def _load(self, b: Buffers, given: Mapping[str, Any], dy: Array | None) -> Any:
        """What fills a span with what was there before its steps, and what flows into them."""
        xp, y, x, h = self.xp, self.mine(given["Y"]), self.mine(given["X"]), b.h
        saved, cells = self.mine(given.get("values", given["Y"])), self.mine(given.get("cells"))
        first_h, first_c = (
            None if (state := given.get(name)) is None else state[self.direction, self.rows]
            for name in ("initial_h", "initial_c")
        )

        def load(start: int, size: int, dead: Array | None) -> None:
            stop = start + size
            b.saved = saved[start:stop]
            xp.copyto(b.x[:size], x[start:stop])
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
    ) -> Thunk:
        """What a span gives to the gradients of inputs and weights."""
        xp, r, units = self.xp, self.r, self.r.units
        values = _flat(b.values[:size])
        calls = []
        if inputs:
            calls.append(self.inputs[size].bind(values[:, : r.gates], weights, _flat(b.dx[:size]),
                                                b.scratch))  # fmt: skip
        if "W" in own:
            calls.append(self.weights[size].bind(values[:, : r.gates].T, _flat(b.x[:size]),
                                                 own["W"], b.scratch))  # fmt: skip
        for (first, last, column, name), product in zip(
            self.cell.sides, self.states[size] if "R" in own else (), strict=False
        ):
            rows = slice(first * units, last * units)
            left = values[:, column * units : (column + last - first) * units].T
            right = _flat(getattr(b, name)[:size])
            calls.append(product.bind(left, right, own["R"][rows], b.scratch))

        def biases() -> None:
            outer, inner = own["B"][: r.gates], own["B"][r.gates :]
            xp.matmul(b.ones[: len(values)], values, out=b.total)
            xp.add(outer, b.total[: r.gates], out=outer)
            for first, last, column, _ in self.cell.sides:
                place = inner[first * units : last * units]
                xp.add(place, b.total[column * units :][: len(place)], out=place)

        if "B" in own:
            calls.append(biases)
        return in_turn(calls)


def _flat(x: Array) -> Array:
    """Steps and rows as one axis."""
    return x.reshape(-1, x.shape[-1])

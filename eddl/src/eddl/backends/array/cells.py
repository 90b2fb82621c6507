"""The equations of RNN, GRU and LSTM for some rows of a batch, forward and backward.

A cell works on a *span* of steps that lies in memory of its own. Slot j of `h` (and of `c`) is the
state before step j of the span, slot j + 1 the one behind it. `values` [span, rows, columns] holds
the products with the inputs, and after a step what the gates let through, in ONNX's order. This is
saved, [span, gates, rows, units]. Backward `saved` is that of the span; `values` holds the slopes
there, and after a step the gradients of what the gates were given. A step that does not count
leaves the state as it is; its gates are saved `closed`, so that its slopes are 0. Source of the
equations: the ONNX operator specification; of the gradients: the chain rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from eddl.backends.array.products import Make, Matrix, Product
from eddl.backends.array.recurrence import Recurrence
from eddl.backends.array.unfolding import Workspace

Buffers = SimpleNamespace
Step = Callable[[int], None]
"""What is done for a slot of the span."""


class Cell:
    """An operator's equations for `rows` rows of the batch in one direction.

    `columns` are those of `values`, in units. `sides` says in which of them, after a step backward,
    the gradients lie of what some rows of R gave, and from what: (first row, row behind the last,
    first column, the buffer they were multiplied with). `products` are those with R, each with the
    rows that it takes.
    """

    columns: int
    sides: Sequence[tuple[int, int, int, str]]
    closed: Sequence[float] = ()
    """What the gates let through where a step leaves the state as it is."""

    def __init__(
        self, xp: Any, r: Recurrence, direction: int, rows: int, make: Make, *, back: bool
    ) -> None:
        self.xp, self.r, self.rows, self.make = xp, r, rows, make
        self.f = r.activations[direction]
        self.wide = self.columns * r.units
        self.products = self.backward_products() if back else self.forward_products()

    def forward_products(self) -> list[tuple[slice, Product]]:
        """From the state to `values`."""
        raise NotImplementedError

    def backward_products(self) -> list[tuple[slice, Product]]:
        """From `values` to the gradient of the state."""
        raise NotImplementedError

    def take(self, b: Buffers, space: Workspace, span: int, *, back: bool) -> None:
        """The memory that this cell needs beside what all have."""

    def forward(self, b: Buffers) -> Step:
        """A step from `h` (and `c`) of its slot to those of the next."""
        raise NotImplementedError

    def slopes(self, b: Buffers, count: int) -> None:
        """Fill so many slots of `values` with the slopes at what was saved."""
        raise NotImplementedError

    def backward(self, b: Buffers) -> Step:
        """A step that takes `dh` (and `dc`) from behind its slot to before it."""
        raise NotImplementedError

    def _ahead(self, first: int, last: int, **how: Any) -> tuple[slice, Product]:
        size, count = self.r.units, (last - first) * self.r.units
        left, right = Matrix.part(self.rows, size), Matrix.part(count, size).turned
        out = Matrix.part(self.rows, count, self.wide)
        made = self.make(self.r.dtype, left, right, out, packed=True, **how)
        return slice(first * size, last * size), made

    def _back(self, first: int, last: int, **how: Any) -> tuple[slice, Product]:
        size, count = self.r.units, (last - first) * self.r.units
        left, right = Matrix.part(self.rows, count, self.wide), Matrix.part(count, size)
        out = Matrix.part(self.rows, size)
        made = self.make(self.r.dtype, left, right, out, packed=True, **how)
        return slice(first * size, last * size), made

    def _states(self, space: Workspace, slots: int) -> Any:
        return space.take((slots, self.rows, self.r.units), self.r.dtype)

    def _columns(self, values: Any) -> list[Any]:
        """Each gate's columns."""
        size = self.r.units
        return [values[..., start : start + size] for start in range(0, self.wide, size)]

    def _gates(self, values: Any) -> list[list[Any]]:
        """Each gate's columns of each slot."""
        return [list(columns) for columns in self._columns(values)]


class Rnn(Cell):
    """h' = f(x + R h)."""

    columns, sides = 1, [(0, 1, 0, "h")]

    def forward_products(self) -> list[tuple[slice, Product]]:
        """R with the state."""
        return [self._ahead(0, 1, add=True, activations=[(self.f, self.r.units)])]

    def backward_products(self) -> list[tuple[slice, Product]]:
        """R with what its rows gave."""
        return [self._back(0, 1, add=self.r.lengths)]

    def forward(self, b: Buffers) -> Step:
        """The activation is in the product."""
        (_, product), (packed,) = self.products[0], b.packed
        copy, h, values = self.xp.copyto, b.h, b.values
        runs = [product.bind(h[j], packed, v, b.scratch) for j, v in enumerate(values)]

        def step(j: int) -> None:
            runs[j]()
            copy(h[j + 1], values[j])

        return step

    def slopes(self, b: Buffers, count: int) -> None:
        """f' by y: 1 - y y, y (1 - y), or y > 0."""
        xp, y, slope = self.xp, b.saved, b.values[:count]
        if self.f == "relu":
            xp.greater(y, 0, out=slope, casting="unsafe")
            return
        xp.multiply(y, y, out=slope)
        xp.subtract(y if self.f == "sigmoid" else y.dtype.type(1), slope, out=slope)

    def backward(self, b: Buffers) -> Step:
        """Through f, then through R."""
        (_, product), (packed,) = self.products[0], b.packed
        multiply, values, dh, dead = self.xp.multiply, b.values, b.dh, b.dead
        runs = [product.bind(v, packed, dh, b.scratch) for v in values]

        def step(j: int) -> None:
            multiply(values[j], dh, out=values[j])
            if dead is not None:
                multiply(dh, dead[j], out=dh)
            runs[j]()

        return step


class Gru(Cell):
    """z, r = s(x + R h); n = tanh(x + r (R h + b)), or tanh(x + R (r h)); h' = n + z (h - n).

    Where the reset gate works on the product, that product is a fourth column of `values`.
    """

    def __init__(self, xp: Any, r: Recurrence, *others: Any, **how: Any) -> None:
        self.columns = 4 if r.before else 3
        self.closed = (1, 0, 0, 0)[: self.columns]
        self.sides = [(0, 2, 0, "h"), (2, 3, 3, "h") if r.before else (2, 3, 2, "rh")]
        super().__init__(xp, r, *others, **how)

    def forward_products(self) -> list[tuple[slice, Product]]:
        """The gates' rows of R, and the last ones."""
        size = self.r.units
        gates = self._ahead(0, 2, add=True, activations=[("sigmoid", 2 * size)])
        if self.r.before:
            return [gates, self._ahead(2, 3, bias=True)]
        return [gates, self._ahead(2, 3, add=True, activations=[("tanh", size)])]

    def backward_products(self) -> list[tuple[slice, Product]]:
        """The same rows, the other way."""
        return [self._back(0, 2, add=True), self._back(2, 3, add=self.r.before)]

    def take(self, b: Buffers, space: Workspace, span: int, *, back: bool) -> None:
        """Copies for the slopes; r h, where R multiplies it."""
        b.spare = self._states(space, span if back else 1)
        b.other = self._states(space, span) if back else None
        b.rh = None if self.r.before or not back else self._states(space, span)

    def forward(self, b: Buffers) -> Step:
        """Both gates, then n, then h'."""
        xp, h, spare, before, size = self.xp, list(b.h), b.spare[0], self.r.before, self.r.units
        (_, gates), (_, last) = self.products
        z, r, n, *q = self._gates(b.values)
        inner, bias = (q[0], b.inner_bias) if before else (n, None)
        runs = [
            (gates.bind(h[j], b.packed[0], values[:, : 2 * size], b.scratch),
             last.bind(h[j] if before else spare, b.packed[1], inner[j], b.scratch, bias))
            for j, values in enumerate(b.values)
        ]  # fmt: skip

        def step(j: int) -> None:
            first, second = runs[j]
            first()
            if before:
                second()
                xp.multiply(r[j], inner[j], out=spare)
                xp.add(n[j], spare, out=n[j])
                xp.tanh(n[j], out=n[j])
            else:
                xp.multiply(r[j], h[j], out=spare)
                second()
            xp.subtract(h[j], n[j], out=spare)
            xp.multiply(z[j], spare, out=spare)
            xp.add(n[j], spare, out=h[j + 1])

        return step

    def slopes(self, b: Buffers, count: int) -> None:
        """At z, r and n; what comes behind r is kept apart."""
        xp, one = self.xp, self.r.dtype.type(1)
        z, r, n, *q = b.saved.swapaxes(0, 1)
        at_z, at_r, at_n, *_ = self._columns(b.values[:count])
        h, spare, other = b.h[:count], b.spare[:count], b.other[:count]
        xp.subtract(one, z, out=spare)
        xp.multiply(n, n, out=other)
        xp.subtract(one, other, out=other)
        xp.multiply(other, spare, out=at_n)  # (1 - n n) (1 - z)
        xp.multiply(spare, z, out=spare)
        xp.subtract(h, n, out=other)
        xp.multiply(spare, other, out=at_z)  # (1 - z) z (h - n)
        xp.multiply(r, r, out=spare)
        xp.subtract(r, spare, out=spare)
        xp.multiply(spare, q[0] if q else h, out=at_r)  # r (1 - r) times what r is a factor of
        if not q:
            xp.multiply(r, h, out=b.rh[:count])

    def backward(self, b: Buffers) -> Step:
        """Through h', n and the gates."""
        xp, dh, size, flow = self.xp, b.dh, self.r.units, b.spare[0]
        (_, gates), (_, last) = self.products
        z, r, n, *q = self._gates(b.values)
        inner, target = (q[0], dh) if q else (n, flow)
        runs = [
            (gates.bind(values[:, : 2 * size], b.packed[0], dh, b.scratch),
             last.bind(inner[j], b.packed[1], target, b.scratch))
            for j, values in enumerate(b.values)
        ]  # fmt: skip

        def step(j: int) -> None:
            first, second = runs[j]
            kept_z, kept_r = b.saved[j, :2]
            xp.multiply(n[j], dh, out=n[j])
            xp.multiply(z[j], dh, out=z[j])
            xp.multiply(dh, kept_z, out=dh)
            if q:
                xp.multiply(r[j], n[j], out=r[j])
                xp.multiply(kept_r, n[j], out=inner[j])
                second()
            else:
                second()
                xp.multiply(r[j], flow, out=r[j])
                xp.multiply(flow, kept_r, out=flow)
                xp.add(dh, flow, out=dh)
            first()

        return step


class Lstm(Cell):
    """i, o, f = s(x + R h); g = tanh(x + R h); c' = f c + i g; h' = o tanh(c')."""

    columns, sides, closed = 4, [(0, 4, 0, "h")], (0, 0, 1, 0)

    def forward_products(self) -> list[tuple[slice, Product]]:
        """All gates at once."""
        size = self.r.units
        return [self._ahead(0, 4, add=True, activations=[("sigmoid", 3 * size), ("tanh", size)])]

    def backward_products(self) -> list[tuple[slice, Product]]:
        """All gates at once."""
        return [self._back(0, 4, add=self.r.lengths)]

    def take(self, b: Buffers, space: Workspace, span: int, *, back: bool) -> None:
        """The cells' states, and what their gradient needs."""
        b.spare = self._states(space, span if back else 1)
        if back:
            b.dc, b.slope = self._states(space, 1), self._states(space, span)
        else:
            b.c = self._states(space, span + 1)

    def forward(self, b: Buffers) -> Step:
        """The gates, then c', then h'."""
        xp, h, c, spare = self.xp, list(b.h), list(b.c), b.spare[0]
        (_, product), (packed,) = self.products[0], b.packed
        runs = [product.bind(h[j], packed, v, b.scratch) for j, v in enumerate(b.values)]
        slots = list(zip(runs, *self._gates(b.values), c, c[1:], h[1:], strict=False))
        multiply, add, tanh = xp.multiply, xp.add, xp.tanh

        def step(j: int) -> None:
            run, i, o, f, g, before, after, out = slots[j]
            run()
            multiply(f, before, after)
            multiply(i, g, spare)
            add(after, spare, after)
            tanh(after, spare)
            multiply(o, spare, out)

        return step

    def slopes(self, b: Buffers, count: int) -> None:
        """At all gates, and that of h' by c'."""
        xp, one = self.xp, self.r.dtype.type(1)
        i, o, f, g = b.saved.swapaxes(0, 1)
        at_i, at_o, at_f, at_g = self._columns(b.values[:count])
        slope, spare = b.slope[:count], b.spare[:count]
        xp.multiply(i, i, out=spare)
        xp.subtract(i, spare, out=spare)
        xp.multiply(spare, g, out=at_i)  # i (1 - i) g
        xp.multiply(f, f, out=spare)
        xp.subtract(f, spare, out=spare)
        xp.multiply(spare[0], b.c_before, out=at_f[0])
        xp.multiply(spare[1:], b.c[:-1], out=at_f[1:])  # f (1 - f) c
        xp.multiply(g, g, out=spare)
        xp.subtract(one, spare, out=spare)
        xp.multiply(spare, i, out=at_g)  # (1 - g g) i
        xp.tanh(b.c, out=slope)
        xp.multiply(o, o, out=spare)
        xp.subtract(o, spare, out=spare)
        xp.multiply(spare, slope, out=at_o)  # o (1 - o) tanh(c')
        xp.multiply(slope, slope, out=slope)
        xp.subtract(one, slope, out=slope)
        xp.multiply(slope, o, out=slope)  # o (1 - tanh(c') ** 2)

    def backward(self, b: Buffers) -> Step:
        """Through h', c' and the gates."""
        xp, dh, dc, spare, dead = self.xp, b.dh, b.dc[0], b.spare[0], b.dead
        (_, product), size = self.products[0], self.r.units
        i, o, *_ = self._gates(b.values)
        later = list(b.values[..., 2 * size :].reshape(*b.values.shape[:2], 2, size))
        twice, slope = dc[:, None], list(b.slope)
        runs = [product.bind(values, b.packed[0], dh, b.scratch) for values in b.values]

        def step(j: int) -> None:
            xp.multiply(dh, slope[j], out=spare)
            xp.add(dc, spare, out=dc)
            xp.multiply(o[j], dh, out=o[j])
            xp.multiply(i[j], dc, out=i[j])
            xp.multiply(later[j], twice, out=later[j])
            xp.multiply(dc, b.saved[j, 2], out=dc)
            if dead is not None:
                xp.multiply(dh, dead[j], out=dh)
            runs[j]()

        return step


CELLS: dict[str, type[Cell]] = {"RNN": Rnn, "GRU": Gru, "LSTM": Lstm}

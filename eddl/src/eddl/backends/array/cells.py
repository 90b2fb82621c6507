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

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from eddl.backends.array.products import Make, Matrix, Product
from eddl.backends.array.recurrence import Recurrence
from eddl.backends.array.unfolding import Workspace
from eddl.compiler.protocol import Thunk

Buffers = SimpleNamespace
Steps = list[list[Thunk]]
"""What is called for each slot of the span."""
Slots = list[Any]


class Cell:
    """An operator's equations for `rows` rows of the batch in one direction.

    `columns` are those of `values`. `sides` says in which of them, after a step backward, the
    gradients lie of what some rows of R gave, and from what: (first row, row behind the last, first
    column, the buffer they were multiplied with), in units. `products` are those with R, one for
    each gate's rows.
    """

    columns: int
    sides: Sequence[tuple[int, int, int, str]]
    closed: Sequence[float] = ()
    """What the gates let through where a step leaves the state as it is."""
    joined = False
    """Whether `values` and the states lie in the same place."""

    def __init__(
        self, xp: Any, r: Recurrence, direction: int, rows: int, make: Make, *, back: bool
    ) -> None:
        self.xp, self.r, self.rows, self.make = xp, r, rows, make
        self.f = r.activations[direction]
        square, state = Matrix.part(r.units, r.units), Matrix.part(rows, r.units)
        right, how = (square, self.behind) if back else (square.turned, self.ahead)
        self.products: list[Product] = [
            make.product(r.dtype, state, right, state, packed=True, **how(gate))
            for gate in range(r.gates // r.units)
        ]

    def ahead(self, gate: int) -> dict[str, Any]:
        """How a gate's product is made, from the state to `values`."""
        raise NotImplementedError

    def behind(self, gate: int) -> dict[str, Any]:
        """How it is made from `values` to the gradient of the state."""
        raise NotImplementedError

    def take(self, b: Buffers, space: Workspace, span: int, *, back: bool) -> None:
        """The memory that this cell needs beside what all have."""
        b.values = space.take((self.columns, span, self.rows, self.r.units), self.r.dtype)

    def forward(self, b: Buffers, h: Slots, c: Slots) -> Steps:
        """From `h` (and `c`) of a slot to those of the next."""
        raise NotImplementedError

    def slopes(self, b: Buffers, count: int) -> None:
        """Fill so many slots of `values` with the slopes at what was saved."""
        raise NotImplementedError

    def backward(self, b: Buffers) -> Steps:
        """Take `dh` (and `dc`) from behind a slot to before it."""
        raise NotImplementedError

    def _states(self, space: Workspace, slots: int) -> Any:
        return space.take((slots, self.rows, self.r.units), self.r.dtype)

    def _chain(self, *operations: str) -> Any:
        """What binds arrays as large as a state: the result, then the operands."""
        return self.make.chain(self.r.dtype, self.rows * self.r.units, *operations).bind

    def _product(self, b: Buffers, gate: int, left: Any, out: Any, bias: Any = None) -> Thunk:
        return self.products[gate].bind(left, b.packed[gate], out, b.scratch, bias)


class Rnn(Cell):
    """h' = f(x + R h). The products with the inputs lie where the states come."""

    columns, sides, joined = 1, [(0, 1, 0, "h")], True

    def ahead(self, gate: int) -> dict[str, Any]:
        """The activation follows."""
        return {"add": True, "activation": self.f}

    def behind(self, gate: int) -> dict[str, Any]:
        """Steps that do not count leave their gradient there."""
        return {"add": self.r.lengths}

    def take(self, b: Buffers, space: Workspace, span: int, *, back: bool) -> None:
        """Forward, `values` are states."""
        if back:
            super().take(b, space, span, back=back)
        else:
            b.values = None if b.h is None else b.h[None, 1:]

    def forward(self, b: Buffers, h: Slots, c: Slots) -> Steps:
        """The activation is in the product."""
        return [[self._product(b, 0, *pair)] for pair in zip(h, b.values[0], strict=False)]

    def slopes(self, b: Buffers, count: int) -> None:
        """f' by y: 1 - y y, y (1 - y), or y > 0."""
        xp, y, slope = self.xp, b.saved, b.values[0, :count]
        if self.f == "relu":
            xp.greater(y, 0, out=slope, casting="unsafe")
            return
        xp.multiply(y, y, out=slope)
        xp.subtract(y if self.f == "sigmoid" else y.dtype.type(1), slope, out=slope)

    def backward(self, b: Buffers) -> Steps:
        """Through f, then through R."""
        multiply, dh = self._chain("multiply"), b.dh
        return [
            [multiply(v, v, dh), *(multiply(dh, dh, d) for d in dead), self._product(b, 0, v, dh)]
            for v, *dead in zip(b.values[0], *([] if b.dead is None else [b.dead]), strict=True)
        ]


class Gru(Cell):
    """z, r = s(x + R h); n = tanh(x + r (R h + b)), or tanh(x + R (r h)); h' = n + z (h - n).

    Where the reset gate works on the product, that product is a fourth column of `values`.
    """

    def __init__(self, xp: Any, r: Recurrence, *others: Any, **how: Any) -> None:
        self.columns = 4 if r.before else 3
        self.closed = (1, 0, 0, 0)[: self.columns]
        self.sides = [(0, 2, 0, "h"), (2, 3, 3, "h") if r.before else (2, 3, 2, "rh")]
        super().__init__(xp, r, *others, **how)

    def ahead(self, gate: int) -> dict[str, Any]:
        """z and r, and what n is made of."""
        if gate < 2:
            return {"add": True, "activation": "sigmoid"}
        return {"bias": True} if self.r.before else {"add": True, "activation": "tanh"}

    def behind(self, gate: int) -> dict[str, Any]:
        """All flow into the same, but what was multiplied with r."""
        return {"add": gate < 2 or self.r.before}

    def take(self, b: Buffers, space: Workspace, span: int, *, back: bool) -> None:
        """What slopes are made in and then z and r are kept in; r h, where R multiplies it."""
        super().take(b, space, span, back=back)
        b.flow = self._states(space, 1)
        if back:
            b.z, b.r = self._states(space, span), self._states(space, span)
            b.rh = None if self.r.before else self._states(space, span)

    def forward(self, b: Buffers, h: Slots, c: Slots) -> Steps:
        """Both gates, then n, then h'."""
        spare, found = b.flow[0], []
        multiply, mix = self._chain("multiply"), self._chain("subtract", "multiply", "add")
        add = self._chain("add", "tanh")
        for before, after, z, r, n, *q in zip(h, h[1:], *b.values, strict=False):
            calls = [self._product(b, 0, before, z), self._product(b, 1, before, r)]
            if q:
                calls += [self._product(b, 2, before, q[0], b.inner_bias),
                          multiply(spare, r, q[0]), add(n, n, spare)]  # fmt: skip
            else:
                calls += [multiply(spare, r, before), self._product(b, 2, spare, n)]
            found.append([*calls, mix(after, before, n, z, n)])
        return found

    def slopes(self, b: Buffers, count: int) -> None:
        """At z, r and n; what comes behind r is kept apart."""
        xp, one = self.xp, self.r.dtype.type(1)
        z, r, n, *q = b.saved.swapaxes(0, 1)
        at_z, at_r, at_n, *_ = b.values[:, :count]
        h, spare, other = b.h[:count], b.z[:count], b.r[:count]
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
        xp.copyto(spare, z)
        xp.copyto(other, r)

    def backward(self, b: Buffers) -> Steps:
        """Through h', n and the gates."""
        dh, flow, found = b.dh, b.flow[0], []
        multiply, add = self._chain("multiply"), self._chain("add")
        for kept_z, kept_r, z, r, n, *q in zip(b.z, b.r, *b.values, strict=True):
            calls = [multiply(n, n, dh), multiply(z, z, dh), multiply(dh, dh, kept_z)]
            if q:
                calls += [multiply(r, r, n), multiply(q[0], kept_r, n),
                          self._product(b, 2, q[0], dh)]  # fmt: skip
            else:
                calls += [self._product(b, 2, n, flow), multiply(r, r, flow),
                          multiply(flow, flow, kept_r), add(dh, dh, flow)]  # fmt: skip
            found.append([*calls, self._product(b, 0, z, dh), self._product(b, 1, r, dh)])
        return found


class Lstm(Cell):
    """i, o, f = s(x + R h); g = tanh(x + R h); c' = f c + i g; h' = o tanh(c')."""

    columns, sides, closed = 4, [(0, 4, 0, "h")], (0, 0, 1, 0)

    def ahead(self, gate: int) -> dict[str, Any]:
        """The activation follows."""
        return {"add": True, "activation": "tanh" if gate == 3 else "sigmoid"}

    def behind(self, gate: int) -> dict[str, Any]:
        """All flow into the same; steps that do not count leave their gradient there."""
        return {"add": gate > 0 or self.r.lengths}

    def take(self, b: Buffers, space: Workspace, span: int, *, back: bool) -> None:
        """The cells' states, and what their gradient needs: what slopes are made in and then f is
        kept in, and the slopes of h'."""
        super().take(b, space, span, back=back)
        if back:
            b.dc = self._states(space, 2)
            b.f, b.slope = self._states(space, span), self._states(space, span)
        else:
            b.spare, b.c = self._states(space, 1), self._states(space, span + 1)

    def forward(self, b: Buffers, h: Slots, c: Slots) -> Steps:
        """The gates, then c', then h'."""
        spare, found = b.spare[0], []
        multiply, cell = self._chain("multiply"), self._chain("multiply", "add")
        state = self._chain("tanh", "multiply")
        for before, after, old, new, *gates in zip(h, h[1:], c, c[1:], *b.values, strict=False):
            i, o, f, g = gates
            calls = [self._product(b, gate, before, place) for gate, place in enumerate(gates)]
            calls += [multiply(spare, i, g), cell(new, f, old, spare), state(after, new, o)]
            found.append(calls)
        return found

    def slopes(self, b: Buffers, count: int) -> None:
        """At all gates, and that of h' by c'."""
        xp, one = self.xp, self.r.dtype.type(1)
        i, o, f, g = b.saved.swapaxes(0, 1)
        at_i, at_o, at_f, at_g = b.values[:, :count]
        slope, spare = b.slope[:count], b.f[:count]
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
        xp.copyto(spare, f)

    def backward(self, b: Buffers) -> Steps:
        """Through h', c' and the gates."""
        dh, (dc, inner), found = b.dh, b.dc, []
        multiply, cell = self._chain("multiply"), self._chain("multiply", "add")
        dead = [None] * len(b.f) if b.dead is None else b.dead
        for kept, slope, rest, *gates in zip(b.f, b.slope, dead, *b.values, strict=True):
            i, o, f, g = gates
            calls = [cell(inner, dh, slope, dc), multiply(o, o, dh), multiply(dc, inner, kept)]
            calls += [multiply(place, place, inner) for place in (i, f, g)]
            if rest is not None:
                calls.append(multiply(dh, dh, rest))
            calls += [self._product(b, gate, place, dh) for gate, place in enumerate(gates)]
            found.append(calls)
        return found


CELLS: dict[str, type[Cell]] = {"RNN": Rnn, "GRU": Gru, "LSTM": Lstm}

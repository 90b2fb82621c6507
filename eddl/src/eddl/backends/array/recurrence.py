"""What an RNN, GRU or LSTM computes, in the terms of the kernels, and which ones they know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from eddl.graph import Node
from eddl.ops.recurrent import DEFAULTS, GATES, named

ACTIVATIONS = ("relu", "sigmoid", "tanh")


@dataclass(frozen=True)
class Recurrence:
    """What a node computes."""

    op: str
    steps: int
    batch: int
    features: int
    units: int
    directions: int
    reverse: bool
    before: bool
    """Whether GRU's reset gate works on the product with the state."""
    activations: tuple[str, ...]
    lengths: bool
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, node: Node) -> Recurrence:
        """From an operator or its gradient."""
        given, how = named(node, node.inputs), node.attributes
        x, op = given["X"], node.op.removesuffix("Grad")
        directions = 2 if how["direction"] == "bidirectional" else 1
        names = how["activations"] or DEFAULTS[op] * directions
        steps, batch, features = x.type.sizes
        return cls(
            op, steps, batch, features, how["hidden_size"], directions,
            how["direction"] == "reverse", bool(how.get("linear_before_reset")),
            tuple(name.lower() for name in names), given["sequence_lens"] is not None, x.dtype,
        )  # fmt: skip

    @classmethod
    def fits(cls, node: Node) -> bool:
        """Whether the kernels compute a node; others are written out."""
        r, how = cls.of(node), node.attributes
        usual = tuple(name.lower() for name in DEFAULTS[r.op]) * r.directions
        return (
            r.dtype in (np.float32, np.float64)
            and how["clip"] is None
            and not how["layout"]
            and not how.get("input_forget")
            and named(node, node.inputs).get("P") is None
            and (r.activations == usual or (r.op == "RNN" and set(r.activations) < {*ACTIVATIONS}))
            and min(r.steps, r.batch, r.features, r.units) > 0
        )

    @property
    def gates(self) -> int:
        """The rows of W and R."""
        return GATES[self.op] * self.units

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """The shapes of one direction's W, R and B."""
        return {
            "W": (self.gates, self.features),
            "R": (self.gates, self.units),
            "B": (2 * self.gates,),
        }

    def turned(self, direction: int) -> bool:
        """Whether a direction goes from the last step to the first."""
        return self.reverse or direction == 1

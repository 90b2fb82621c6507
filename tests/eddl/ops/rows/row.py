"""What a row is: an operator with inputs and attributes, to be run against an oracle.

A row gives the inputs (arrays, or a function of a random generator), the attributes, and, by the
values it draws, keeps away from ties and kinks so that central differences mean something.
`tests/eddl/ops/test_operators.py` fails for an operator of the table without a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Generator = np.random.Generator


@dataclass(frozen=True)
class Row:
    op: str
    inputs: Callable[[Generator], list[Any]]
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""
    constant: tuple[int, ...] = ()
    """Inputs given as constants, as axes and shapes are."""
    outputs: int = 1
    oracle: str = "onnx.reference"
    """"onnxruntime" where onnx.reference 1.23 is wrong (auto_pad with strides, paddings of LpPool,
    LRN with fewer samples than channels), lacks the operator, asks for more than the standard, or
    computes in float32 for float64."""
    opset: int = 21
    """Which form the oracle takes: that of operators which are newer, or gone by 21."""

    @property
    def name(self) -> str:
        shown = ",".join(f"{k}={v}" for k, v in self.attributes.items())
        return f"{self.op}({shown})"


def spread(r: Generator, *shape: int) -> np.ndarray:
    """Values at least 0.01 apart, none within 0.005 of 0: no ties, no kinks."""
    count = int(np.prod(shape))
    values = (np.arange(count) - count // 2 + 0.5) * 0.02
    return r.permutation(values).reshape(shape) * (30 / max(count, 30)) ** 0.5


def positive(r: Generator, *shape: int) -> np.ndarray:
    return r.uniform(0.5, 2.0, shape)


def ints(*values: int) -> np.ndarray:
    return np.asarray(values, np.int64)

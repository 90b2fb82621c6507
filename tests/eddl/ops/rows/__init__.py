"""Rows of every operator, a file a family; `test_operators.py` runs them all."""

from . import core, indexing, learning, math, norms, quantization, recurrent, signal, spatial
from .row import Row

ROWS: list[Row] = [
    *core.ROWS,
    *indexing.ROWS,
    *learning.ROWS,
    *norms.ROWS,
    *recurrent.ROWS,
    *spatial.ROWS,
    *math.ROWS,
    *quantization.ROWS,
    *signal.ROWS,
]

__all__ = ["ROWS", "Row"]

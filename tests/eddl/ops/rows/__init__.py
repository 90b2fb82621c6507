"""Rows of every operator, a file a family; `test_operators.py` runs them all."""

from . import core, recurrent
from .row import Row

ROWS: list[Row] = [*core.ROWS, *recurrent.ROWS]

__all__ = ["ROWS", "Row"]

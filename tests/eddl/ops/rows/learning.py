"""Rows of what losses are built on; their bodies are the oracles."""

from __future__ import annotations

import numpy as np

from .row import Row, ints, spread

ROWS: list[Row] = [
    Row("Average", lambda r: [np.array(3.5), np.array(4.0)], domain="eddl"),
    Row("Average", lambda r: [np.array(0.0), np.array(0.0)], domain="eddl", constant=(1,)),
    Row("Paired", lambda r: [spread(r, 2, 3), spread(r, 2, 3)], domain="eddl"),
    Row("Paired", lambda r: [spread(r, 2, 4), spread(r, 2, 3, 4)], {"without": 1}, domain="eddl"),
    Row("Labels", lambda r: [ints(-1, 0, 2, 3, 255)], {"classes": 3}, domain="eddl"),
    Row("Labels", lambda r: [ints(-1, 0, 2, 3, 255)], {"classes": 3, "ignore_label": 2},
        domain="eddl"),
    Row("SquareBound", lambda r: [spread(r, 2, 3), spread(r, 4)], domain="eddl"),
    *(Row("Squares", lambda r: [spread(r, 2, 3), spread(r, 4)], {"product": product},
          domain="eddl") for product in (0, 1)),
    *(Row("ResizeLike", lambda r, a=a, b=b: [spread(r, *a), spread(r, *b)], domain="eddl")
      for a, b in (((2, 6, 4), (2, 3, 3, 2)), ((2, 2, 5), (2, 3, 4)), ((2, 4), (2, 3, 4)),
                   ((1, 4, 4, 2), (1, 2, 2, 2, 1)))),
    Row("ResizeLike", lambda r: [r.integers(0, 9, (2, 6, 4)), r.integers(0, 9, (2, 3, 3, 2))],
        domain="eddl"),
    *(Row("Sort", lambda r: [spread(r, 3, 5)], {"axis": axis, "descending": down}, domain="eddl",
          outputs=2) for axis in (0, 1) for down in (0, 1)),
]  # fmt: skip

"""Rows of the operators that pick, place, split, repeat and pad."""

from __future__ import annotations

import numpy as np

from .row import Row, ints, spread


def _distinct(r: np.random.Generator, *shape: int) -> np.ndarray:
    return spread(r, *shape) + 0.003  # off the lattice on which the other inputs lie


INDEXING = [
    Row("Gather", lambda r: [spread(r, 2, 4, 3), r.integers(-4, 4, (2, 3))], {"axis": 1}),
    Row("Gather", lambda r: [spread(r, 2, 4, 3), np.array(-1)], {"axis": -1}),
    Row("GatherElements", lambda r: [spread(r, 3, 4), r.integers(-3, 3, (5, 4))]),
    Row("GatherElements", lambda r: [spread(r, 3, 4), r.integers(-3, 3, (5, 2))],
        oracle="onnxruntime"),
    Row("GatherElements", lambda r: [spread(r, 2, 3, 4), r.integers(0, 4, (2, 3, 2))],
        {"axis": 2}),
    Row("GatherND", lambda r: [spread(r, 3, 4, 2), r.integers(-3, 3, (2, 3, 2))]),
    Row("GatherND", lambda r: [spread(r, 3, 4), r.integers(0, 3, (5, 1))]),
    Row("GatherND", lambda r: [spread(r, 2, 3, 4, 2), r.integers(0, 3, (2, 3, 5, 1))],
        {"batch_dims": 2}),
    *(Row("ScatterElements", lambda r: [spread(r, 4, 3), r.permutation(4)[:2, None]
                                        + np.zeros((2, 3), int), _distinct(r, 2, 3)],
          {"reduction": how}) for how in ("none", "add", "mul", "max", "min")),
    *(Row("ScatterElements", lambda r: [spread(r, 3, 4), r.integers(-4, 4, (3, 6)),
                                        _distinct(r, 3, 6)],
          {"reduction": how, "axis": 1}) for how in ("add", "mul", "max", "min")),
    *(Row("ScatterND", lambda r: [spread(r, 5, 3), r.permutation(5)[:3, None],
                                  _distinct(r, 3, 3)], {"reduction": how})
      for how in ("none", "add", "mul", "max", "min")),
    *(Row("ScatterND", lambda r: [spread(r, 2, 3, 2), r.integers(0, 2, (4, 2)),
                                  _distinct(r, 4, 2)], {"reduction": how})
      for how in ("add", "mul", "max", "min")),
    Row("Scatter", lambda r: [spread(r, 4, 3), ints(2, 0, 1)[None, :], spread(r, 1, 3)], opset=9,
        oracle="onnxruntime"),
    Row("TensorScatter", lambda r: [spread(r, 2, 3, 5, 2), spread(r, 2, 3, 2, 2), ints(1, 3)],
        opset=24),
    Row("TensorScatter", lambda r: [spread(r, 2, 5, 2), spread(r, 2, 3, 2), ints(1, 4)],
        {"mode": "circular", "axis": 1}, opset=24),
    Row("ReverseSequence", lambda r: [spread(r, 4, 3, 2), ints(4, 1, 3)]),
    Row("ReverseSequence", lambda r: [spread(r, 2, 4), ints(2, 3)],
        {"batch_axis": 0, "time_axis": 1}),
    Row("TopK", lambda r: [spread(r, 3, 5), ints(2)], constant=(1,), outputs=2),
    Row("TopK", lambda r: [spread(r, 4, 3, 2), ints(3)], {"axis": 0, "largest": 0},
        constant=(1,), outputs=2),
    Row("TopK", lambda r: [np.round(10 * spread(r, 3, 8)), ints(5)], {"axis": 1}, constant=(1, 0),
        outputs=2),
]  # fmt: skip
ARRANGEMENT = [
    Row("Split", lambda r: [spread(r, 2, 6)], {"axis": 1, "num_outputs": 3}, outputs=3),
    Row("Split", lambda r: [spread(r, 7, 2)], {"num_outputs": 4}, outputs=4),
    Row("Split", lambda r: [spread(r, 2, 6), ints(1, 3, 2)], {"axis": -1}, constant=(1,),
        outputs=3),
    Row("Tile", lambda r: [spread(r, 2, 3), ints(2, 3)], constant=(1,)),
    Row("Tile", lambda r: [spread(r, 3), ints(1)], constant=(1,)),
    *(Row("DepthToSpace", lambda r: [spread(r, 2, 8, 2, 3)], {"blocksize": 2, "mode": mode})
      for mode in ("DCR", "CRD")),
    Row("SpaceToDepth", lambda r: [spread(r, 2, 2, 4, 6)], {"blocksize": 2}),
    Row("SpaceToDepth", lambda r: [spread(r, 1, 2, 4, 6)], {"blocksize": 2, "mode": "CRD"},
        opset=28),
    *(Row("Pad", lambda r: [spread(r, 2, 3, 4), ints(0, 1, 2, 1, 0, 3)], {"mode": mode},
          constant=(1,)) for mode in ("edge", "reflect", "wrap")),
    Row("Pad", lambda r: [spread(r, 3, 4), ints(2, 2), np.array(0.0), ints(-2)],
        {"mode": "reflect"}, constant=(1, 2, 3)),
    Row("Flatten", lambda r: [spread(r, 2, 3, 4)], {"axis": -1}),
]  # fmt: skip

ROWS: list[Row] = [*INDEXING, *ARRANGEMENT]

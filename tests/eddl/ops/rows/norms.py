"""Rows of normalizations over layers, groups, instances and near channels."""

from __future__ import annotations

import numpy as np

from .row import Generator, Row, positive, spread


def _flows(r: Generator, shape: tuple[int, ...], scales: tuple[int, ...], kept: tuple[int, ...]):
    """Data, scale, the data's own means and 1 / deviations, which lie as `kept`, and a gradient."""
    x = spread(r, *shape)
    lines = x.reshape(int(np.prod(kept)), -1)
    mean = lines.mean(axis=1).reshape(kept)
    inverse = 1 / np.sqrt(lines.var(axis=1) + 1e-3).reshape(kept)
    return [x, positive(r, *scales), mean, inverse, spread(r, *shape)]


ROWS: list[Row] = [
    Row("LayerNormalization", lambda r: [spread(r, 3, 4), positive(r, 4), spread(r, 4)],
        {"epsilon": 1e-3}),
    Row("LayerNormalization", lambda r: [spread(r, 2, 3, 4), positive(r, 3, 4)], {"axis": 1}),
    Row("InstanceNormalization", lambda r: [spread(r, 2, 3, 4), positive(r, 3), spread(r, 3)],
        {"epsilon": 1e-3}),
    Row("InstanceNormalization", lambda r: [spread(r, 1, 2, 3, 2, 2), positive(r, 2),
                                            spread(r, 2)]),
    Row("GroupNormalization", lambda r: [spread(r, 2, 6, 3), positive(r, 6), spread(r, 6)],
        {"num_groups": 2, "epsilon": 1e-3}, oracle="onnxruntime"),
    Row("GroupNormalization", lambda r: [spread(r, 1, 4, 3, 2), positive(r, 4), spread(r, 4)],
        {"num_groups": 4}, oracle="onnxruntime"),
    *(Row(f"{kind}NormalizationGrad", lambda r, x=x, c=c, k=k: _flows(r, x, c, k),
          {"epsilon": 1e-3, **how}, domain="eddl")
      for kind, x, c, k, how in (("Instance", (2, 3, 4), (3,), (2, 3, 1), {}),
                                 ("Group", (2, 6, 3), (6,), (2, 2, 1), {"num_groups": 2}),
                                 ("Layer", (2, 3, 4), (3, 4), (2, 1, 1), {"axis": 1}))),
    Row("LRN", lambda r: [10 * spread(r, 2, 5, 3, 2)],
        {"size": 3, "alpha": 0.3, "beta": 0.6, "bias": 1.5}, oracle="onnxruntime"),
    Row("LRN", lambda r: [10 * spread(r, 5, 5, 2, 2)], {"size": 4, "alpha": 0.2}),
    *(Row("LRNGrad", lambda r: [10 * spread(r, 2, 6, 3, 2), spread(r, 2, 6, 3, 2)],
          {"size": size, "alpha": 0.3}, domain="eddl") for size in (4, 5)),
]  # fmt: skip

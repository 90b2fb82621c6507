"""Spatial transforms against SciPy, and noise, which does nothing outside training."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from eddl import layers

from .example import Example, each_rank, normal

TURN = np.asarray([[0.8, -0.5, 0.1], [0.6, 0.7, -0.2]])
TURN_3D = np.asarray([[0.8, -0.4, 0.1, 0.2], [0.3, 0.9, 0.0, -0.1], [-0.2, 0.1, 1.1, 0.05]])


def places(theta, space):
    """Where each element of an image is read, in elements, by matrices in normalised units."""
    lines = [(2 * np.arange(n) + 1) / n - 1 for n in space]
    axes = np.meshgrid(*lines, indexing="ij")
    ends = np.stack([*reversed(axes), np.ones(space)])
    found = np.tensordot(theta, ends, (1, 0))[::-1]
    return np.stack([((c + 1) * n - 1) / 2 for c, n in zip(found, space, strict=True)])


def read(x, at):
    """Linear sampling with zeros around; SciPy blends its border, so that zeros are added first."""
    wide = np.pad(x, 2)
    return ndimage.map_coordinates(wide, at + 2, order=1, mode="constant", prefilter=False)


def transformed(x, theta):
    found = np.zeros_like(x)
    for n in range(len(x)):
        at = places(theta if theta.ndim == 2 else theta[n], x.shape[2:])
        for c in range(x.shape[1]):
            found[n, c] = read(x[n, c], at)
    return found


def sampled(x, grid):
    found = np.zeros((*x.shape[:2], *grid.shape[1:-1]))
    for n in range(len(x)):
        units = np.moveaxis(grid[n], -1, 0)[::-1]
        at = np.stack([((c + 1) * m - 1) / 2 for c, m in zip(units, x.shape[2:], strict=True)])
        for c in range(x.shape[1]):
            found[n, c] = read(x[n, c], at)
    return found


def grids(r, shape):
    return r.uniform(-1.1, 1.1, shape)


def near_identity(r, shape):
    return np.eye(shape[1], shape[2])[None] + 0.2 * r.standard_normal(shape)


def quiet(layer, *arguments, **options):
    """In training noise of no size is drawn: the layer still gives its input."""
    return each_rank(layer, lambda x: getattr(layers, layer)(x, *arguments, **options),
                     lambda x: x, steady=layer != "alpha_dropout")  # fmt: skip


LINE = "samples no line"
EXAMPLES = [
    *(Example("grid_sample", lambda x, g: layers.grid_sample(x, g), sampled, (x, g),
              data=(normal, grids), runtime=LINE if len(x) == 3 else "")
      for x, g in (((2, 3, 6), (2, 4, 1)), ((2, 3, 5, 6), (2, 4, 3, 2)),
                   ((2, 2, 4, 5, 3), (2, 3, 2, 4, 3)))),
    Example("affine_transform", lambda x: layers.affine_transform(x, TURN),
            lambda x: transformed(x, TURN), ((2, 3, 6, 5),), data=normal, free=(2, 3)),
    Example("affine_transform", lambda x: layers.affine_transform(x, TURN_3D),
            lambda x: transformed(x, TURN_3D), ((2, 2, 4, 5, 6),), data=normal, free=(2, 3, 4)),
    Example("affine_transform", lambda x, m: layers.affine_transform(x, m), transformed,
            ((2, 3, 6, 5), (2, 2, 3)), data=(normal, near_identity), note="learnt"),
    *(Example("random_affine", lambda x: layers.random_affine(
        x, degrees=30, scale=(0.8, 1.2), translation=0.1), lambda x: x, (s,), free=(2, 3),
              steady=False) for s in ((2, 3, 6, 5), (2, 2, 4, 5, 6))),
    *quiet("dropout", 0.0),
    *quiet("spatial_dropout", 0.0),
    *quiet("alpha_dropout", 0.0),
    *quiet("gaussian_noise", 0.0),
    *quiet("gaussian_dropout", 0.0),
]  # fmt: skip

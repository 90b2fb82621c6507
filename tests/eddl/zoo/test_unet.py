"""U-Net: every rank, its parameter count, its gradient through the skips."""

import numpy as np
import pytest

import eddl
from eddl.errors import EddlError


def count(rank, channels, classes, filters, depth):
    """Convolutions without bias + 2 a channel of norm, transposed convolutions with bias, head."""
    total, below = 0, channels
    widths = [filters << level for level in range(depth)]
    for width in widths:
        total += 3**rank * (below * width + width * width) + 4 * width
        below = width
    for width in widths[:-1]:
        total += 2**rank * 2 * width * width + width
        total += 3**rank * (2 * width * width + width * width) + 4 * width
    return total + filters * classes + classes


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_shape_and_parameters(rank):
    x = eddl.Input((2, *[8] * rank))
    net = eddl.Model(x, eddl.zoo.unet(x, classes=3, filters=4, depth=3))
    assert net.outputs[0].shape == ("batch", 3, *[8] * rank)
    assert sum(p.type.count for p in net.parameters) == count(rank, 2, 3, 4, 3)
    data = np.random.default_rng(0).standard_normal((2, 2, *[8] * rank)).astype("float32")
    net.build(optimizer=eddl.Adam(1e-2), loss="dice_cross_entropy")
    labels = (data[:, 0] > 0).astype("int64")
    losses = [net.train_batch(data, labels)["loss"] for _ in range(8)]
    assert losses[-1] < losses[0]


def test_sizes_that_do_not_divide_are_refused():
    x = eddl.Input((1, None, None))
    net = eddl.Model(x, eddl.zoo.unet(x, classes=2, filters=2, depth=3))
    with pytest.raises(EddlError, match="Concat"):
        net.predict(np.zeros((1, 1, 10, 8), "float32"))


def test_options_are_checked():
    with pytest.raises(EddlError, match="classes=0"):
        eddl.zoo.unet(eddl.Input((1, 8, 8)), classes=0)

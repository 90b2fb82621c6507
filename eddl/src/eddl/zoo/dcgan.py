"""DCGAN: a generator and its critic. Source: Radford, Metz, Chintala 2016."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.layers import batch_norm, conv, conv_transpose, flatten, leaky_relu, relu, tanh
from eddl.zoo.table import checked, topology


def _start(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Any:
    """Normal with deviation 0.02, as in the paper's section 4."""
    return (generator.standard_normal(tuple(shape)) * 0.02).astype(dtype)


@topology(
    task="generation",
    use="pictures from noise",
    source="Radford, Metz, Chintala 2016, figure 1",
    ranks=(1, 2, 3),
    shapes=((100, 1, 1),),
    options={"channels": 3, "filters": 64},
    sizes={"dcgan_generator": (3_576_704, {})},
    counted="equal to PyTorch's example",
)
def dcgan_generator(noise: Value, channels: int, *, size: int = 64, filters: int = 128) -> Value:
    """The generator; gives pictures [N, channels, size...] in -1..1.

    Parameters: `noise` [N, features, 1...], with one 1 for each spatial axis; `channels` of the
    pictures; `size` of every spatial axis, 4 times a power of 2; `filters` of the last hidden
    layer, doubled at each one before.

    >>> import eddl
    >>> eddl.zoo.dcgan_generator(eddl.Input((16, 1, 1)), 1, size=32, filters=8).shape
    ('batch', 1, 32, 32)
    """
    checked("dcgan_generator", noise, (1, 2, 3), channels=channels, filters=filters)
    if any(side != 1 for side in noise.shape[2:]):
        raise AttributeValueError(
            f"dcgan_generator: received the noise {noise.type}, expected spatial axes of size 1"
        )
    widths = [filters << level for level in reversed(range(_levels("dcgan_generator", size)))]
    x = conv_transpose(noise, widths[0], 4, padding="valid", use_bias=False, initializer=_start)
    for width in widths[1:]:
        x = relu(batch_norm(x))
        x = conv_transpose(x, width, 4, strides=2, use_bias=False, initializer=_start)
    x = relu(batch_norm(x))
    return tanh(conv_transpose(x, channels, 4, strides=2, use_bias=False, initializer=_start))


@topology(
    task="generation",
    use="telling pictures from generated ones; features of pictures without labels",
    source="Radford, Metz, Chintala 2016, section 3",
    ranks=(1, 2, 3),
    shapes=((3, 64, 64),),
    options={"filters": 64},
    sizes={"dcgan_discriminator": (2_765_568, {})},
    counted="equal to PyTorch's example",
)
def dcgan_discriminator(x: Value, *, filters: int = 64, normalised: bool = True) -> Value:
    """The discriminator; ends in one logit a picture [N, 1].

    Parameters: `x` [N, C, size...], every size 4 times a power of 2; `filters` of the first layer,
    doubled at each further one; `normalised`, whether batch normalization follows all layers but
    the first, which a gradient penalty forbids.

    >>> import eddl
    >>> eddl.zoo.dcgan_discriminator(eddl.Input((1, 32, 32)), filters=8).shape
    ('batch', 1)
    """
    checked("dcgan_discriminator", x, (1, 2, 3), filters=filters)
    sizes = set(x.shape[2:])
    size = sizes.pop() if len(sizes) == 1 else None
    for level in range(_levels("dcgan_discriminator", size)):
        x = conv(x, filters << level, 4, strides=2, use_bias=False, initializer=_start)
        x = leaky_relu(batch_norm(x) if level and normalised else x, 0.2)
    x = conv(x, 1, 4, padding="valid", use_bias=False, initializer=_start)
    return flatten(x)


def _levels(name: str, size: Any) -> int:
    """How often 4 must be doubled to give a size."""
    levels = size.bit_length() - 3 if isinstance(size, int) else 0
    if levels < 1 or size != 4 << levels:
        raise AttributeValueError(
            f"{name}: received the size {size}, expected equal known sizes of 8, 16, 32, 64, ..."
        )
    return levels

"""U-Net. Source: Ronneberger et al. 2015, with batch normalization and padded convolutions."""

from __future__ import annotations

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.layers import batch_norm, concat, conv, conv_transpose, max_pool, relu


def unet(x: Value, classes: int, *, filters: int = 32, depth: int = 4) -> Value:
    """U-Net of any spatial rank; ends in logits [N, classes, space...].

    Parameters: `x` [N, C, space...], whose sizes must be multiples of 2^(depth - 1); `classes`;
    `filters` of the first level, doubled at each level down; `depth`, the number of levels.

    >>> import eddl
    >>> eddl.zoo.unet(eddl.Input((1, 64, 64)), classes=4, filters=8).shape
    ('batch', 4, 64, 64)
    """
    if classes < 1 or filters < 1 or depth < 1:
        raise AttributeValueError(
            f"unet: received classes={classes}, filters={filters}, depth={depth}; expected at "
            "least 1 of each"
        )
    skips: list[Value] = []
    for level in range(depth):
        x = _double(x, filters << level)
        if level < depth - 1:
            skips.append(x)
            x = max_pool(x, 2)
    for level, skip in reversed(list(enumerate(skips))):
        up = conv_transpose(x, filters << level, 2, strides=2)
        x = _double(concat([skip, up]), filters << level)
    return conv(x, classes, 1)


def _double(x: Value, filters: int) -> Value:
    for _ in range(2):
        x = relu(batch_norm(conv(x, filters, 3, use_bias=False)))
    return x

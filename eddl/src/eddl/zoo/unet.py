"""U-Nets: down, up, and the details of each level carried across."""

from __future__ import annotations

from collections.abc import Callable

from eddl.graph import Value
from eddl.layers import add, batch_norm, concat, conv, conv_transpose, max_pool, relu, resize
from eddl.zoo.table import checked, topology


@topology(
    task="segmentation",
    use="the usual first choice for masks of pictures and volumes",
    source="Ronneberger, Fischer, Brox 2015, with padded convolutions and batch normalization",
    ranks=(1, 2, 3),
    shapes=((1, 64, 64),),
    options={"classes": 2, "filters": 64, "depth": 5},
    sizes={"unet": (31_036_546, {})},
    counted="the paper's layers hold 31,030,658 weights and shifts; + 5,888 scales of the norms",
)
def unet(x: Value, classes: int, *, filters: int = 32, depth: int = 4) -> Value:
    """U-Net of any spatial rank; ends in logits [N, classes, space...].

    Parameters: `x` [N, C, space...], whose sizes must be multiples of 2^(depth - 1); `classes`;
    `filters` of the first level, doubled at each level down; `depth`, the number of levels.

    >>> import eddl
    >>> eddl.zoo.unet(eddl.Input((1, 64, 64)), classes=4, filters=8).shape
    ('batch', 4, 64, 64)
    """
    checked("unet", x, (1, 2, 3), classes=classes, filters=filters, depth=depth)

    def block(x: Value, width: int) -> Value:
        return _step(_step(x, width), width)

    def up(x: Value, width: int) -> Value:
        return conv_transpose(x, width, 2, strides=2)

    return _across(x, classes, [filters << level for level in range(depth)], block, block, up)


@topology(
    task="segmentation",
    use="masks of volumes from few of them",
    source="Çiçek et al. 2016: channels doubled before each pool",
    ranks=(3,),
    shapes=((3, 16, 16, 16),),
    options={"classes": 3},
    sizes={"unet3d": (19_072_291, {})},
    counted="19,069,955 in the paper, which leaves out the 2,336 scales of the norms",
)
def unet3d(x: Value, classes: int, *, filters: int = 64, depth: int = 4) -> Value:
    """3-D U-Net; ends in logits [N, classes, z, y, x].

    Parameters: `x` [N, C, z, y, x], whose sizes must be multiples of 2^(depth - 1); `classes`;
    `filters` at the end of the first level, doubled at each level down; `depth`.

    >>> import eddl
    >>> eddl.zoo.unet3d(eddl.Input((1, 16, 16, 16)), classes=2, filters=8, depth=3).shape
    ('batch', 2, 16, 16, 16)
    """
    checked("unet3d", x, (3,), classes=classes, filters=filters, depth=depth)

    def down(x: Value, width: int) -> Value:
        return _step(_step(x, width // 2), width)

    def back(x: Value, width: int) -> Value:
        return _step(_step(x, width), width)

    def up(x: Value, width: int) -> Value:
        return conv_transpose(x, 2 * width, 2, strides=2, use_bias=False)

    return _across(x, classes, [filters << level for level in range(depth)], down, back, up)


@topology(
    task="segmentation",
    use="deeper U-Nets: the sums let gradients through",
    source="Zhang, Liu, Wang 2018 (ResUNet)",
    ranks=(1, 2, 3),
    shapes=((3, 64, 64),),
    options={"classes": 1, "filters": 64},
    sizes={"residual_unet": (8_216_769, {})},
    counted="7.8 million in the paper, which leaves out the 430,272 of the projected shortcuts",
)
def residual_unet(x: Value, classes: int, *, filters: int = 32, depth: int = 4) -> Value:
    """U-Net of pre-activated residual units; ends in logits [N, classes, space...].

    Parameters as for `unet`; it goes down by strided convolutions and up by nearest neighbours.

    >>> import eddl
    >>> eddl.zoo.residual_unet(eddl.Input((1, 64, 64)), classes=4, filters=8).shape
    ('batch', 4, 64, 64)
    """
    checked("residual_unet", x, (1, 2, 3), classes=classes, filters=filters, depth=depth)
    widths = [filters << level for level in range(depth)]
    start = conv(_step(x, filters), filters, 3, use_bias=False)
    x = add([start, conv(x, filters, 1, use_bias=False)])
    skips = [x]
    for width in widths[1:]:
        x = _residual(x, width, strides=2)
        skips.append(x)
    for width, skip in zip(widths[-2::-1], skips[-2::-1], strict=True):
        x = _residual(concat([skip, resize(x, scales=2, mode="nearest")]), width)
    return conv(x, classes, 1)


def _residual(x: Value, filters: int, strides: int = 1) -> Value:
    y = conv(relu(batch_norm(x)), filters, 3, strides=strides, use_bias=False)
    y = conv(relu(batch_norm(y)), filters, 3, use_bias=False)
    return add([y, conv(x, filters, 1, strides=strides, use_bias=False)])


def _step(x: Value, filters: int) -> Value:
    return relu(batch_norm(conv(x, filters, 3, use_bias=False)))


def _across(
    x: Value,
    classes: int,
    widths: list[int],
    down: Callable[[Value, int], Value],
    back: Callable[[Value, int], Value],
    up: Callable[[Value, int], Value],
) -> Value:
    """Levels of growing width down by pools, and back up to what each of them saw."""
    skips: list[Value] = []
    for level, width in enumerate(widths):
        x = down(max_pool(x, 2) if level else x, width)
        skips.append(x)
    for width, skip in zip(widths[-2::-1], skips[-2::-1], strict=True):
        x = back(concat([skip, up(x, width)]), width)
    return conv(x, classes, 1)

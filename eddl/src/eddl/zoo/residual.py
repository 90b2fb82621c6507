"""Networks whose layers see all that came before: ResNet adds it, DenseNet joins it."""

from __future__ import annotations

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.layers import (
    add,
    average_pool,
    batch_norm,
    concat,
    conv,
    dense,
    flatten,
    global_average_pool,
    max_pool,
    relu,
)
from eddl.zoo.table import checked, topology

RESNET = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Blocks in each of the four stages (table 1); from 50 layers on they are bottlenecks."""

DENSENET = {
    121: (32, 64, (6, 12, 24, 16)),
    161: (48, 96, (6, 12, 36, 24)),
    169: (32, 64, (6, 12, 32, 32)),
    201: (32, 64, (6, 12, 48, 32)),
}
"""Growth, first filters and layers in each block."""


@topology(
    task="classification",
    use="the usual first choice for pictures and volumes",
    source="He et al. 2016, table 1; the stride of a bottleneck in its middle convolution",
    ranks=(1, 2, 3),
    shapes=((3, 224, 224),),
    options={"classes": 1000},
    sizes={
        "resnet18": (11_689_512, {"depth": 18}),
        "resnet34": (21_797_672, {"depth": 34}),
        "resnet50": (25_557_032, {"depth": 50}),
        "resnet101": (44_549_160, {"depth": 101}),
        "resnet152": (60_192_808, {"depth": 152}),
    },
    counted="equal to torchvision's",
)
def resnet(x: Value, classes: int, *, depth: int = 50, filters: int = 64) -> Value:
    """ResNet of any spatial rank; ends in logits [N, classes].

    Parameters: `x` [N, C, space...]; `classes`; `depth`, 18, 34, 50, 101 or 152; `filters` of the
    first stage, doubled at each of the next three.

    >>> import eddl
    >>> eddl.zoo.resnet(eddl.Input((1, 32, 32, 32)), classes=2, depth=18, filters=8).shape
    ('batch', 2)
    """
    checked("resnet", x, (1, 2, 3), classes=classes, filters=filters)
    if depth not in RESNET:
        raise AttributeValueError(f"resnet: received depth={depth}, expected one of {[*RESNET]}")
    block = _bottleneck if depth >= 50 else _basic
    x = relu(batch_norm(conv(x, filters, 7, strides=2, padding=3, use_bias=False)))
    x = max_pool(x, 3, strides=2, padding=1)
    for stage, count in enumerate(RESNET[depth]):
        for number in range(count):
            x = block(x, filters << stage, strides=2 if stage and not number else 1)
    return dense(flatten(global_average_pool(x)), classes)


def _basic(x: Value, filters: int, strides: int) -> Value:
    y = relu(batch_norm(conv(x, filters, 3, strides=strides, padding=1, use_bias=False)))
    y = batch_norm(conv(y, filters, 3, use_bias=False))
    return relu(add([y, _shortcut(x, filters, strides)]))


def _bottleneck(x: Value, filters: int, strides: int) -> Value:
    y = relu(batch_norm(conv(x, filters, 1, use_bias=False)))
    y = relu(batch_norm(conv(y, filters, 3, strides=strides, padding=1, use_bias=False)))
    y = batch_norm(conv(y, 4 * filters, 1, use_bias=False))
    return relu(add([y, _shortcut(x, 4 * filters, strides)]))


def _shortcut(x: Value, filters: int, strides: int) -> Value:
    """The block's input, projected where its shape differs from the block's output."""
    if strides == 1 and x.shape[1] == filters:
        return x
    return batch_norm(conv(x, filters, 1, strides=strides, padding="valid", use_bias=False))


@topology(
    task="classification",
    use="few weights; good on small sets of pictures",
    source="Huang et al. 2017, table 1 (DenseNet-BC)",
    ranks=(1, 2, 3),
    shapes=((3, 224, 224),),
    options={"classes": 1000},
    sizes={
        "densenet121": (7_978_856, {"depth": 121}),
        "densenet161": (28_681_000, {"depth": 161}),
        "densenet169": (14_149_480, {"depth": 169}),
        "densenet201": (20_013_928, {"depth": 201}),
    },
    counted="equal to torchvision's",
)
def densenet(x: Value, classes: int, *, depth: int = 121) -> Value:
    """DenseNet-BC of any spatial rank; ends in logits [N, classes].

    Parameters: `x` [N, C, space...]; `classes`; `depth`, 121, 161, 169 or 201.

    >>> import eddl
    >>> eddl.zoo.densenet(eddl.Input((1, 64, 64)), classes=2).shape
    ('batch', 2)
    """
    checked("densenet", x, (1, 2, 3), classes=classes)
    if depth not in DENSENET:
        raise AttributeValueError(
            f"densenet: received depth={depth}, expected one of {[*DENSENET]}"
        )
    growth, filters, blocks = DENSENET[depth]
    x = relu(batch_norm(conv(x, filters, 7, strides=2, padding=3, use_bias=False)))
    x = max_pool(x, 3, strides=2, padding=1)
    for number, layers in enumerate(blocks):
        if number:
            filters //= 2
            x = average_pool(conv(relu(batch_norm(x)), filters, 1, use_bias=False), 2)
        for _ in range(layers):
            y = conv(relu(batch_norm(x)), 4 * growth, 1, use_bias=False)
            y = conv(relu(batch_norm(y)), growth, 3, use_bias=False)
            x = concat([x, y])
            filters += growth
    return dense(flatten(global_average_pool(relu(batch_norm(x)))), classes)

"""The first convolutional classifiers: LeNet, AlexNet, VGG, GoogLeNet."""

from __future__ import annotations

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.layers import (
    average_pool,
    batch_norm,
    concat,
    conv,
    dense,
    dropout,
    flatten,
    global_average_pool,
    local_response_norm,
    max_pool,
    relu,
    tanh,
)
from eddl.zoo.table import checked, topology


@topology(
    task="classification",
    use="digits and other small grey pictures; trains in seconds",
    source="LeCun, Bottou, Bengio, Haffner 1998, LeNet-5",
    ranks=(1, 2, 3),
    shapes=((1, 28, 28),),
    options={"classes": 10},
    sizes={"lenet": (61_706, {})},
    counted="the paper's 60,000, whose third layer leaves out some connections",
)
def lenet(x: Value, classes: int) -> Value:
    """LeNet-5 with linear outputs; ends in logits [N, classes].

    Parameters: `x` [N, C, space...] of known sizes (28 in the paper, which pads them to 32);
    `classes`.

    >>> import eddl
    >>> eddl.zoo.lenet(eddl.Input((1, 28, 28)), classes=10).shape
    ('batch', 10)
    """
    checked("lenet", x, (1, 2, 3), classes=classes)
    x = average_pool(tanh(conv(x, 6, 5)), 2)
    x = average_pool(tanh(conv(x, 16, 5, padding="valid")), 2)
    x = tanh(dense(flatten(x), 120))
    return dense(tanh(dense(x, 84)), classes)


@topology(
    task="classification",
    use="the classic of ImageNet; small maps, most weights in its dense layers",
    source="Krizhevsky 2014 (one-tower form of Krizhevsky, Sutskever, Hinton 2012)",
    ranks=(1, 2, 3),
    shapes=((3, 224, 224),),
    options={"classes": 1000},
    sizes={"alexnet": (61_100_840, {})},
    counted="equal to torchvision's",
)
def alexnet(x: Value, classes: int, *, units: int = 4096, ratio: float = 0.5) -> Value:
    """AlexNet of any spatial rank; ends in logits [N, classes].

    Parameters: `x` [N, C, space...] of known sizes of at least 63 (224 in the paper); `classes`;
    `units` of the two hidden dense layers; `ratio`, of the dropouts before them.

    >>> import eddl
    >>> eddl.zoo.alexnet(eddl.Input((1, 64, 64)), classes=2).shape
    ('batch', 2)
    """
    checked("alexnet", x, (1, 2, 3), classes=classes, units=units)
    x = max_pool(relu(conv(x, 64, 11, strides=4, padding=2)), 3, strides=2)
    x = max_pool(relu(conv(x, 192, 5)), 3, strides=2)
    for filters in (384, 256, 256):
        x = relu(conv(x, filters, 3))
    x = flatten(max_pool(x, 3, strides=2))
    for _ in range(2):
        x = relu(dense(dropout(x, ratio), units))
    return dense(x, classes)


VGG = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Convolutions in each of the five blocks, by the number of layers with weights."""


@topology(
    task="classification",
    use="a plain stack; its early layers serve as features of other networks",
    source="Simonyan and Zisserman 2015, configurations A, B, D and E",
    ranks=(1, 2, 3),
    shapes=((3, 224, 224),),
    options={"classes": 1000},
    sizes={
        "vgg11": (132_863_336, {"depth": 11}),
        "vgg13": (133_047_848, {"depth": 13}),
        "vgg16": (138_357_544, {"depth": 16}),
        "vgg19": (143_667_240, {"depth": 19}),
        "vgg11_bn": (132_868_840, {"depth": 11, "normalised": True}),
        "vgg13_bn": (133_053_736, {"depth": 13, "normalised": True}),
        "vgg16_bn": (138_365_992, {"depth": 16, "normalised": True}),
        "vgg19_bn": (143_678_248, {"depth": 19, "normalised": True}),
    },
    counted="equal to torchvision's",
)
def vgg(
    x: Value,
    classes: int,
    *,
    depth: int = 16,
    normalised: bool = False,
    filters: int = 64,
    units: int = 4096,
    ratio: float = 0.5,
) -> Value:
    """VGG of any spatial rank; ends in logits [N, classes].

    Parameters: `x` [N, C, space...] of known sizes of at least 32; `classes`; `depth`, 11, 13, 16
    or 19; `normalised`, whether batch normalization follows each convolution; `filters` of
    the first block, doubled at each of the next three; `units` of the two hidden dense layers;
    `ratio`, of the dropouts behind them.

    >>> import eddl
    >>> eddl.zoo.vgg(eddl.Input((1, 32, 32)), classes=2, depth=11).shape
    ('batch', 2)
    """
    checked("vgg", x, (1, 2, 3), classes=classes, filters=filters, units=units)
    if depth not in VGG:
        raise AttributeValueError(f"vgg: received depth={depth}, expected one of {[*VGG]}")
    for block, count in enumerate(VGG[depth]):
        for _ in range(count):
            x = conv(x, filters << min(block, 3), 3)
            x = relu(batch_norm(x) if normalised else x)
        x = max_pool(x, 2)
    x = flatten(x)
    for _ in range(2):
        x = dropout(relu(dense(x, units)), ratio)
    return dense(x, classes)


INCEPTIONS = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    None,
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    None,
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)
"""Table 1: filters of 1, of 3 (reduced, then made), of 5 (likewise) and behind the pool; `None` is
a pool between the stages."""


@topology(
    task="classification",
    use="few weights for its accuracy; sees several sizes at once",
    source="Szegedy et al. 2015, table 1",
    ranks=(1, 2, 3),
    shapes=((3, 224, 224),),
    options={"classes": 1000, "normalised": False},
    sizes={"googlenet": (6_998_552, {})},
    counted="equal to Caffe's without the two auxiliary heads",
)
def googlenet(x: Value, classes: int, *, normalised: bool = True, ratio: float = 0.4) -> Value:
    """GoogLeNet of any spatial rank, without auxiliary heads; ends in logits [N, classes].

    Parameters: `x` [N, C, space...]; `classes`; `normalised`, batch normalization behind every
    convolution (Ioffe and Szegedy 2015) instead of the paper's local response normalization;
    `ratio`, of the dropout.

    >>> import eddl
    >>> eddl.zoo.googlenet(eddl.Input((1, 64, 64)), classes=2).shape
    ('batch', 2)
    """
    checked("googlenet", x, (1, 2, 3), classes=classes)

    def step(x: Value, filters: int, size: int, strides: int = 1) -> Value:
        x = conv(x, filters, size, strides=strides, use_bias=not normalised)
        return relu(batch_norm(x) if normalised else x)

    def respond(x: Value) -> Value:
        return x if normalised else local_response_norm(x, 5, alpha=1e-4, beta=0.75)

    x = respond(max_pool(step(x, 64, 7, 2), 3, strides=2, padding="same"))
    x = respond(step(step(x, 64, 1), 192, 3))
    x = max_pool(x, 3, strides=2, padding="same")
    for row in INCEPTIONS:
        if row is None:
            x = max_pool(x, 3, strides=2, padding="same")
            continue
        one, three_reduced, three, five_reduced, five, pooled = row
        x = concat([
            step(x, one, 1),
            step(step(x, three_reduced, 1), three, 3),
            step(step(x, five_reduced, 1), five, 5),
            step(max_pool(x, 3, strides=1, padding="same"), pooled, 1),
        ])  # fmt: skip
    return dense(dropout(flatten(global_average_pool(x)), ratio), classes)

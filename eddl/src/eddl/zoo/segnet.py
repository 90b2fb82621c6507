"""SegNet: the pools remember where their maxima stood. Source: Badrinarayanan et al. 2017."""

from __future__ import annotations

from eddl.graph import Value
from eddl.layers import batch_norm, conv, max_pool_with_indices, max_unpool, relu
from eddl.zoo.classic import VGG
from eddl.zoo.table import checked, topology


@topology(
    task="segmentation",
    use="masks with little memory: places of maxima are kept instead of whole maps",
    source="Badrinarayanan, Kendall, Cipolla 2017, on VGG-16's convolutions",
    ranks=(1, 2, 3),
    shapes=((3, 32, 32),),
    options={"classes": 11},
    sizes={"segnet": (29_449_355, {})},
    counted="half of them in the encoder, for which the paper gives 14.7 million",
)
def segnet(x: Value, classes: int, *, filters: int = 64) -> Value:
    """SegNet of any spatial rank; ends in logits [N, classes, space...].

    Parameters: `x` [N, C, space...], whose sizes must be multiples of 32; `classes`; `filters` of
    the first block, doubled at each of the next three.

    >>> import eddl
    >>> eddl.zoo.segnet(eddl.Input((1, 32, 32)), classes=2, filters=4).shape
    ('batch', 2, 32, 32)
    """
    checked("segnet", x, (1, 2, 3), classes=classes, filters=filters)
    widths = [filters << min(block, 3) for block in range(5)]
    places = []
    for width, count in zip(widths, VGG[16], strict=True):
        for _ in range(count):
            x = _step(x, width)
        x, where = max_pool_with_indices(x, 2)
        places.append(where)
    below = [filters, *widths[:-1]]
    for width, narrow, count, where in zip(
        widths[::-1], below[::-1], VGG[16][::-1], places[::-1], strict=True
    ):
        x = max_unpool(x, where, 2)
        for _ in range(count - 1):
            x = _step(x, width)
        if where is not places[0]:
            x = _step(x, narrow)
    return conv(x, classes, 3)


def _step(x: Value, filters: int) -> Value:
    return relu(batch_norm(conv(x, filters, 3)))

"""V-Net: residual stages of volumes. Source: Milletari, Navab, Ahmadi 2016."""

from __future__ import annotations

from collections.abc import Sequence

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.layers import add, batch_norm, concat, conv, conv_transpose, prelu
from eddl.zoo.table import checked, topology


@topology(
    task="segmentation",
    use="masks of volumes; the network that brought the Dice loss",
    source="Milletari, Navab, Ahmadi 2016, with batch normalization",
    ranks=(1, 2, 3),
    shapes=((1, 32, 32, 32),),
    options={"classes": 1, "down": (1, 1, 2, 3, 2), "up": (2, 2, 1, 1)},
    sizes={"vnet": (45_592_337, {})},
    counted="MONAI's 45,593,892 with slopes (2,656), a head of 33 weights instead of 4,004, and "
    "without the 240 shifts before norms; the paper, of more convolutions, gives none",
)
def vnet(
    x: Value,
    classes: int,
    *,
    filters: int = 16,
    kernel_size: int = 5,
    down: Sequence[int] = (1, 2, 3, 3, 3),
    up: Sequence[int] = (3, 3, 2, 1),
) -> Value:
    """V-Net of any spatial rank; ends in logits [N, classes, space...].

    Parameters: `x` [N, C, space...], whose sizes must be multiples of 2^(levels - 1); `classes`;
    `filters` of the first level, doubled at each level down; `kernel_size`; `down` and `up`, the
    convolutions of each stage, the paper's by default: `up` has one stage less.

    >>> import eddl
    >>> x = eddl.Input((1, 16, 16, 16))
    >>> eddl.zoo.vnet(x, classes=2, filters=4, down=(1, 2), up=(1,)).shape
    ('batch', 2, 16, 16, 16)
    """
    checked("vnet", x, (1, 2, 3), classes=classes, filters=filters, kernel_size=kernel_size)
    if len(down) != len(up) + 1 or min(*down, *up) < 1:
        raise AttributeValueError(
            f"vnet: received down={tuple(down)} and up={tuple(up)}, expected counts of at least 1 "
            "and one stage more down than up"
        )
    channels = x.shape[1]
    repeats = filters // channels if isinstance(channels, int) and filters % channels == 0 else 0
    if not repeats:
        raise AttributeValueError(
            f"vnet: received {channels} channels and filters={filters}; the first stage adds its "
            "input to every group of filters, so the filters must be a multiple of the channels"
        )

    def stage(x: Value, width: int, count: int, beside: Value) -> Value:
        """Convolutions, to whose result the stage's input is added."""
        for number in range(count):
            x = batch_norm(conv(x, width, kernel_size, use_bias=False))
            x = prelu(x if number < count - 1 else add([x, beside]))
        return x

    skips = []
    for level, count in enumerate(down):
        width = filters << level
        if level:
            x = prelu(batch_norm(conv(x, width, 2, strides=2, use_bias=False)))
            x = stage(x, width, count, x)
        else:
            x = stage(x, width, count, concat([x] * repeats))
        skips.append(x)
    for level, count in zip(reversed(range(len(up))), up, strict=True):
        width = filters << level
        x = conv_transpose(x, width, 2, strides=2, use_bias=False)
        x = concat([prelu(batch_norm(x)), skips[level]])
        x = stage(x, 2 * width, count, x)
    return conv(x, classes, 1)

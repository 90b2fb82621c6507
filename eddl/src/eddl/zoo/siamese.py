"""A Siamese network: two pictures through one network, compared. Source: Koch et al. 2015."""

from __future__ import annotations

from collections.abc import Callable

from eddl.errors import ShapeError
from eddl.graph import Value
from eddl.layers import conv, dense, flatten, input, max_pool, relu, sigmoid
from eddl.ops.table import apply
from eddl.training.model import Model
from eddl.zoo.table import checked, topology


@topology(
    task="similarity",
    use="whether two pictures show the same, from few examples of each kind",
    source="Koch, Zemel, Salakhutdinov 2015, figure 4",
    ranks=(1, 2, 3),
    shapes=((1, 105, 105), (1, 105, 105)),
    options={},
    sizes={"siamese": (38_951_745, {})},
    counted="the paper's figure, counted by hand",
)
def siamese(first: Value, second: Value, *, embed: Callable[[Value], Value] | None = None) -> Value:
    """Two inputs through one shared network; ends in one logit a pair [N, 1], high where they
    match.

    Parameters: `first` and `second`, inputs of one shape; `embed`, a function from symbolic tensor
    to features [N, F], by default the paper's convolutions, for sizes of at least 82.

    >>> import eddl
    >>> first, second = eddl.Input((1, 28, 28)), eddl.Input((1, 28, 28))
    >>> features = lambda x: eddl.layers.dense(eddl.layers.flatten(x), 16)
    >>> eddl.zoo.siamese(first, second, embed=features).shape
    ('batch', 1)
    """
    for x in (first, second):
        checked("siamese", x, (1, 2, 3))
    if first.type != second.type:
        raise ShapeError(
            f"siamese: received {first.type} and {second.type}, expected inputs of one type"
        )
    x = input(first.shape[1:], dtype=first.dtype)
    twin = Model(x, (embed or _features)(x), name="twin")
    left, right = twin(first), twin(second)
    assert isinstance(left, Value)
    assert isinstance(right, Value)
    return dense(apply("Abs", left - right), 1)


def _features(x: Value) -> Value:
    for filters, size in ((64, 10), (128, 7), (128, 4)):
        x = max_pool(relu(conv(x, filters, size, padding="valid")), 2)
    x = relu(conv(x, 256, 4, padding="valid"))
    return sigmoid(dense(flatten(x), 4096))

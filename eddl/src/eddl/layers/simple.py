"""Layers that are one operator: activations, pools, normalization, joins, arithmetic, intensity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError
from eddl.graph import Constant, Label, Value
from eddl.layers.build import Sizes, channels, parameter, per_axis, spatial_rank
from eddl.ops.table import apply, integers


def relu(x: Value) -> Value:
    """max(x, 0), elementwise.

    >>> import eddl
    >>> eddl.layers.relu(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Relu", x)


def leaky_relu(x: Value, alpha: float = 0.01) -> Value:
    """x where positive, `alpha` x elsewhere.

    >>> import eddl
    >>> eddl.layers.leaky_relu(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("LeakyRelu", x, alpha=float(alpha))


def sigmoid(x: Value) -> Value:
    """1 / (1 + exp(-x)), elementwise.

    >>> import eddl
    >>> eddl.layers.sigmoid(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Sigmoid", x)


def tanh(x: Value) -> Value:
    """The hyperbolic tangent, elementwise.

    >>> import eddl
    >>> eddl.layers.tanh(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Tanh", x)


def softmax(x: Value, axis: int = 1) -> Value:
    """exp(x) over its sum along `axis`, counted with the batch axis: probabilities of classes.

    >>> import eddl
    >>> eddl.layers.softmax(eddl.Input((4, 32, 32))).shape
    ('batch', 4, 32, 32)
    """
    return apply("Softmax", x, axis=axis)


def clip(x: Value, low: float, high: float) -> Value:
    """x held between `low` and `high`.

    >>> import eddl
    >>> eddl.layers.clip(eddl.Input((8,)), 0.0, 1.0).shape
    ('batch', 8)
    """
    if not low <= high:
        raise AttributeValueError(f"clip: received [{low}, {high}], expected low <= high")
    return apply("Clip", x, float(low), float(high))


def window(x: Value, *, level: float, width: float) -> Value:
    """An intensity window as part of the network: from level ± width / 2 to 0..1, cut off outside.

    The same curve as `ecvl.window`: a model that begins with it takes raw intensities (HU for CT),
    so that it cannot be separated from its preprocessing.

    >>> import eddl
    >>> eddl.layers.window(eddl.Input((3, None, None)), level=40, width=400).shape
    ('batch', 3, None, None)
    """
    if not width > 0:
        raise AttributeValueError(f"window: received width={width}, expected more than 0")
    low = level - width / 2
    return clip((x - float(low)) / float(width), 0.0, 1.0)


def normalise(x: Value, *, mean: float, deviation: float) -> Value:
    """(x - mean) / deviation, elementwise.

    >>> import eddl
    >>> eddl.layers.normalise(eddl.Input((8,)), mean=0.5, deviation=0.25).shape
    ('batch', 8)
    """
    if not deviation > 0:
        raise AttributeValueError(f"normalise: received deviation={deviation}, expected above 0")
    return (x - float(mean)) / float(deviation)


def max_pool(
    x: Value, kernel_size: Sizes = 2, *, strides: Sizes | None = None, padding: str = "valid"
) -> Value:
    """The greatest element of each window.

    Parameters: `x` [N, C, space...]; `kernel_size`; `strides`, the kernel's size when left out;
    `padding`, "valid" or "same". Returns [N, C, space...].

    >>> import eddl
    >>> eddl.layers.max_pool(eddl.Input((8, 32, 32))).shape
    ('batch', 8, 16, 16)
    """
    rank = spatial_rank(x, "max_pool")
    kernel = per_axis(kernel_size, rank, "max_pool kernel_size")
    if padding not in ("valid", "same"):
        raise AttributeValueError(
            f"max_pool: received padding {padding!r}, expected 'valid' or 'same'"
        )
    return apply(
        "MaxPool",
        x,
        kernel_shape=kernel,
        strides=per_axis(kernel if strides is None else strides, rank, "max_pool strides"),
        auto_pad="VALID" if padding == "valid" else "SAME_UPPER",
    )


def global_average_pool(x: Value) -> Value:
    """The mean over all spatial axes, which are kept with size 1.

    >>> import eddl
    >>> eddl.layers.global_average_pool(eddl.Input((8, None, None))).shape
    ('batch', 8, 1, 1)
    """
    spatial_rank(x, "global_average_pool")
    return apply("GlobalAveragePool", x)


def batch_norm(
    x: Value, *, momentum: float = 0.9, epsilon: float = 1e-5, name: str | None = None
) -> Value:
    """Batch normalization: each channel to mean 0 and deviation 1, then scaled and shifted.

    In training the batch's statistics are used and the running ones move by 1 - `momentum`
    (ONNX's convention; the running variance is the population's); elsewhere the running ones are
    used. Source: Ioffe and Szegedy 2015.

    >>> import eddl
    >>> eddl.layers.batch_norm(eddl.Input((8, 32, 32))).shape
    ('batch', 8, 32, 32)
    """
    label, shape = Label("batch_norm", name), (channels(x, "batch_norm"),)
    return apply(
        "BatchNormalization",
        x,
        parameter(shape, x.dtype, "ones", label, "scale"),
        parameter(shape, x.dtype, "zeros", label, "bias"),
        parameter(shape, x.dtype, "zeros", label, "mean", trainable=False),
        parameter(shape, x.dtype, "ones", label, "variance", trainable=False),
        label=label,
        momentum=float(momentum),
        epsilon=float(epsilon),
    )


def dropout(x: Value, ratio: float = 0.5, *, name: str | None = None) -> Value:
    """In training each element is 0 with probability `ratio`, the others grow by 1 / (1 - ratio);
    elsewhere nothing happens. Source: Srivastava et al. 2014.

    >>> import eddl
    >>> eddl.layers.dropout(eddl.Input((8,)), 0.25).shape
    ('batch', 8)
    """
    if not 0 <= ratio < 1:
        raise AttributeValueError(f"dropout: received ratio={ratio}, expected 0 <= ratio < 1")
    return apply("Dropout", x, float(ratio), label=Label("dropout", name))


def concat(tensors: Sequence[Value], axis: int = 1) -> Value:
    """Tensors joined along an axis, counted with the batch axis.

    >>> import eddl
    >>> x = eddl.Input((8, 32, 32))
    >>> eddl.layers.concat([x, x]).shape
    ('batch', 16, 32, 32)
    """
    return apply("Concat", *tensors, axis=axis)


def add(tensors: Sequence[Value]) -> Value:
    """The sum of tensors of one shape.

    >>> import eddl
    >>> x = eddl.Input((8,))
    >>> eddl.layers.add([x, x]).shape
    ('batch', 8)
    """
    return apply("Sum", *tensors)


def reshape(x: Value, shape: Sequence[int]) -> Value:
    """Another shape of the same elements; `shape` without the batch axis, one -1 allowed.

    >>> import eddl
    >>> eddl.layers.reshape(eddl.Input((8, 4)), (2, 16)).shape
    ('batch', 2, 16)
    """
    return apply("Reshape", x, integers([0, *shape]))


def constant(value: Any, dtype: Any = "float32") -> Value:
    """A value that never changes, for arithmetic with symbolic tensors.

    >>> import eddl
    >>> eddl.layers.constant([1.0, 2.0]).shape
    (2,)
    """
    return Constant(np.asarray(value, dtype))

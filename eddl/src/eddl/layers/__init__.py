"""What a user writes: functions from symbolic tensor to symbolic tensor.

The spatial rank (1-D, 2-D, 3-D) follows from the input; axes are counted with the batch's. Values
also take `+ - * / **` and `@`. `tests/eddl/layers` checks every function listed here.
"""

from eddl.layers.build import input
from eddl.layers.convolution import conv, conv_transpose, dense, flatten
from eddl.layers.simple import (
    add,
    batch_norm,
    clip,
    concat,
    constant,
    dropout,
    global_average_pool,
    leaky_relu,
    max_pool,
    normalise,
    relu,
    reshape,
    sigmoid,
    softmax,
    tanh,
    window,
)

__all__ = [
    "add",
    "batch_norm",
    "clip",
    "concat",
    "constant",
    "conv",
    "conv_transpose",
    "dense",
    "dropout",
    "flatten",
    "global_average_pool",
    "input",
    "leaky_relu",
    "max_pool",
    "normalise",
    "relu",
    "reshape",
    "sigmoid",
    "softmax",
    "tanh",
    "window",
]

"""What a user writes: functions from symbolic tensor to symbolic tensor.

The spatial rank (1-D, 2-D, 3-D) follows from the input; axes are counted with the batch's. Values
also take `+ - * / **` and `@`. `tests/eddl/layers` checks every function listed here.
"""

from eddl.layers.activations import (
    celu,
    elu,
    gelu,
    hard_sigmoid,
    hard_swish,
    hardmax,
    leaky_relu,
    log_softmax,
    mish,
    prelu,
    relu,
    relu6,
    selu,
    shrink,
    sigmoid,
    softmax,
    softplus,
    softsign,
    swiglu,
    swish,
    tanh,
    thresholded_relu,
)
from eddl.layers.arrangement import (
    constant,
    flatten,
    reshape,
)
from eddl.layers.build import (
    input,
)
from eddl.layers.convolution import (
    conv,
    conv_transpose,
    depthwise_conv,
    pointwise_conv,
    separable_conv,
)
from eddl.layers.intensity import (
    clip,
    normalise,
    window,
)
from eddl.layers.linear import (
    dense,
)
from eddl.layers.merging import (
    add,
    average,
    concat,
    matmul,
    maximum,
    minimum,
    multiply,
    subtract,
)
from eddl.layers.noise import (
    dropout,
)
from eddl.layers.normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    lp_normalise,
    rms_norm,
)
from eddl.layers.pooling import (
    average_pool,
    global_average_pool,
    global_lp_pool,
    global_max_pool,
    lp_pool,
    max_pool,
    max_pool_with_indices,
    max_unpool,
)

__all__ = [
    "add",
    "average",
    "average_pool",
    "batch_norm",
    "celu",
    "clip",
    "concat",
    "constant",
    "conv",
    "conv_transpose",
    "dense",
    "depthwise_conv",
    "dropout",
    "elu",
    "flatten",
    "gelu",
    "global_average_pool",
    "global_lp_pool",
    "global_max_pool",
    "group_norm",
    "hard_sigmoid",
    "hard_swish",
    "hardmax",
    "input",
    "instance_norm",
    "layer_norm",
    "leaky_relu",
    "local_response_norm",
    "log_softmax",
    "lp_normalise",
    "lp_pool",
    "matmul",
    "max_pool",
    "max_pool_with_indices",
    "max_unpool",
    "maximum",
    "minimum",
    "mish",
    "multiply",
    "normalise",
    "pointwise_conv",
    "prelu",
    "relu",
    "relu6",
    "reshape",
    "rms_norm",
    "selu",
    "separable_conv",
    "shrink",
    "sigmoid",
    "softmax",
    "softplus",
    "softsign",
    "subtract",
    "swiglu",
    "swish",
    "tanh",
    "thresholded_relu",
    "window",
]

"""What each operator means: one table, a file per family.

`apply` adds an operator to a graph; `TABLE` lists them. See `eddl.ops.table` for an entry's parts.
"""

from eddl.ops import (
    arrangement,
    control,
    convolution,
    differentiation,
    elementwise,
    linear,
    normalization,
    pooling,
    random,
    recurrent,
    reduction,
)
from eddl.ops.table import (
    OPSET,
    PRIVATE,
    TABLE,
    Call,
    Operator,
    apply,
    copy_node,
    entry,
    find,
    integers,
    make_node,
    register,
)

__all__ = [
    "OPSET",
    "PRIVATE",
    "TABLE",
    "Call",
    "Operator",
    "apply",
    "arrangement",
    "control",
    "convolution",
    "copy_node",
    "differentiation",
    "elementwise",
    "entry",
    "find",
    "integers",
    "linear",
    "make_node",
    "normalization",
    "pooling",
    "random",
    "recurrent",
    "reduction",
    "register",
]

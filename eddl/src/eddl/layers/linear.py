"""The fully connected layer."""

from __future__ import annotations

from eddl.errors import AttributeValueError
from eddl.graph import Label, Value
from eddl.layers.build import Start, parameter, tensor
from eddl.ops.table import apply


def dense(
    x: Value,
    units: int,
    *,
    use_bias: bool = True,
    initializer: Start = "glorot_uniform",
    name: str | None = None,
) -> Value:
    """A fully connected layer over the last axis.

    Parameters: `x` [..., features]; `units`, the features it makes. Returns [..., units].

    >>> import eddl
    >>> eddl.layers.dense(eddl.Input((20,)), 5).shape
    ('batch', 5)
    """
    label = Label("dense", name)
    features = tensor(x, "dense").shape[-1] if x.rank else None
    if not isinstance(features, int):
        raise AttributeValueError(f"dense: received {x.type}, expected a known last size: flatten")
    weight = parameter((units, features), x.dtype, initializer, label, "weight")
    bias = parameter((units,), x.dtype, "zeros", label, "bias") if use_bias else None
    if x.rank == 2:
        rest = () if bias is None else (bias,)
        return apply("Gemm", x, weight, *rest, label=label, transB=1)
    product = apply("MatMul", x, apply("Transpose", weight, perm=(1, 0)), label=label)
    return product if bias is None else product + bias

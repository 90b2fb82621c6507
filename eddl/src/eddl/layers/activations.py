"""Activations: functions of each element, and soft and hard choices along an axis."""

from __future__ import annotations

from functools import partial

from eddl.errors import AttributeValueError
from eddl.graph import Label, Value
from eddl.initializers import constant
from eddl.layers.build import axis_of, channels, parameter, tensor
from eddl.ops.table import apply


def relu(x: Value) -> Value:
    """max(x, 0), elementwise.

    >>> import eddl
    >>> eddl.layers.relu(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Relu", tensor(x, "relu"))


def relu6(x: Value) -> Value:
    """x held between 0 and 6. Source: Krizhevsky 2010.

    >>> import eddl
    >>> eddl.layers.relu6(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Clip", tensor(x, "relu6"), 0.0, 6.0)


def leaky_relu(x: Value, alpha: float = 0.01) -> Value:
    """x where positive, `alpha` x elsewhere.

    >>> import eddl
    >>> eddl.layers.leaky_relu(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("LeakyRelu", tensor(x, "leaky_relu"), alpha=float(alpha))


def prelu(x: Value, *, start: float = 0.25, shared: bool = False, name: str | None = None) -> Value:
    """x where positive, elsewhere x times a slope that is learnt.

    Parameters: `x` [N, C, ...]; `start`, the first slope; `shared`, whether all channels have one
    slope. Source: He et al. 2015.

    >>> import eddl
    >>> eddl.layers.prelu(eddl.Input((8, 32))).shape
    ('batch', 8, 32)
    """
    label, count = Label("prelu", name), 1 if shared else channels(x, "prelu")
    shape = (count, *[1] * (x.rank - 2)) if not shared else (1,)
    slope = parameter(shape, x.dtype, partial(constant, value=float(start)), label, "slope")
    return apply("PRelu", x, slope, label=label)


def elu(x: Value, alpha: float = 1.0) -> Value:
    """x where positive, `alpha` (exp(x) - 1) elsewhere. Source: Clevert et al. 2016.

    >>> import eddl
    >>> eddl.layers.elu(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Elu", tensor(x, "elu"), alpha=float(alpha))


def selu(x: Value) -> Value:
    """The scaled ELU that keeps mean 0 and deviation 1. Source: Klambauer et al. 2017.

    >>> import eddl
    >>> eddl.layers.selu(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Selu", tensor(x, "selu"))


def celu(x: Value, alpha: float = 1.0) -> Value:
    """x where positive, `alpha` (exp(x / alpha) - 1) elsewhere. Source: Barron 2017.

    >>> import eddl
    >>> eddl.layers.celu(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Celu", tensor(x, "celu"), alpha=_positive(alpha, "celu"))


def _positive(alpha: float, layer: str) -> float:
    if not alpha > 0:
        raise AttributeValueError(f"{layer}: received alpha={alpha}, expected more than 0")
    return float(alpha)


def gelu(x: Value, approximate: str = "none") -> Value:
    """x times the normal distribution's share below x. Source: Hendrycks and Gimpel 2016.

    Parameters: `approximate`, "none" (by erf) or "tanh" (their approximation).

    >>> import eddl
    >>> eddl.layers.gelu(eddl.Input((8,))).shape
    ('batch', 8)
    """
    if approximate not in ("none", "tanh"):
        raise AttributeValueError(
            f"gelu: received approximate={approximate!r}, expected 'none' or 'tanh'"
        )
    return apply("Gelu", tensor(x, "gelu"), approximate=approximate)


def sigmoid(x: Value) -> Value:
    """1 / (1 + exp(-x)), elementwise.

    >>> import eddl
    >>> eddl.layers.sigmoid(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Sigmoid", tensor(x, "sigmoid"))


def hard_sigmoid(x: Value, alpha: float = 0.2, beta: float = 0.5) -> Value:
    """alpha x + beta, held between 0 and 1.

    >>> import eddl
    >>> eddl.layers.hard_sigmoid(eddl.Input((8,))).shape
    ('batch', 8)
    """
    x = tensor(x, "hard_sigmoid")
    return apply("HardSigmoid", x, alpha=float(alpha), beta=float(beta))


def swish(x: Value, alpha: float = 1.0) -> Value:
    """x sigmoid(alpha x), also called SiLU. Source: Ramachandran et al. 2017.

    >>> import eddl
    >>> eddl.layers.swish(eddl.Input((8,))).shape
    ('batch', 8)
    """
    inner = tensor(x, "swish") if alpha == 1 else tensor(x, "swish") * float(alpha)
    return x * apply("Sigmoid", inner)


def hard_swish(x: Value) -> Value:
    """x times x / 6 + 1/2 held between 0 and 1. Source: Howard et al. 2019.

    >>> import eddl
    >>> eddl.layers.hard_swish(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("HardSwish", tensor(x, "hard_swish"))


def swiglu(gate: Value, x: Value) -> Value:
    """swish(gate) x: a gated linear unit. Source: Shazeer 2020, equation 6, without its products.

    >>> import eddl
    >>> eddl.layers.swiglu(eddl.Input((8,)), eddl.Input((8,))).shape
    ('batch', 8)
    """
    return swish(gate) * tensor(x, "swiglu")


def mish(x: Value) -> Value:
    """x tanh(softplus(x)). Source: Misra 2019.

    >>> import eddl
    >>> eddl.layers.mish(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Mish", tensor(x, "mish"))


def tanh(x: Value) -> Value:
    """The hyperbolic tangent, elementwise.

    >>> import eddl
    >>> eddl.layers.tanh(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Tanh", tensor(x, "tanh"))


def softplus(x: Value) -> Value:
    """log(1 + exp(x)), elementwise.

    >>> import eddl
    >>> eddl.layers.softplus(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Softplus", tensor(x, "softplus"))


def softsign(x: Value) -> Value:
    """x / (1 + |x|), elementwise.

    >>> import eddl
    >>> eddl.layers.softsign(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Softsign", tensor(x, "softsign"))


def thresholded_relu(x: Value, alpha: float = 1.0) -> Value:
    """x where it is above `alpha`, 0 elsewhere.

    >>> import eddl
    >>> eddl.layers.thresholded_relu(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("ThresholdedRelu", tensor(x, "thresholded_relu"), alpha=float(alpha))


def shrink(x: Value, threshold: float = 0.5, bias: float = 0.0) -> Value:
    """x moved by `bias` towards 0 where |x| is above the threshold, 0 elsewhere.

    With bias 0 the hard shrinkage, with bias = threshold the soft one.

    >>> import eddl
    >>> eddl.layers.shrink(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Shrink", tensor(x, "shrink"), lambd=float(threshold), bias=float(bias))


def softmax(x: Value, axis: int = 1) -> Value:
    """exp(x) over its sum along `axis`, counted with the batch axis: probabilities of classes.

    >>> import eddl
    >>> eddl.layers.softmax(eddl.Input((4, 32, 32))).shape
    ('batch', 4, 32, 32)
    """
    axis_of(x, axis, "softmax")
    return apply("Softmax", x, axis=axis)


def log_softmax(x: Value, axis: int = 1) -> Value:
    """The logarithm of `softmax`, without its loss of digits.

    >>> import eddl
    >>> eddl.layers.log_softmax(eddl.Input((4, 32, 32))).shape
    ('batch', 4, 32, 32)
    """
    axis_of(x, axis, "log_softmax")
    return apply("LogSoftmax", x, axis=axis)


def hardmax(x: Value, axis: int = 1) -> Value:
    """1 at the first greatest element along `axis`, 0 elsewhere; nothing flows back through it.

    >>> import eddl
    >>> eddl.layers.hardmax(eddl.Input((4,))).shape
    ('batch', 4)
    """
    axis_of(x, axis, "hardmax")
    return apply("Hardmax", x, axis=axis)

"""Activations, merges, normalizations and intensities, against closed forms."""

from __future__ import annotations

import numpy as np
from scipy import special

from eddl import layers

from .example import (
    BATCH,
    CHANNELS,
    Example,
    channelwise,
    each_rank,
    normal,
    positive,
    space,
    spread,
)

SHAPES = ((BATCH, CHANNELS, 8),)


def one(layer, build, oracle, **options):
    return Example(layer, build, oracle, SHAPES, **{"free": (2,), **options})


def standard(x, axes, epsilon=1e-5):
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + epsilon)


def statistics(x, scale, bias, mean, variance):
    y = (x - channelwise(mean, x)) / np.sqrt(channelwise(variance, x) + 1e-5)
    return y * channelwise(scale, x) + channelwise(bias, x)


def grouped(x, scale, bias):
    y = standard(x.reshape(len(x), 2, -1), 2).reshape(x.shape)
    return y * channelwise(scale, x) + channelwise(bias, x)


def near(x, size, alpha, beta, bias):
    before = (size - 1) // 2
    pad = [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)]
    squares = np.pad(x**2, pad)
    total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
    return x / (bias + alpha / size * total) ** beta


def first_greatest(x):
    return (np.arange(x.shape[1])[None, :, None] == x.argmax(1)[:, None]).astype(x.dtype)


ACTIVATIONS = [
    one("relu", lambda x: layers.relu(x), lambda x: np.maximum(x, 0)),
    one("relu6", lambda x: layers.relu6(x * 8.0), lambda x: np.clip(8 * x, 0, 6)),
    one("leaky_relu", lambda x: layers.leaky_relu(x, 0.125), lambda x: np.where(x > 0, x, x / 8)),
    *each_rank("prelu", lambda x: layers.prelu(x),
               lambda x, slope: np.where(x > 0, x, x * slope[None])),
    one("prelu", lambda x: layers.prelu(x, shared=True),
        lambda x, slope: np.where(x > 0, x, x * slope), note="shared"),
    one("elu", lambda x: layers.elu(x, 1.5), lambda x: np.where(x > 0, x, 1.5 * np.expm1(x))),
    one("selu", lambda x: layers.selu(x),
        lambda x: np.where(x > 0, x, 1.6732631921768188 * np.expm1(x)) * 1.0507010221481323),
    one("celu", lambda x: layers.celu(x, 0.5), lambda x: np.where(x > 0, x, np.expm1(2 * x) / 2)),
    one("gelu", lambda x: layers.gelu(x), lambda x: x * special.ndtr(x)),
    one("gelu", lambda x: layers.gelu(x, "tanh"),
        lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))), note="tanh"),
    one("sigmoid", lambda x: layers.sigmoid(x), special.expit),
    one("hard_sigmoid", lambda x: layers.hard_sigmoid(x, 0.5, 0.25),
        lambda x: np.clip(x / 2 + 0.25, 0, 1)),
    one("swish", lambda x: layers.swish(x), lambda x: x * special.expit(x)),
    one("swish", lambda x: layers.swish(x, 2.0), lambda x: x * special.expit(2 * x), note="alpha"),
    one("hard_swish", lambda x: layers.hard_swish(x * 3.0),
        lambda x: 3 * x * np.clip(x / 2 + 0.5, 0, 1)),
    one("swiglu", lambda x: layers.swiglu(x, x * 2.0), lambda x: 2 * x * x * special.expit(x)),
    one("mish", lambda x: layers.mish(x), lambda x: x * np.tanh(np.logaddexp(0, x))),
    one("tanh", lambda x: layers.tanh(x), np.tanh),
    one("softplus", lambda x: layers.softplus(x), lambda x: np.logaddexp(0, x)),
    one("softsign", lambda x: layers.softsign(x), lambda x: x / (1 + abs(x))),
    one("thresholded_relu", lambda x: layers.thresholded_relu(x, 0.3),
        lambda x: np.where(x > 0.3, x, 0)),
    one("shrink", lambda x: layers.shrink(x, 0.4, 0.25),
        lambda x: np.where(abs(x) > 0.4, x - 0.25 * np.sign(x), 0)),
    *each_rank("softmax", lambda x: layers.softmax(x), lambda x: special.softmax(x, 1)),
    one("log_softmax", lambda x: layers.log_softmax(x, -1), lambda x: special.log_softmax(x, -1)),
    one("hardmax", lambda x: layers.hardmax(x), first_greatest, smooth=False),
]  # fmt: skip


def merge(layer, build, oracle, shapes=((2, 3, 4), (2, 3, 4), (2, 3, 4)), **options):
    return Example(layer, build, oracle, shapes, data=normal, **options)


MERGES = [
    merge("add", lambda *x: layers.add(x), lambda a, b, c: a + b + c, free=(2,)),
    merge("add", lambda *x: layers.add(x), lambda a, b: a + b, ((2, 3, 4), (2, 1, 4)),
          note="broadcast"),
    merge("average", lambda *x: layers.average(x), lambda *x: np.mean(x, 0), free=(2,)),
    merge("maximum", lambda *x: layers.maximum(x), lambda *x: np.max(x, 0), free=(2,)),
    merge("minimum", lambda *x: layers.minimum(x), lambda *x: np.min(x, 0), free=(2,)),
    merge("subtract", lambda *x: layers.subtract(x), lambda a, b, c: a - b - c, free=(2,)),
    merge("multiply", lambda *x: layers.multiply(x), lambda a, b, c: a * b * c, free=(2,)),
    merge("matmul", lambda *x: layers.matmul(x), lambda a, b, c: a @ b @ c,
          ((2, 3, 4), (2, 4, 5), (2, 5, 2))),
    merge("matmul", lambda *x: layers.matmul(x), lambda a, b: a @ b,
          ((2, 3, 4, 5), (2, 3, 5, 2)), note="stacks"),
    merge("concat", lambda *x: layers.concat(x), lambda *x: np.concatenate(x, 1),
          ((2, 3, 4), (2, 1, 4), (2, 2, 4)), free=(2,)),
    merge("concat", lambda *x: layers.concat(x, -1), lambda *x: np.concatenate(x, -1),
          ((2, 3, 4), (2, 3, 1)), note="last"),
]  # fmt: skip

NORMS = [
    *each_rank("batch_norm", lambda x: layers.batch_norm(x), statistics, steady=False),
    Example("batch_norm", lambda x: layers.batch_norm(x), statistics, ((4, 5),), steady=False,
            note="flat"),
    Example("layer_norm", lambda x: layers.layer_norm(x),
            lambda x, s, b: standard(x, -1) * s + b, ((2, 3, 8),), free=(1,)),
    Example("layer_norm", lambda x: layers.layer_norm(x, 1),
            lambda x, s, b: standard(x, (1, 2, 3)) * s + b, note="sample"),
    Example("layer_norm", lambda x: layers.layer_norm(x, use_bias=False),
            lambda x, s: standard(x, -1) * s, ((2, 8),), note="no bias"),
    Example("rms_norm", lambda x: layers.rms_norm(x),
            lambda x, s: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * s, ((2, 3, 8),),
            free=(1,)),
    Example("rms_norm", lambda x: layers.rms_norm(x, 2),
            lambda x, s: x / np.sqrt((x**2).mean((2, 3), keepdims=True) + 1e-6) * s, note="space"),
    *(Example("group_norm", lambda x: layers.group_norm(x, 2), grouped, ((2, 4, *s),), free=f)
      for s, f in (((8,), (2,)), ((4, 3), (2, 3)), ((2, 3, 4), (2, 3, 4)))),
    *each_rank("instance_norm", lambda x: layers.instance_norm(x),
               lambda x, s, b: standard(x, space(x)) * channelwise(s, x) + channelwise(b, x)),
    Example("local_response_norm",
            lambda x: layers.local_response_norm(x, 3, alpha=0.5, beta=0.6, bias=1.5),
            lambda x: near(x, 3, 0.5, 0.6, 1.5), ((5, 4, 3, 3),), free=(2, 3)),
    one("lp_normalise", lambda x: layers.lp_normalise(x),
        lambda x: x / np.sqrt((x**2).sum(1, keepdims=True))),
    one("lp_normalise", lambda x: layers.lp_normalise(x, -1, p=1),
        lambda x: x / abs(x).sum(-1, keepdims=True), note="p=1"),
]  # fmt: skip

REST = [
    Example("dense", lambda x: layers.dense(x, 5), lambda x, w, b: x @ w.T + b, ((2, 4),)),
    Example("dense", lambda x: layers.dense(x, 5, use_bias=False), lambda x, w: x @ w.T,
            ((2, 3, 4),), note="sequence", free=(1,)),
    one("clip", lambda x: layers.clip(x, -0.51, 0.27), lambda x: np.clip(x, -0.51, 0.27)),
    one("window", lambda x: layers.window(x, level=0.25, width=1.5),
        lambda x: np.clip((x + 0.5) / 1.5, 0, 1), note=""),
    one("normalise", lambda x: layers.normalise(x, mean=0.5, deviation=2.0),
        lambda x: (x - 0.5) / 2),
]  # fmt: skip


def pair(layer, oracle, smooth=False):
    """Two tensors that broadcast, and a tensor beside a number."""
    make = getattr(layers, layer)
    return [
        Example(layer, make, oracle, ((2, 3, 4), (2, 1, 4)), smooth=smooth, data=positive),
        one(layer, lambda x: make(x, 1), lambda x: oracle(x, 1.0), smooth=smooth, note="number",
            data=positive),
    ]  # fmt: skip


def bits(r, shape):
    return r.random(shape) > 0.5


def math(layer, oracle, data=spread, smooth=True):
    return one(layer, lambda x: getattr(layers, layer)(x), oracle, data=data, smooth=smooth)


MATH = [
    math("absolute", np.abs),
    math("exp", np.exp),
    math("log", np.log, positive),
    math("sqrt", np.sqrt, positive),
    math("reciprocal", np.reciprocal, positive),
    math("sign", np.sign, smooth=False),
    math("floor", np.floor, smooth=False),
    math("ceil", np.ceil, smooth=False),
    math("rint", np.rint, smooth=False),
    math("sin", np.sin),
    math("cos", np.cos),
    math("erf", special.erf),
    *pair("power", np.power, smooth=True),
    *pair("divide", np.divide, smooth=True),
    one("divide", lambda x: layers.divide(1, x), np.reciprocal, data=positive, note="of a number"),
    *pair("equal", np.equal),
    *pair("not_equal", np.not_equal),
    *pair("greater", np.greater),
    *pair("greater_equal", np.greater_equal),
    *pair("less", np.less),
    *pair("less_equal", np.less_equal),
    one("logical_and", lambda x: layers.logical_and(x, layers.logical_not(x)),
        lambda x: np.zeros_like(x), data=bits, smooth=False),
    Example("logical_or", layers.logical_or, np.logical_or, ((2, 3, 4), (2, 1, 4)), data=bits,
            smooth=False),
    one("logical_not", lambda x: layers.logical_not(x), np.logical_not, data=bits, smooth=False),
]  # fmt: skip

EXAMPLES = [*MATH, *ACTIVATIONS, *MERGES, *NORMS, *REST]

"""Batch normalization, alone and with the rectifier behind it, and its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.backends.array.unfolding import Workspace
from eddl.backends.onednn.backend import OneDnnBackend, kernel, mask
from eddl.backends.onednn.convolution import straight
from eddl.backends.onednn.handles import Descriptor, describe, single
from eddl.backends.onednn.kernels import Kernel, attributes
from eddl.backends.onednn.library import (
    BACKWARD,
    DIFF_DST,
    DIFF_SCALE,
    DIFF_SHIFT,
    DIFF_SRC,
    DST,
    FORWARD_INFERENCE,
    FORWARD_TRAINING,
    FUSE_RELU,
    MEAN,
    SCALE,
    SHIFT,
    SRC,
    USE_GLOBAL_STATISTICS,
    USE_SCALE,
    USE_SHIFT,
    VARIANCE,
    WORKSPACE,
    Refused,
)
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Offer, Thunk
from eddl.graph import Node, Value


def _data(node: Node) -> Value:
    x = node.inputs[0]
    assert x is not None
    if not 2 <= x.rank <= 5:
        raise Refused(f"{x.rank} axes")
    if any(v is not None and v.dtype != np.float32 for v in node.inputs[1:4]):
        raise Refused("scale, shift and statistics in another type than float32")
    return x


def _forward(
    backend: OneDnnBackend, x: Value, *, training: bool, relu: bool, epsilon: float
) -> Kernel:
    flags = USE_SCALE | USE_SHIFT | (FUSE_RELU if relu else 0)
    flags |= 0 if training else USE_GLOBAL_STATISTICS
    whole = backend.describe(x.type)
    made = Kernel(
        backend.library, "batch_normalization_forward", backend.library.engine,
        FORWARD_TRAINING if training else FORWARD_INFERENCE, whole, whole,
        single(epsilon), flags, attributes(backend.library),
    )  # fmt: skip
    if x.dtype != np.float32 and made.implementation.startswith("nspc"):
        raise Refused("a kernel many times slower than that of float32")
    return made


def _backward(backend: OneDnnBackend, x: Value, *, training: bool, relu: bool) -> Kernel:
    """The gradient; it is given 1 / deviation squared for the variance, so its epsilon is 0."""
    flags = USE_SCALE | USE_SHIFT | (FUSE_RELU if relu else 0)
    flags |= 0 if training else USE_GLOBAL_STATISTICS
    hint = _forward(backend, x, training=True, relu=relu, epsilon=0.0) if training else None
    whole = backend.describe(x.type)
    if hint is None:
        hint = Kernel(
            backend.library, "batch_normalization_forward", backend.library.engine,
            FORWARD_TRAINING, whole, whole, single(0.0), flags,
            attributes(backend.library),
        )  # fmt: skip
    return Kernel(
        backend.library, "batch_normalization_backward", backend.library.engine, BACKWARD,
        whole, whole, whole, single(0.0), flags, hint,
        attributes(backend.library),
    )  # fmt: skip


def _vector(backend: OneDnnBackend, x: Value) -> Descriptor:
    return describe(backend.library, [x.type.sizes[1]], [1])


@kernel("BatchNormalization")
def batch_norm(backend: OneDnnBackend, node: Node) -> Offer:
    """Statistics of the batch or the running ones, then scale and shift in one pass."""
    return _norm(backend, node, training=bool(node.attributes["training_mode"]), relu=False)


@kernel("BatchNormalizationRelu", domain="eddl")
def batch_norm_relu(backend: OneDnnBackend, node: Node) -> Offer:
    """The same, and the rectifier in the same pass."""
    return _norm(backend, node, training=True, relu=True)


def _norm(backend: OneDnnBackend, node: Node, *, training: bool, relu: bool) -> Offer:
    x = _data(node)
    epsilon = float(node.attributes["epsilon"])
    momentum = np.float32(node.attributes["momentum"])
    made = _forward(backend, x, training=training, relu=relu, epsilon=epsilon)
    if relu:
        _backward(backend, x, training=True, relu=True)  # refused together, or their masks differ
    whole, vector = backend.describe(x.type), _vector(backend, x)
    channels = x.type.sizes[1]
    count = Workspace()

    def plan(space: Workspace) -> tuple[Any, Any, Any, Any]:
        vectors = [space.take((channels,), np.float32) for _ in range(3)]
        return (*vectors, space.take((made.scratch,), np.uint8))

    plan(count)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, scale, shift, old_mean, old_variance = inputs
        y, new_mean, new_variance, saved_mean, saved_inverse = outputs[:5]
        mean, variance, extra, scratch = plan(Workspace(workspace))
        if not training:
            mean, variance = old_mean, old_variance
        elif saved_mean is not None:
            mean = saved_mean  # it is made where it is wanted
        arguments = {
            SRC: (whole, straight(data)), DST: (whole, y), SCALE: (vector, scale),
            SHIFT: (vector, shift), MEAN: (vector, mean), VARIANCE: (vector, variance),
        }  # fmt: skip
        if relu:
            arguments[WORKSPACE] = (made.descriptor(WORKSPACE), outputs[5])
        run = made.bind(arguments, scratch)

        def finish() -> None:
            run()
            if relu:
                lost = np.isnan(variance) | ~np.isfinite(mean)
                if lost.any():  # oneDNN's rectifier makes zeros of them
                    y[:, lost] = np.nan
            for new, old, found in (
                (new_mean, old_mean, mean),
                (new_variance, old_variance, variance),
            ):
                if new is None:
                    continue
                if not training:
                    np.copyto(new, old)
                    continue
                np.multiply(found, np.float32(1) - momentum, out=extra)
                np.multiply(old, momentum, out=new)
                np.add(new, extra, out=new)
            if saved_mean is not None and saved_mean is not mean:
                np.copyto(saved_mean, mean)
            if saved_inverse is not None:
                np.add(variance, np.float32(epsilon), out=saved_inverse)
                np.sqrt(saved_inverse, out=saved_inverse)
                np.reciprocal(saved_inverse, out=saved_inverse)

        return finish

    outputs = [CHANNELS_LAST, *[PLAIN] * 4]
    if relu:
        outputs.append(mask(x.type, made.descriptor(WORKSPACE).nbytes))
    chosen = Arrangement((CHANNELS_LAST, *[PLAIN] * 4), tuple(outputs[: len(node.outputs)]))
    return Offer(
        made.implementation,
        bind,
        workspace=count.used,
        overwrites={} if training else {0: (0,)},
        optional=frozenset({1, 2, 3, 4}),
        arrangements=(chosen,),
    )


@kernel("BatchNormalizationGrad", "BatchNormalizationReluGrad", domain="eddl")
def batch_norm_grad(backend: OneDnnBackend, node: Node) -> Offer:
    """The gradients of data, scale and shift."""
    x = _data(node)
    relu = node.op == "BatchNormalizationReluGrad"
    training = relu or bool(node.attributes["training_mode"])
    made = _backward(backend, x, training=training, relu=relu)
    whole, vector = backend.describe(x.type), _vector(backend, x)
    channels = x.type.sizes[1]
    count = Workspace()

    def plan(space: Workspace) -> tuple[Any, Any, Any, Any]:
        vectors = [space.take((channels,), np.float32) for _ in range(3)]
        return (*vectors, space.take((made.scratch,), np.uint8))

    plan(count)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, scale, mean, inverse, flow = inputs[:5]
        dx, d_scale, d_shift = outputs
        variance, spare_scale, spare_shift, scratch = plan(Workspace(workspace))
        arguments = {
            SRC: (whole, straight(data)), MEAN: (vector, mean), VARIANCE: (vector, variance),
            DIFF_DST: (whole, straight(flow)), SCALE: (vector, scale), DIFF_SRC: (whole, dx),
            DIFF_SCALE: (vector, spare_scale if d_scale is None else d_scale),
            DIFF_SHIFT: (vector, spare_shift if d_shift is None else d_shift),
        }  # fmt: skip
        if relu:
            arguments[WORKSPACE] = (made.descriptor(WORKSPACE), inputs[5])
        run = made.bind(arguments, scratch)

        def start() -> None:
            np.multiply(inverse, inverse, out=variance)
            np.reciprocal(variance, out=variance)
            run()

        return start

    layouts = [CHANNELS_LAST, PLAIN, PLAIN, PLAIN, CHANNELS_LAST]
    if relu:
        layouts.append(mask(x.type, made.descriptor(WORKSPACE).nbytes))
    return Offer(
        made.implementation,
        bind,
        workspace=count.used,
        overwrites={0: (4,)},
        optional=frozenset({1, 2}),
        arrangements=(Arrangement(tuple(layouts), (CHANNELS_LAST, PLAIN, PLAIN)),),
    )

"""Normalization of instances and of layers, and its gradients.

An instance is a batch of one sample: its channels lie innermost, as oneDNN wants them, and each
sample is a call of its own. A layer is a row of a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Workspace
from eddl.backends.onednn.backend import OneDnnBackend, kernel
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
    MEAN,
    SCALE,
    SHIFT,
    SRC,
    USE_GLOBAL_STATISTICS,
    USE_SCALE,
    USE_SHIFT,
    VARIANCE,
    Refused,
)
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Offer, Thunk
from eddl.graph import Node, Value

Array = np.ndarray[Any, Any]
SINGLE, FEW = 1 << 22, 1 << 21
"""Bytes of a sample below which one thread normalizes it as fast as several, which wait for each
other several times, and bytes of all samples below which one thread does so with them."""
FLAGS = USE_SCALE | USE_SHIFT


def inverse_of(variance: Array, epsilon: float, result: Array) -> None:
    """1 / deviation."""
    np.add(variance, np.float32(epsilon), out=result)
    np.sqrt(result, out=result)
    np.reciprocal(result, out=result)


def variance_of(inverse: Array, result: Array) -> None:
    """The variance, with its epsilon, from 1 / deviation."""
    np.multiply(inverse, inverse, out=result)
    np.reciprocal(result, out=result)


class Samples:
    """The samples of a node's data, and the kernels for one of them.

    `whole` describes a sample, `vector` a number a channel. `single` says whether a sample is one
    thread's work, and `runs` which samples follow each other on a thread.
    """

    def __init__(self, backend: OneDnnBackend, node: Node) -> None:
        x = node.inputs[0]
        assert x is not None
        if not 3 <= x.rank <= 5:
            raise Refused(f"{x.rank} axes")
        if any(v is not None and v.dtype != np.float32 for v in node.inputs[1:4]):
            raise Refused("scale, shift and statistics in another type than float32")
        self.threads, self.library = backend.threads, backend.library
        self.dtype, (self.count, self.channels) = x.dtype, x.type.sizes[:2]
        self.whole = backend.describe(x.type.with_shape([1, *x.type.sizes[1:]]))
        self.vector = describe(backend.library, [self.channels], [1])
        enough = self.count >= self.threads.count and x.type.nbytes >= FEW
        self.single = enough or x.type.nbytes < self.count * SINGLE
        self.runs = self.threads.split(self.count) if enough else [(0, self.count)]

    def make(self, name: str, *arguments: Any) -> Kernel:
        """A kernel for one sample."""
        return Kernel(self.library, name, *arguments, alone=self.single)

    def forward(self, epsilon: float, flags: int = FLAGS) -> Kernel:
        """The normalization; statistics that are not given are kept."""
        given, whole, library = flags & USE_GLOBAL_STATISTICS, self.whole, self.library
        made = self.make(
            "batch_normalization_forward", library.engine,
            FORWARD_INFERENCE if given else FORWARD_TRAINING, whole, whole, single(epsilon), flags,
            attributes(library),
        )  # fmt: skip
        if self.dtype != np.float32 and made.implementation.startswith("nspc"):
            raise Refused("a kernel many times slower than that of float32")
        return made

    def backward(self, flags: int = FLAGS) -> Kernel:
        """Its gradient; it is given 1 / deviation squared for the variance, so its epsilon is 0."""
        hint, whole, library = self.forward(0.0, flags & FLAGS), self.whole, self.library
        return self.make("batch_normalization_backward", library.engine, BACKWARD, whole, whole,
                         whole, single(0.0), flags, hint,
                         attributes(library))  # fmt: skip

    def scratch(self, space: Workspace, *kernels: Kernel) -> Any:
        """Scratch memory of the kernels, for each thread of its own."""
        size = -(-max(kernel.scratch for kernel in kernels) // 64) * 64
        return space.take((len(self.runs), size), np.uint8)

    def run(self, scratch: Array, make: Callable[[int, Array], Thunk]) -> Thunk:
        """The call that makes those of all samples, which `make` gives for a sample's number and
        the scratch memory of its thread."""
        tasks = [in_turn([make(n, own) for n in range(start, stop)])
                 for own, (start, stop) in zip(scratch, self.runs, strict=True)]  # fmt: skip
        return tasks[0] if len(tasks) == 1 else partial(self.threads.run, tasks)


@kernel("InstanceNormalization")
def instance_norm(backend: OneDnnBackend, node: Node) -> Offer:
    """Statistics of each sample's channels, then scale and shift."""
    samples, epsilon = Samples(backend, node), float(node.attributes["epsilon"])
    made, shape = samples.forward(epsilon), (samples.count, samples.channels)
    whole, vector = samples.whole, samples.vector
    need = Workspace()

    def plan(space: Workspace) -> tuple[Array, Array, Any]:
        vectors = [space.take(shape, np.float32) for _ in range(2)]
        return vectors[0], vectors[1], samples.scratch(space, made)

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, scale, shift = straight(inputs[0]), *inputs[1:]
        y, saved, inverse = outputs
        mean, variance, scratch = plan(Workspace(workspace))
        mean = mean if saved is None else saved.reshape(shape)

        def one(n: int, own: Array) -> Thunk:
            return made.bind(
                {SRC: (whole, data[n : n + 1]), DST: (whole, y[n : n + 1]),
                 SCALE: (vector, scale), SHIFT: (vector, shift), MEAN: (vector, mean[n]),
                 VARIANCE: (vector, variance[n])},
                own,
            )  # fmt: skip

        run = samples.run(scratch, one)
        if inverse is None:
            return run
        kept = inverse.reshape(shape)
        return in_turn([run, lambda: inverse_of(variance, epsilon, kept)])

    chosen = Arrangement((CHANNELS_LAST, PLAIN, PLAIN), (CHANNELS_LAST, PLAIN, PLAIN))
    return Offer(made.implementation, bind, workspace=need.used, optional=frozenset({1, 2}),
                 arrangements=(chosen,))  # fmt: skip


@kernel("InstanceNormalizationGrad", domain="eddl")
def instance_norm_grad(backend: OneDnnBackend, node: Node) -> Offer:
    """The gradients of data, scale and shift, the latter two summed over samples."""
    samples = Samples(backend, node)
    made, shape = samples.backward(), (samples.count, samples.channels)
    whole, vector = samples.whole, samples.vector
    need = Workspace()

    def plan(space: Workspace) -> tuple[list[Array], Any]:
        vectors = [space.take(shape, np.float32) for _ in range(3)]
        return vectors, samples.scratch(space, made)

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, flow = straight(inputs[0]), straight(inputs[4])
        scale, (mean, inverse) = inputs[1], (v.reshape(shape) for v in inputs[2:4])
        (variance, scales, shifts), scratch = plan(Workspace(workspace))

        def one(n: int, own: Array) -> Thunk:
            return made.bind(
                {SRC: (whole, data[n : n + 1]), MEAN: (vector, mean[n]),
                 VARIANCE: (vector, variance[n]), DIFF_DST: (whole, flow[n : n + 1]),
                 SCALE: (vector, scale), DIFF_SRC: (whole, outputs[0][n : n + 1]),
                 DIFF_SCALE: (vector, scales[n]), DIFF_SHIFT: (vector, shifts[n])},
                own,
            )  # fmt: skip

        return in_turn([
            lambda: variance_of(inverse, variance), samples.run(scratch, one),
            *sums((scales, outputs[1]), (shifts, outputs[2])),
        ])  # fmt: skip

    layouts = (CHANNELS_LAST, PLAIN, PLAIN, PLAIN, CHANNELS_LAST)
    return Offer(made.implementation, bind, workspace=need.used, optional=frozenset({1, 2}),
                 overwrites={0: (4,)},
                 arrangements=(Arrangement(layouts, (CHANNELS_LAST, PLAIN, PLAIN)),))  # fmt: skip


def sums(*pairs: tuple[Array, Array | None]) -> list[Callable[[], Any]]:
    """The calls that sum the first of each pair over samples into the second, if there is one."""
    return [partial(np.add.reduce, a, axis=0, out=b) for a, b in pairs if b is not None]


def _rows(backend: OneDnnBackend, node: Node) -> tuple[int, int, list[Descriptor]]:
    """The number of rows and their length; a matrix of them, a number each, and one row."""
    x, scale = node.inputs[:2]
    assert x is not None and scale is not None
    sizes = x.type.sizes
    axis = node.attributes["axis"] % x.rank
    rows, size = math.prod(sizes[:axis]), math.prod(sizes[axis:])
    if any(v is not None and v.dtype != np.float32 for v in (*node.inputs[1:4], *node.outputs[1:])):
        raise Refused("scale, shift and statistics in another type than float32")
    if any(v is not None and v.type.count != size for v in (*node.inputs[1:2], *_bias(node))):
        raise Refused("a scale or shift that is broadcast")
    library = backend.library
    kinds = [
        describe(library, [rows, size], [size, 1], x.dtype.name),
        describe(library, [rows], [1]),
        describe(library, [size], [1]),
    ]
    return rows, size, kinds


def _bias(node: Node) -> Sequence[Value | None]:
    return node.inputs[2:3] if node.op == "LayerNormalization" else ()


def _layer_kernel(
    backend: OneDnnBackend, kinds: Sequence[Descriptor], epsilon: float, flags: int
) -> Kernel:
    library, (matrix, column, _) = backend.library, kinds
    return Kernel(library, "layer_normalization_forward", library.engine, FORWARD_TRAINING, matrix,
                  matrix, column, single(epsilon), flags, attributes(library))  # fmt: skip


@kernel("LayerNormalization")
def layer_norm(backend: OneDnnBackend, node: Node) -> Offer:
    """Statistics of each row, then scale and shift of its elements."""
    rows, _, kinds = _rows(backend, node)
    matrix, column, vector = kinds
    shifted = len(node.inputs) > 2 and node.inputs[2] is not None
    epsilon = float(node.attributes["epsilon"])
    made = _layer_kernel(backend, kinds, epsilon, FLAGS if shifted else USE_SCALE)
    need = Workspace()

    def plan(space: Workspace) -> tuple[Array, Array, Any]:
        vectors = [space.take((rows,), np.float32) for _ in range(2)]
        return vectors[0], vectors[1], space.take((made.scratch,), np.uint8)

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        given = [None if v is None else np.ascontiguousarray(v) for v in inputs]
        y, saved, inverse = outputs
        mean, variance, scratch = plan(Workspace(workspace))
        arguments = {
            SRC: (matrix, given[0]), DST: (matrix, y), SCALE: (vector, given[1]),
            MEAN: (column, mean if saved is None else saved), VARIANCE: (column, variance),
        }  # fmt: skip
        if shifted:
            arguments[SHIFT] = vector, given[2]
        run = made.bind(arguments, scratch)
        if inverse is None:
            return run
        kept = inverse.reshape(-1)
        return in_turn([run, lambda: inverse_of(variance, epsilon, kept)])

    return Offer(made.implementation, bind, workspace=need.used, optional=frozenset({1, 2}))


@kernel("LayerNormalizationGrad", domain="eddl")
def layer_norm_grad(backend: OneDnnBackend, node: Node) -> Offer:
    """The gradients of data, scale and shift."""
    rows, size, kinds = _rows(backend, node)
    matrix, column, vector = kinds
    library = backend.library
    hint = _layer_kernel(backend, kinds, 0.0, FLAGS)
    made = Kernel(library, "layer_normalization_backward", library.engine, BACKWARD, matrix, matrix,
                  matrix, column, single(0.0), FLAGS, hint,
                  attributes(library))  # fmt: skip
    need = Workspace()

    def plan(space: Workspace) -> tuple[Array, list[Array], Any]:
        spare = [space.take((size,), np.float32) for _ in range(2)]
        return (space.take((rows,), np.float32), spare, space.take((made.scratch,), np.uint8))

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, scale, mean, inverse, flow = map(np.ascontiguousarray, inputs)
        variance, spare, scratch = plan(Workspace(workspace))
        vectors = [s if o is None else o for s, o in zip(spare, outputs[1:], strict=True)]
        run = made.bind(
            {SRC: (matrix, data), MEAN: (column, mean), VARIANCE: (column, variance),
             DIFF_DST: (matrix, flow), SCALE: (vector, scale), DIFF_SRC: (matrix, outputs[0]),
             DIFF_SCALE: (vector, vectors[0]), DIFF_SHIFT: (vector, vectors[1]),
             SHIFT: (vector, scale)},  # asked for, and not read
            scratch,
        )  # fmt: skip
        return in_turn([lambda: variance_of(inverse.reshape(-1), variance), run])

    return Offer(made.implementation, bind, workspace=need.used, optional=frozenset({1, 2}))

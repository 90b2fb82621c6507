"""oneDNN's kernels against the array backend's; where there is no oneDNN, all is skipped."""

import numpy as np
import pytest
from hypothesis import strategies as st

from eddl import devices
from eddl.backends.array import ArrayBackend
from eddl.compiler import Slabs, compile_graph
from eddl.errors import DeviceError
from eddl.graph import Graph, Input, Type
from eddl.ops import apply, make_node

try:
    ONEDNN = devices.backend("cpu:onednn")
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)
ARRAY = ArrayBackend(threads=1)


def compiled(inputs, outputs, arrays, backend, **options):
    types = {v: Type(a.dtype, a.shape) for v, a in zip(inputs, arrays, strict=True)}
    return compile_graph(
        Graph(inputs, outputs), types, backend, Slabs(backend), memory_of=lambda s: None, **options
    )


def check(inputs, outputs, arrays, tolerance=2e-5):
    expected = compiled(inputs, outputs, arrays, ARRAY).run(arrays)
    program = compiled(inputs, outputs, arrays, ONEDNN, poison=True)
    for _ in range(2):  # the second run finds poison wherever the first one left something
        for ours, theirs in zip(program.run(arrays), expected, strict=True):
            scale = max(float(np.abs(theirs).max(initial=0)), 1.0)
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale)
    return [call.offer.kernel for call in program.plan.calls]


def with_gradients(y, inputs, seed=0):
    weight = np.random.default_rng(seed).standard_normal(y.type.sizes).astype("float32")
    loss = apply("ReduceSum", y * apply("Identity", weight), keepdims=0)
    return [y, *make_node("Gradients", loss, *inputs, domain="eddl").outputs]


def data(*shapes, seed=1):
    r = np.random.default_rng(seed)
    arrays = [r.standard_normal(shape).astype("float32") for shape in shapes]
    return [Input(Type("float32", shape), name=f"x{i}") for i, shape in enumerate(shapes)], arrays


def followed(draw, y, inputs, arrays):
    """A result as it is, or with what a convolution may do in the same pass."""
    followers = draw.draw(st.sampled_from(((), ("Add",), ("Relu",), ("Add", "Relu"))))
    if "Add" in followers:
        more, values = data(y.type.sizes, seed=2)
        y, inputs, arrays = y + apply("Neg", more[0]), [*inputs, *more], [*arrays, *values]
    return (apply("Relu", y) if "Relu" in followers else y), inputs, arrays

"""Concatenation on oneDNN equals the array backend's to the bit, and is refused where it is not
along channels."""

import numpy as np
import pytest

from eddl import devices
from eddl.compiler import Slabs, compile_graph
from eddl.errors import DeviceError
from eddl.graph import Graph, Input, Type
from eddl.ops import apply

try:
    BACKEND = devices.backend("cpu:onednn")
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.mark.parametrize("axis", [1, -1, 0])
@pytest.mark.parametrize("space", [(), (9,), (6, 5), (3, 4, 5)])
@pytest.mark.parametrize("channels", [(3,), (16, 32), (1, 7, 7, 2)])
def test_parts_stand_side_by_side(space, channels, axis):
    def sizes(count):
        whole = [2, 8, *space]
        whole[axis] = count
        return whole

    inputs = [Input(Type("float32", sizes(count))) for count in (*channels, channels[0])]
    rng = np.random.default_rng(0)
    data = [rng.standard_normal(v.type.sizes).astype("float32") for v in inputs[:-1]]
    parts = [apply("Relu", value) for value in inputs[:-1]]  # in the program's own memory
    y = apply("Concat", *parts, parts[0], inputs[0], axis=axis)
    graph = Graph(inputs[:-1], [apply("Relu", y), apply("Neg", y)])
    program = compile_graph(
        graph, {v: v.type for v in inputs[:-1]}, BACKEND, Slabs(BACKEND),
        memory_of=lambda state: None, poison=True,
    )  # fmt: skip
    kernels = {c.nodes[0].op: c.offer.kernel for c in program.plan.calls}
    assert (kernels["Concat"] == "copies") == (not space or axis != 1)
    made, _ = program.run([np.asfortranarray(array) for array in data])
    whole = [*(np.maximum(array, 0) for array in data), np.maximum(data[0], 0), data[0]]
    np.testing.assert_array_equal(made, np.maximum(np.concatenate(whole, axis), 0))

"""Joining and cutting on oneDNN equal the array backend's to the bit, and are left to it where a
value's channels do not lie last."""

import numpy as np
import pytest

from eddl import devices
from eddl.compiler import Slabs, compile_graph
from eddl.errors import DeviceError
from eddl.graph import Graph, Input, Type
from eddl.ops import apply

from .oracle import ARRAY, check, compiled, data

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
    arrays = [rng.standard_normal(v.type.sizes).astype("float32") for v in inputs[:-1]]
    parts = [apply("Relu", value) for value in inputs[:-1]]  # in the program's own memory
    y = apply("Concat", *parts, parts[0], inputs[0], axis=axis)
    graph = Graph(inputs[:-1], [apply("Relu", y), apply("Neg", y)])
    program = compile_graph(
        graph, {v: v.type for v in inputs[:-1]}, BACKEND, Slabs(BACKEND),
        memory_of=lambda state: None, poison=True,
    )  # fmt: skip
    kernels = {c.nodes[0].op: c.offer.kernel for c in program.plan.calls}
    assert (kernels["Concat"] == "copies") == (not space or axis != 1)
    made, _ = program.run([np.asfortranarray(array) for array in arrays])
    whole = [*(np.maximum(array, 0) for array in arrays), np.maximum(arrays[0], 0), arrays[0]]
    np.testing.assert_array_equal(made, np.maximum(np.concatenate(whole, axis), 0))


@pytest.mark.parametrize("follower", [None, "first", "second", "itself"])
@pytest.mark.parametrize("space", [(9,), (6, 5), (3, 4, 5)])
@pytest.mark.parametrize("cut", [((1, 3, 10),), ((0, 1, 2), (1, 0, 8)), ((1, 2, -1), (2, 1, 3))])
def test_a_part_is_copied_or_added_in_one_pass(space, cut, follower):
    inputs, arrays = data((2, 16, *space))
    axes, starts, ends = (np.array(numbers) for numbers in zip(*cut, strict=True))
    part = apply("Slice", apply("Neg", inputs[0]), starts, ends, axes)
    more, values = data(part.type.sizes, seed=2)
    other = apply("Neg", more[0])
    y = {None: part, "first": part + other, "second": other + part, "itself": part + part}[follower]
    kernels = check([*inputs, *more], [y, apply("Neg", other)], [*arrays, *values])
    assert len([name for name in kernels if name.startswith("part")]) == 1


@pytest.mark.parametrize("ends", [(6, 7, 8), (32, 1, 1), (6, 1, 1)])
def test_a_part_with_one_channel_or_position_comes_from_a_value_with_more(ends):
    inputs, arrays = data((2, 16, 7, 8), (32, 16, 1, 1))
    starts = (0 if ends[0] == 32 else 5, 0, 0)
    made = apply("Conv", *inputs)  # its channels lie last, and those of the part any way
    part = apply("Slice", made, np.array(starts), np.array(ends), np.array([1, 2, 3]))
    batches = [arrays, [array + 1 for array in arrays]]
    program = compiled(inputs, [part], arrays, BACKEND)
    for given in batches:
        expected = compiled(inputs, [part], given, ARRAY).run(given)
        np.testing.assert_allclose(program.run(given)[0], expected[0], rtol=1e-4, atol=1e-4)


def test_what_is_no_dense_part_is_left_to_the_array_backend():
    inputs, arrays = data((2, 16, 6, 5))
    x = apply("Neg", inputs[0])
    steps = apply("Slice", x, np.array([0]), np.array([16]), np.array([1]), np.array([2]))
    assert "copy" in check(inputs, [steps], arrays)
    flags = apply("Slice", apply("Less", x, inputs[0]), np.array([3]), np.array([9]), np.array([1]))
    assert "copy" in check(inputs, [flags], arrays)

"""Matrix products on oneDNN, and what the compiler makes of turned ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eddl.graph import Input, Type
from eddl.ops import apply

from .oracle import ARRAY, ONEDNN, check, compiled, data, with_gradients

ROWS, COLUMNS, INNER = (8, 9, 33), (16, 17, 40), (16, 31, 64)


def turned(x, way):
    return apply("Transpose", x, perm=(*range(x.rank - 2), x.rank - 1, x.rank - 2)) if way else x


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_products_of_any_shape(draw):
    pick = lambda *choices: draw.draw(st.sampled_from(choices))  # noqa: E731
    m, n, k = pick(1, 3, *ROWS), pick(1, 5, *COLUMNS), pick(1, 7, *INNER)
    stacks = pick(((), ()), ((3,), ()), ((), (2,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((2,), (2,)))
    ways = pick(False, True), pick(False, True), pick(False, True)
    first, second = (k, m) if ways[0] else (m, k), (n, k) if ways[1] else (k, n)
    inputs, arrays = data((*stacks[0], *first), (*stacks[1], *second))
    y = apply("MatMul", turned(inputs[0], ways[0]), turned(inputs[1], ways[1]))
    check(inputs, with_gradients(turned(y, ways[2]), inputs), arrays)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(33, 40), (2, 9, 40), (3, 40)])
def test_dense_layers_of_any_shape(shape, relu):
    inputs, arrays = data(shape, (24, 40), (24,))
    x, weight, bias = inputs
    y = apply("MatMul", x, apply("Transpose", weight, perm=(1, 0))) + bias
    check(inputs, with_gradients(apply("Relu", y) if relu else y, inputs), arrays)


def test_a_dense_layer_is_one_call_that_turns_nothing():
    inputs, arrays = data((33, 40), (24, 40), (24,))
    y = apply("Relu", apply("Gemm", *inputs, transB=1))
    program = compiled(inputs, with_gradients(y, inputs), arrays, ONEDNN)
    ops = [tuple(node.op for node in call.nodes) for call in program.plan.calls]
    assert ("Product", "Fused") in ops
    assert not any("Transpose" in chain for chain in ops)


def test_a_turned_product_that_others_read_stays():
    inputs, arrays = data((9, 16), (16, 17))
    y = apply("MatMul", *inputs)
    check(inputs, [y, turned(y, True), turned(turned(y, True), True) + y], arrays)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32"])
def test_other_types_are_computed_by_blas(dtype):
    arrays = [np.arange(9 * 17).reshape(9, 17).astype(dtype) % 7 for _ in range(2)]
    inputs = [Input(Type(dtype, a.shape), name=f"x{i}") for i, a in enumerate(arrays)]
    y = apply("MatMul", inputs[0], turned(inputs[1], True))
    for ours, theirs in zip(*(compiled(inputs, [y], arrays, backend).run(arrays)
                              for backend in (ONEDNN, ARRAY)), strict=True):  # fmt: skip
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("op", ["MatMul", "Conv", "ConvTranspose"])
def test_what_is_not_finite_shows_behind_a_rectifier(op, bad):
    """oneDNN's own rectifier gives 0 for what is not a number; -inf becomes not a number here."""
    shapes = ((33, 40), (40, 24)) if op == "MatMul" else ((2, 16, 9, 8), (16, 16, 3, 3))
    inputs, arrays = data(*shapes)
    arrays[0].reshape(-1)[77] = bad
    product = apply(op, *inputs)
    if op == "MatMul":
        inputs, arrays = [*inputs, Input(Type("float32", (24,)))], [*arrays, np.zeros(24, "f4")]
        product = product + inputs[2]
    (ours,), (theirs,) = (
        compiled(inputs, [apply("Relu", product)], arrays, backend).run(arrays)
        for backend in (ONEDNN, ARRAY)
    )
    finite = np.isfinite(theirs)
    assert not finite.all()
    assert not np.isfinite(ours[~finite]).any()
    minus_infinity = compiled(inputs, [product], arrays, ARRAY).run(arrays)[0] == -np.inf
    rest = finite & ~minus_infinity
    np.testing.assert_allclose(ours[rest], theirs[rest], rtol=1e-4, atol=1e-4)

"""What is refused, what equal kernels share, and that what is given back is not needed any more."""

import gc
import threading

import numpy as np
import pytest

from eddl.backends.onednn import library
from eddl.backends.onednn.handles import channels_last, describe, longs, row_major, single
from eddl.backends.onednn.kernels import Kernel, attributes
from eddl.backends.onednn.library import DST, ELTWISE_RELU, SRC, WEIGHTS
from eddl.errors import DeviceError

try:
    LOADED = library.load()
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)


def matrix(*sizes):
    return describe(LOADED, sizes, row_major(sizes))


def product(sizes, slope=None):
    """A product of square matrices, what is below zero times a slope in the same pass."""

    def post(operations):
        operations.append("eltwise", ELTWISE_RELU, single(slope), single(0.0))

    whole = matrix(sizes, sizes)
    return Kernel(LOADED, "matmul", LOADED.engine, whole, whole, None, whole,
                  attributes(LOADED, None if slope is None else post))  # fmt: skip


def test_a_reference_implementation_is_refused():
    x = describe(LOADED, (2, 7, 5, 5), channels_last((2, 7, 5, 5)), "int8")
    y = describe(LOADED, (2, 7, 5, 5), row_major((2, 7, 5, 5)), "int32")
    with pytest.raises(library.Refused):
        Kernel(
            LOADED, "pooling_forward", LOADED.engine, 64, 0x1FF, x, y,
            *[longs((1, 1))] * 2, *[longs((0, 0))] * 3,
            attributes(LOADED),
        )  # fmt: skip


def test_kernels_are_equal_by_all_that_they_were_asked_for():
    keys = [product(67).key, product(68).key, product(67, 0.0).key, product(67, -0.0).key]
    with LOADED.on(3 + LOADED.dnnl.omp_get_max_threads()):
        large = product(403)
    assert len({*keys, large.key, product(403).key}) == 6
    assert product(67, 0.0).key == keys[2]


@pytest.mark.parametrize("bound_before", [False, True])
def test_equal_kernels_compute_alike(bound_before):
    numbers = np.random.default_rng(0).standard_normal((2, 71, 71)).astype("f4")
    left, right = numbers
    whole, results = matrix(71, 71), np.zeros((3, 71, 71), "f4")
    first, calls = product(71, 0.5), []
    scratch = np.zeros(first.scratch, "u1")

    def bind(kernel, result):
        arguments = {SRC: (whole, left), WEIGHTS: (whole, right), DST: (whole, result)}
        calls.append(kernel.bind(arguments, scratch))

    if bound_before:
        bind(first, results[0])
    second = product(71, 0.5)
    assert second._chosen is first._chosen
    bind(second, results[1])
    bind(product(71), results[2])
    for call in calls:
        call()
    exact = left @ right
    bent = np.where(exact < 0, exact / 2, exact)
    for result, expected in zip(results[not bound_before :], [bent, bent, exact][not bound_before:],
                                strict=True):  # fmt: skip
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    assert second.descriptor(WEIGHTS, (71, 71)) == whole  # asked of the primitive by now


def test_nothing_outlives_who_holds_it():
    gc.collect()
    before = len(LOADED.shared)
    held, array = product(73), np.zeros((73, 73), "f4")
    whole = matrix(73, 73)
    call = held.bind({SRC: (whole, array), WEIGHTS: (whole, array), DST: (whole, array.copy())},
                     np.zeros(held.scratch, "u1"))  # fmt: skip
    assert len(LOADED.shared) > before
    del held, whole
    call()
    del call
    gc.collect()
    assert len(LOADED.shared) == before


def test_threads_that_bind_one_kernel_make_it_once():
    kernel, found = product(79), []
    threads = [
        threading.Thread(target=lambda: found.append(kernel._chosen.primitive)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(primitive) for primitive in found}) == 1

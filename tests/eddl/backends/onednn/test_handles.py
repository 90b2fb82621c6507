"""Handles are destroyed once, and equal descriptors and memory objects are one."""

import gc
from ctypes import c_void_p

import numpy as np
import pytest

from eddl.backends.onednn import library
from eddl.backends.onednn.handles import Handle, describe, memory, row_major
from eddl.errors import DeviceError

try:
    LOADED = library.load()
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)


def matrix(*sizes):
    return describe(LOADED, sizes, row_major(sizes))


def test_handles_are_destroyed_once():
    counted = []

    class Counting(Handle):
        __slots__ = ()

        def __del__(self):
            counted.append(self)
            super().__del__()

    array = np.zeros(8, "f4")
    what = describe(LOADED, (8,), [1])
    made = LOADED.make("memory_create", what, LOADED.engine, c_void_p(array.ctypes.data))
    held = Counting(LOADED, made, "memory_destroy")
    del held
    gc.collect()
    assert len(counted) == 1


def test_equal_descriptors_are_one():
    first = matrix(3, 5)
    assert matrix(3, 5) is first
    assert describe(LOADED, (3, 5), (1, 3)) != first
    assert describe(LOADED, (3, 5), (5, 1), "bfloat16") != first


def test_memory_is_shared_by_address_and_descriptor():
    array, one = np.zeros(64, "f4"), matrix(8, 4)
    first = memory(LOADED, one, array)
    assert memory(LOADED, one, array[:32]) is first
    assert memory(LOADED, one, array[1:]) is not first
    assert memory(LOADED, matrix(4, 8), array) is not first

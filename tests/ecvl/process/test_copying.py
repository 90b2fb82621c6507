"""Copies of what lies backwards or across."""

from itertools import permutations, product

import numpy as np
import pytest

from ecvl.process.copying import copied


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "float16", "float32", "int64"])
@pytest.mark.parametrize("channels", [(), (1,), (3,), (5,)])
def test_copies_are_numpys(dtype: str, channels: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 100, (17, 23, 29, *channels)).astype(dtype)
    behind = tuple(range(3, array.ndim))
    for order in permutations(range(3)):
        turned = array.transpose(*order, *behind)
        for steps in product((1, -1), repeat=3):
            view = turned[tuple(slice(None, None, step) for step in steps)]
            for part in (view, view[3:-2, 1:20, 2:], view[:, 4:5], view[7]):
                made = copied(part)
                assert made.flags.c_contiguous and made.dtype == part.dtype
                assert np.array_equal(made, part) and not np.shares_memory(made, array)

"""Functions of planes reach every plane, whatever the axes."""

from typing import Any

import numpy as np
import pytest

from ecvl.process.planes import in_planes

SIZES = {"n": 2, "t": 3, "c": 2, "z": 4, "y": 5, "x": 6}


@pytest.mark.parametrize(
    "axes", ["yx", "yxc", "cyx", "zyx", "zyxc", "czyx", "tzyx", "zyxt", "ncyx"]
)
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_every_plane_is_reached(axes: str, channels: int) -> None:
    sizes = SIZES | {"c": channels}
    array = np.arange(np.prod([sizes[letter] for letter in axes])).reshape(
        [sizes[letter] for letter in axes]
    )

    def grown(plane: Any) -> Any:
        assert plane.shape[:2] == (5, 6)
        return np.concatenate([plane, plane[:1]], axis=0)[:, ::-1]

    result = in_planes(array, axes, grown)
    y, x = axes.index("y"), axes.index("x")
    first = np.take(array, [0], axis=y)
    expected = np.flip(np.concatenate([array, first], axis=y), axis=x)
    assert np.array_equal(result, expected)
    assert result.flags.c_contiguous

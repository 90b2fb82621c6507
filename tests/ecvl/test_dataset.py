"""Slices of volumes, and splits that share nothing."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ecvl
from ecvl import Dataset, GeometryError, Image, KindError, ParameterError, slices


def _volume(count: int = 20) -> Image:
    values = np.arange(count, dtype=np.int16)[:, None, None] * np.ones((1, 3, 4), np.int16)
    return Image(values, "zyx", np.diag([1, 2, 3, 1]))


@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_a_sample_is_a_slice_with_its_neighbours(neighbours: int) -> None:
    scan = _volume()
    labels = scan.replace(kind="labels", label_names={1: "one"})
    data = slices(scan, labels, neighbours, id="a", group="p")
    assert len(data) == 20
    for position in (0, 1, 10, 19):
        sample = data[position]
        wanted = np.clip(np.arange(position - neighbours, position + neighbours + 1), 0, 19)
        assert (sample.image.axes, sample.image.dtype) == ("cyx", np.float32)
        assert sample.image.array[:, 0, 0].tolist() == wanted.tolist()
        assert sample.image.value_range == (0, 19)
        assert (sample.label.axes, sample.label.dtype) == ("yx", np.int16)
        assert (sample.label.array == position).all()
        assert sample.label.label_names == {1: "one"}
        assert (sample.id, sample.group) == (f"a/{position}", "p")
        np.testing.assert_allclose(
            sample.image.world((2, 1)), scan.world((position, 2, 1)), atol=1e-12
        )


def test_nothing_is_copied_before_loading() -> None:
    scan = _volume()
    data = slices(scan)
    assert all(np.shares_memory(item.image.array, scan.array) for item in data.items)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 90),
    block=st.integers(1, 9),
    every=st.integers(2, 5),
    neighbours=st.integers(0, 2),
    extra=st.integers(0, 2),
)
def test_no_slice_is_seen_by_both(
    count: int, block: int, every: int, neighbours: int, extra: int
) -> None:
    gap = 2 * neighbours + extra
    data = slices(_volume(count), neighbours=neighbours).split_blocks(block, every, gap)

    def seen(part: str) -> set[int]:
        values = [set(data[i].image.array[:, 0, 0].astype(int)) for i in data.part(part)]
        return set().union(*values)

    assert not seen("training") & seen("test")
    held_out = [n for n in range(count) if n // block % every == every - 1]
    assert data.part("test").tolist() == held_out
    expected = [
        n
        for n in range(count)
        if n not in held_out and all(abs(n - other) > gap for other in held_out)
    ]
    assert data.part("training").tolist() == expected


def test_volumes_are_split_each_by_itself() -> None:
    data = (slices(_volume(40), id="a") + slices(_volume(40), id="b")).split_blocks()
    assert data.part("test").tolist() == [*range(24, 32), *range(64, 72)]
    joined = slices(_volume(40), id="c").split_blocks() + data
    assert joined.part("test").tolist() == [*range(24, 32), *range(64, 72), *range(104, 112)]
    assert len(list(iter(joined))) == 120


def test_what_does_not_fit_is_said(volume: Any) -> None:
    scan = _volume()
    cases: list[tuple[Any, Any, str]] = [
        (lambda: slices(Image(np.zeros((3, 3)), "yx")), GeometryError, "zyx"),
        (lambda: slices(scan, scan), KindError, "labels"),
        (lambda: slices(scan, volume(kind="labels")), GeometryError, "one grid"),
        (lambda: slices(scan, neighbours=-1), ParameterError, "neighbours"),
        (lambda: slices(scan).split_blocks(gap=1), ParameterError, "gap >= 2"),
        (lambda: slices(scan).split_blocks(every=1), ParameterError, "every >= 2"),
        (lambda: slices(scan) + slices(scan), ParameterError, "different ids"),
        (lambda: slices(scan).with_splits({"a": [0, 20]}), ParameterError, "0 to 19"),
        (lambda: slices(scan).with_splits({"a": [1], "b": [1]}), ParameterError, "one split"),
        (lambda: slices(scan).with_splits({"a": [0.5]}), ParameterError, "indices"),
        (lambda: slices(scan).part("test"), ParameterError, "split the dataset first"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()
    assert isinstance(ecvl.slices(scan), Dataset)

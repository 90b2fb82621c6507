"""Run lengths against brute force, COCO's published rules and TorchXRayVision's reader."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ecvl
from ecvl import FormatError, GeometryError, Image, KindError, ParameterError
from ecvl.process.rle import FORMS


def _mask(array: Any) -> Image:
    return Image(np.asarray(array, np.uint8), "yx", kind="labels")


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 9).flatmap(
        lambda w: st.lists(st.lists(st.booleans(), min_size=w, max_size=w), min_size=1, max_size=9)
    ),
    st.sampled_from(FORMS),
)
def test_there_and_back(rows: Any, form: Any) -> None:
    mask = _mask(rows)
    written = ecvl.labels_to_rle(mask, form=form)
    if form in ("starts", "gaps"):
        back = ecvl.rle_to_labels(written, mask.shape, form=form)
    else:
        back = ecvl.rle_to_labels(written)
        assert sum(ecvl.labels_to_rle(mask)["counts"]) == mask.array.size
    assert np.array_equal(back, mask)


def _coco_text(counts: Any) -> str:
    """COCO's rleToString, from its description: differences, 5 bits a character, sign extended."""
    text = ""
    for i, count in enumerate(counts):
        x = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            c = x & 0x1F
            x >>= 5
            more = x != -1 if c & 0x10 else x != 0
            text += chr((c | 0x20 if more else c) + 48)
    return text


def test_compressed_counts_are_cocos() -> None:
    rng = np.random.default_rng(0)
    import scipy.ndimage as ndi

    inside = ndi.gaussian_filter(rng.normal(size=(300, 400)), 9) > 0.01
    mask = _mask(inside)
    plain, packed = ecvl.labels_to_rle(mask), ecvl.labels_to_rle(mask, form="compressed")
    assert packed["counts"] == _coco_text(plain["counts"])
    assert packed["size"] == [300, 400]
    # A run of 0 comes first, however short.
    assert ecvl.labels_to_rle(_mask([[1, 0]]))["counts"] == [0, 1, 1]
    assert ecvl.rle_to_labels({"size": [1, 2], "counts": b"011"}).array.tolist() == [[1, 0]]


def test_gaps_are_read_as_torchxrayvision_does() -> None:
    rng = np.random.default_rng(1)
    mask = _mask(rng.random((30, 20)) < 0.3)
    numbers = [int(word) for word in ecvl.labels_to_rle(mask, form="gaps").split()]
    flat = np.zeros(600)
    position = 0
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        position += start
        flat[position : position + length] = 1
        position += length
    assert np.array_equal(flat.reshape(20, 30).T, mask)
    # "-1" stands for an empty mask there.
    assert not ecvl.rle_to_labels("-1", (3, 4), form="gaps").array.any()


def test_labels_and_places_are_taken_over() -> None:
    affine = np.diag([2.0, 3, 4, 1])
    like = Image(np.zeros((1, 2, 2)), "zyx", affine)
    labels = ecvl.rle_to_labels("1 2", like, label=7, form="starts")
    assert labels.array.tolist() == [[[7, 0], [7, 0]]]
    assert np.array_equal(labels.affine, affine)
    assert ecvl.labels_to_rle(labels, 7, "starts") == "1 2"
    assert ecvl.labels_to_rle(labels, 1, "starts") == ""


@pytest.mark.parametrize(
    ("rle", "like", "form"),
    [
        ({"size": [2, 2], "counts": [1, 2]}, None, None),
        ({"size": [2, 2], "counts": [5, -1]}, None, None),
        ({"size": [2, 2], "counts": [1.5, 2.5]}, None, None),
        ({"size": [2, 2], "counts": None}, None, None),
        ({"size": [1 << 20, 1 << 20], "counts": [1 << 40]}, None, None),
        ({"size": [2, 2], "counts": [4]}, (2, 3), None),
        ({"size": "22", "counts": [4]}, None, None),
        ({"size": [True, 4], "counts": [4]}, None, None),
        ({"counts": [4]}, None, None),
        ({"size": [2, 2], "counts": "\x00"}, None, None),
        ({"size": [2, 2], "counts": "o" * 50}, None, None),
        ({"size": [2, 2], "counts": "0" * 500}, None, None),
        ({"size": [2, 2], "counts": "T"}, None, None),
        ("1 5", (2, 2), "starts"),
        ("0 1", (2, 2), "starts"),
        ("1 2 2 1", (2, 2), "starts"),
        ("1 2 3", (2, 2), "starts"),
        ("1 x", (2, 2), "starts"),
        ("1 " * 1000, (2, 2), "gaps"),
        ("3 2", (2, 2), "gaps"),
        (str(1 << 80) + " 1", (2, 2), "gaps"),
    ],
)
def test_hostile_runs_are_refused(rle: Any, like: Any, form: Any) -> None:
    with pytest.raises(FormatError, match="expected"):
        ecvl.rle_to_labels(rle, like, form=form)


def test_wrong_arguments_are_said() -> None:
    mask = _mask([[1, 0]])
    volume = Image(np.zeros((2, 2, 2), np.uint8), "zyx", kind="labels")
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.labels_to_rle(mask.replace(kind="image")), KindError, "labels"),
        (lambda: ecvl.labels_to_rle(mask, form="zip"), ParameterError, "form"),
        (lambda: ecvl.labels_to_rle(volume), GeometryError, "one y-x plane"),
        (lambda: ecvl.rle_to_labels("1 1", (1, 2)), ParameterError, "form="),
        (lambda: ecvl.rle_to_labels("1 1", form="gaps"), ParameterError, "like="),
        (lambda: ecvl.rle_to_labels("1 1", volume, form="gaps"), GeometryError, "one plane"),
        (lambda: ecvl.rle_to_labels("1 1", (1, 2), form="gaps", label=0), ParameterError, "label"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()

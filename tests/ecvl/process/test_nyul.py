"""Landmark standardisation."""

import json
from typing import Any

import numpy as np
import pytest

from ecvl import HistogramStandard, Image, KindError, ParameterError


def _scan(seed: int, gain: float, offset: float) -> tuple[Image, Image]:
    """Two tissues in air, seen by another scanner each time."""
    rng = np.random.default_rng(seed)
    tissue = np.zeros((6, 30, 30))
    tissue[:, 5:25, 5:25] = 40
    tissue[:, 10:20, 10:20] = 80
    values = gain * np.abs(tissue + rng.normal(0, 2, tissue.shape)) ** 1.05 + offset
    mask = Image((tissue > 0).astype(np.uint8), "zyx", kind="labels")
    return Image(values.astype(np.float32), "zyx"), mask


def test_tissues_come_to_the_same_values() -> None:
    scans = [
        _scan(seed, gain, offset) for seed, gain, offset in ((1, 1, 0), (2, 7, 90), (3, 0.2, 5))
    ]
    images, masks = zip(*scans, strict=True)
    standard = HistogramStandard.learn(images, masks)
    means = [
        [
            standard.apply(image, mask).array[:, 12:18, 12:18].mean(),
            standard.apply(image, mask).array[:, 6:9, 6:24].mean(),
        ]
        for image, mask in scans
    ]
    assert np.ptp(means, axis=0).max() < 2
    raw = [image.array[:, 12:18, 12:18].mean() for image in images]
    assert np.ptp(raw) > 300


def test_landmarks_are_mapped_exactly_and_ends_go_on() -> None:
    image, mask = _scan(4, 3, 20)
    standard = HistogramStandard((10, 50, 90), (0.0, 30.0, 100.0))
    result = standard.apply(image, mask)
    found = np.percentile(image.array[mask.array > 0].astype(float), (10, 50, 90))
    expected = np.interp(image.array, found, (0, 30, 100))
    inner = (image.array > found[0]) & (image.array < found[2])
    np.testing.assert_allclose(result.array[inner], expected[inner], rtol=1e-4, atol=1e-4)
    assert result.array.min() < 0 and result.array.max() > 100


def test_json_round_trip() -> None:
    image, mask = _scan(4, 3, 20)
    standard = HistogramStandard.learn([image], [mask])
    again = HistogramStandard.from_json(json.loads(json.dumps(standard.to_json())))
    assert again == standard
    assert np.array_equal(again.apply(image, mask), standard.apply(image, mask))


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"version": 2, "percentiles": [0, 100], "landmarks": [0, 1]},
        {"version": True, "percentiles": [0, 100], "landmarks": [0, 1]},
        {"version": 1, "percentiles": [0, 100], "landmarks": [0]},
        {"version": 1, "percentiles": [0, 100], "landmarks": [1, 0]},
        {"version": 1, "percentiles": [0, 101], "landmarks": [0, 1]},
        {"version": 1, "percentiles": [0, float("nan")], "landmarks": [0, 1]},
        {"version": 1, "percentiles": "01", "landmarks": [0, 1]},
        {"version": 1, "percentiles": [0, 100], "landmarks": [0, 1], "more": 1},
    ],
)
def test_hostile_documents_are_refused(document: Any) -> None:
    with pytest.raises(ParameterError, match="expected"):
        HistogramStandard.from_json(document)


def test_what_cannot_be_learned_is_said() -> None:
    image, mask = _scan(4, 3, 20)
    with pytest.raises(ParameterError, match="none"):
        HistogramStandard.learn([])
    with pytest.raises(ParameterError, match="different values"):
        HistogramStandard.learn([Image(np.zeros((3, 3)), "yx")])
    with pytest.raises(KindError, match="image"):
        HistogramStandard.learn([mask])
    with pytest.raises(ParameterError, match="mask"):
        HistogramStandard.learn([image, image], [mask])

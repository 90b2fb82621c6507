"""Stains apart and alike, on slides made of known amounts and on real ones."""

import json
from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import GeometryError, Image, ParameterError, StainStandard
from ecvl.process.stain import EOSIN, HAEMATOXYLIN, STAINS

RNG = np.random.default_rng(12)
VECTORS = np.array([(0.6, 0.75, 0.28), (0.15, 0.97, 0.2)])
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


def _slide(vectors: Any = VECTORS, scale: Any = (1, 1), seed: int = 0) -> tuple[Image, Any]:
    """Nuclei and pink tissue on white, by Lambert and Beer."""
    import cv2

    rng = np.random.default_rng(seed)
    smooth = [cv2.GaussianBlur(rng.normal(size=(120, 130)), (0, 0), s) for s in (2, 8)]
    nuclei = (smooth[0] / smooth[0].std() > 0.9) * rng.uniform(0.4, 1.0, (120, 130))
    pink = (smooth[1] / smooth[1].std() > -0.8) * rng.uniform(0.2, 0.7, (120, 130))
    amounts = np.stack([nuclei * scale[0], pink * scale[1]], axis=-1)
    values = 255 * 10 ** -(amounts @ np.asarray(vectors))
    return Image(np.rint(values).astype(np.uint8), "yxc"), amounts


def test_amounts_come_back() -> None:
    slide, amounts = _slide()
    found = ecvl.separate_stains(slide, VECTORS).array
    bright = (amounts @ VECTORS).max(axis=-1) < 1.5
    np.testing.assert_allclose(found[..., :2][bright], amounts[bright], atol=0.05)
    assert np.abs(found[..., 2][bright]).max() < 0.03


@pytest.mark.parametrize("stains", STAINS)
def test_apart_and_together(stains: str) -> None:
    picture = Image(RNG.integers(1, 256, (9, 10, 3)).astype(np.uint8), "yxc")
    there = ecvl.separate_stains(picture, stains)
    assert np.array_equal(ecvl.combine_stains(there, stains).array, picture.array)
    first = ecvl.rearrange(picture, "cyx")
    assert np.array_equal(ecvl.separate_stains(first, stains).array, np.moveaxis(there.array, 2, 0))
    wide = picture.replace(array=picture.array.astype(np.uint16) * 257)
    np.testing.assert_allclose(ecvl.separate_stains(wide, stains).array, there.array, atol=1e-5)


def test_the_vectors_of_a_slide_are_found() -> None:
    for vectors in (VECTORS, np.array([HAEMATOXYLIN, EOSIN])):
        slide, _ = _slide(vectors)
        found = ecvl.stain_vectors(slide)
        truth = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        degrees = np.degrees(np.arccos(np.clip((found * truth).sum(axis=1), -1, 1)))
        assert degrees.max() < 5


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_slides_come_to_look_alike(method: Any) -> None:
    target, _ = _slide()
    other, _ = _slide(np.array([(0.5, 0.8, 0.4), (0.1, 0.9, 0.35)]), (1.5, 0.7), seed=1)
    before = np.abs(other.array.mean((0, 1)) - target.array.mean((0, 1))).max()
    result = ecvl.normalise_stain(other, target, method)
    after = np.abs(result.array.mean((0, 1)) - target.array.mean((0, 1))).max()
    assert result.dtype == np.uint8
    assert after < before / 2
    if method == "macenko":
        degrees = np.degrees(
            np.arccos(
                np.clip((ecvl.stain_vectors(result) * ecvl.stain_vectors(target)).sum(1), -1, 1)
            )
        )
        assert degrees.max() < 6
    else:
        lab = [ecvl.convert_colour(image, "LAB").array for image in (result, target)]
        for statistic in (np.mean, np.std):
            # Colours beyond RGB are cut off.
            np.testing.assert_allclose(*(statistic(v, axis=(0, 1)) for v in lab), atol=2.5)


def test_masks_choose_what_is_looked_at() -> None:
    slide, _ = _slide()
    spoilt = slide.array.copy()
    spoilt[:40] = (30, 200, 40)
    mask = np.ones(slide.shape[:2], np.uint8)
    mask[:40] = 0
    labels = Image(mask, "yx", kind="labels")
    dirty = slide.replace(array=spoilt)
    clean = ecvl.crop(slide, [(40, 120), (0, 130)])
    np.testing.assert_allclose(
        ecvl.stain_vectors(dirty, mask=labels), ecvl.stain_vectors(clean), atol=1e-9
    )


def test_json_round_trip() -> None:
    slide, _ = _slide()
    other, _ = _slide(seed=3)
    for method in ("macenko", "reinhard"):
        standard = StainStandard.learn(slide, method)
        again = StainStandard.from_json(json.loads(json.dumps(standard.to_json())))
        assert again == standard
        assert np.array_equal(again.apply(other), standard.apply(other))


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"version": 2, "method": "reinhard", "colours": [[1, 1, 1]] * 2, "amounts": []},
        {"version": 1, "method": "magic", "colours": [[1, 1, 1]] * 2, "amounts": []},
        {"version": 1, "method": "reinhard", "colours": [[1, 1]] * 2, "amounts": []},
        {"version": 1, "method": "reinhard", "colours": [[1, 1, 1], [1, -1, 1]], "amounts": []},
        {"version": 1, "method": "reinhard", "colours": "no", "amounts": []},
        {"version": 1, "method": "macenko", "colours": [[1, 1, 1]] * 2, "amounts": [1, 1]},
        {"version": 1, "method": "macenko", "colours": [[1, 0, 0], [0, 1, 0]], "amounts": [1]},
        {"version": 1, "method": "macenko", "colours": [[1, 0, 0], [0, 1, 0]], "amounts": [1, 0]},
    ],
)
def test_hostile_documents_are_refused(document: Any) -> None:
    with pytest.raises(ParameterError, match="expected"):
        StainStandard.from_json(document)


def test_what_does_not_fit_is_refused() -> None:
    slide, _ = _slide()
    grey = Image(np.zeros((5, 5), np.uint8), "yx")
    white = slide.replace(array=np.full_like(slide.array, 250))
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.separate_stains(grey), GeometryError, "three channels"),
        (lambda: ecvl.separate_stains(slide, "H"), ParameterError, "among"),
        (lambda: ecvl.separate_stains(slide, [[1, 2, 3]] * 2), ParameterError, "differ"),
        (lambda: ecvl.separate_stains(slide, [[1, 2]]), ParameterError, "vectors"),
        (lambda: ecvl.stain_vectors(white), GeometryError, "stained pixels"),
        (lambda: ecvl.normalise_stain(slide, grey), GeometryError, "three channels"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()


@pytest.mark.data
def test_a_real_slide_takes_on_the_stains_of_another(package: Any) -> None:
    import cv2

    paths = [package("stardist") / "stardist/data/images/histo.jpg",
             package("tiatoolbox") / "tiatoolbox/data/target_image.png"]  # fmt: skip
    slide, target = (Image(cv2.imread(str(path))[..., ::-1].copy(), "yxc") for path in paths)
    result = ecvl.normalise_stain(slide, target)

    def apart(image: Image) -> float:
        return float(np.abs(ecvl.stain_vectors(image) - ecvl.stain_vectors(target)).max())

    assert apart(result) < 0.5 * apart(slide)
    amounts = ecvl.separate_stains(slide, ecvl.stain_vectors(slide)).array
    assert np.abs(amounts[..., 2]).mean() < 0.1 * np.abs(amounts[..., :2]).mean()

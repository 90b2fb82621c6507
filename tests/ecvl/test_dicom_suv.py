"""SUV against the formula, worked out by hand for a known decay."""

from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

import ecvl
from ecvl import FormatError
from ecvl.io.dicom import suv

PET: dict[str, Any] = {
    "Modality": "PT", "Units": "BQML", "CorrectedImage": ["DECY", "ATTN", "SCAT"],
    "DecayCorrection": "START", "PatientWeight": 70.0, "SeriesDate": "20260102",
    "SeriesTime": "003000", "AcquisitionDate": "20260102", "AcquisitionTime": "003010.5",
}  # fmt: skip
TRACER = {
    "RadionuclideTotalDose": 4e8,
    "RadionuclideHalfLife": 6600.0,
    "RadiopharmaceuticalStartTime": "233000.000000",
}


def _image(dicom_series: Any, changes: Any = None, tracer: Any = None, name: str = "a") -> Any:
    from pydicom.dataset import Dataset

    stored = np.random.default_rng(0).integers(0, 4000, (3, 4, 5)).astype(np.uint16)
    folder = dicom_series(stored, slope=2.5, intercept=0, extra=PET | (changes or {}), name=name)
    for path in folder.iterdir():
        made, item = dcmread(path), Dataset()
        for keyword, value in (TRACER | (tracer or {})).items():
            setattr(item, keyword, value)
        made.RadiopharmaceuticalInformationSequence = [item]
        made.save_as(path)
    return ecvl.read(folder), stored * 2.5


def test_the_dose_decays_from_injection_to_scan_over_midnight(dicom_series: Any) -> None:
    image, activity = _image(dicom_series)
    found = suv(image)
    expected = activity * 70_000 / (4e8 * 0.5 ** (3600 / 6600))
    np.testing.assert_allclose(found.array, expected, rtol=1e-6)
    assert np.array_equal(found.affine, image.affine)
    assert suv(_image(dicom_series, {"Units": "GML"}, name="gml")[0]).array.max() > 1000


def test_other_ways_to_say_it(dicom_series: Any) -> None:
    admin, activity = _image(dicom_series, {"DecayCorrection": "ADMIN"}, name="admin")
    np.testing.assert_allclose(suv(admin).array, activity * 70_000 / 4e8, rtol=1e-6)
    said = {"RadiopharmaceuticalStartDateTime": "20260101230000"}
    at, _ = _image(dicom_series, tracer=said, name="datetime")
    np.testing.assert_allclose(
        suv(at).array, activity * 70_000 / (4e8 * 0.5 ** (5400 / 6600)), rtol=1e-6
    )
    late, _ = _image(dicom_series, {"SeriesTime": "120000"}, name="worked on later")
    expected = activity * 70_000 / (4e8 * 0.5 ** (3610.5 / 6600))
    np.testing.assert_allclose(suv(late).array, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "tracer", "message"),
    [
        ({"Modality": "CT"}, {}, "PET"),
        ({"Units": "CNTS"}, {}, "Units"),
        ({"CorrectedImage": ["ATTN"]}, {}, "DECY"),
        ({"PatientWeight": 0}, {}, "PatientWeight"),
        ({"DecayCorrection": "NONE"}, {}, "DecayCorrection"),
        ({}, {"RadionuclideTotalDose": None}, "RadionuclideTotalDose"),
        ({}, {"RadiopharmaceuticalStartDateTime": "20250101230000"}, "within a day"),
    ],
)
def test_what_is_missing_is_said(
    dicom_series: Any, changes: Any, tracer: Any, message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        suv(_image(dicom_series, changes, tracer)[0])

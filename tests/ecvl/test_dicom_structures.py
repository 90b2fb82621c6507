"""Filled contours against a test of every pixel; holes, names, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import ecvl
from ecvl import FormatError, GeometryError, Image, ParameterError
from ecvl.io.dicom.structures import inside


def _brute(polygons: Any, shape: tuple[int, int]) -> Any:
    """Count the edges to the left of every pixel centre."""
    result = np.zeros(shape, np.uint8)
    for y, x in np.ndindex(shape):
        for points in polygons:
            for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
                if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x:
                    result[y, x] ^= 1
    return result


@pytest.mark.parametrize("seed", range(8))
def test_pixels_inside_polygons(seed: int) -> None:
    rng = np.random.default_rng(seed)
    polygons = [rng.uniform(-5, 25, (int(rng.integers(3, 9)), 2)) for _ in range(seed % 3 + 1)]
    if seed % 2:
        polygons = [np.rint(points) for points in polygons]
    assert np.array_equal(inside(polygons, (17, 19)), _brute(polygons, (17, 19)))


def _item(**elements: Any) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def _structures(path: Path, regions: Any, frame: str = "1.2.3") -> Path:
    """Write regions: name to a list of points (n, 3) in RAS+ mm, or (kind, points)."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.Modality = "RTSTRUCT"
    made.ReferencedFrameOfReferenceSequence = Sequence([_item(FrameOfReferenceUID=frame)])
    names, contours = [], []
    for number, (name, parts) in enumerate(regions.items()):
        names.append(_item(ROINumber=number + 7, ROIName=name))
        items = []
        for part in parts:
            kind, points = part if isinstance(part, tuple) else ("CLOSED_PLANAR", part)
            data = (np.array(points) * (-1, -1, 1)).ravel().round(6).tolist()
            items.append(_item(ContourGeometricType=kind, ContourData=data))
        contours.append(_item(ReferencedROINumber=number + 7, ContourSequence=Sequence(items)))
    made.StructureSetROISequence = Sequence(names)
    made.ROIContourSequence = Sequence(contours[::-1])
    made.save_as(path, enforce_file_format=True)
    return path


AFFINE = np.array([[-0.8, 0, 0, 20], [0, -0.9, 0, 30], [0, 0, 2.5, -7], [0, 0, 0, 1.0]])


def _square(low: float, high: float, z: int, affine: Any = AFFINE) -> Any:
    corners = np.array([[low, low, z], [high, low, z], [high, high, z], [low, high, z]])
    return corners @ affine[:3, :3].T + affine[:3, 3]


def _grid(affine: Any = AFFINE) -> Image:
    return Image(np.zeros((6, 14, 15), np.int16), "zyx", affine)


def test_holes_names_and_slices(tmp_path: Path) -> None:
    path = _structures(
        tmp_path / "a.dcm",
        {
            "Liver": [_square(1.5, 9.5, 2), _square(3.5, 5.5, 2), _square(1.5, 4.5, 4)],
            "Spleen": [_square(10.5, 12.5, 2), _square(10.5, 12.5, 40)],
            "Isocenter": [("POINT", [[0, 0, 0]])],
        },
    )
    labels = ecvl.dicom_structures(path, _grid())
    expected = np.zeros((6, 14, 15), np.uint8)
    expected[2, 2:10, 2:10] = 1
    expected[2, 4:6, 4:6] = 0
    expected[4, 2:5, 2:5] = 1
    expected[2, 11:13, 11:13] = 2
    assert np.array_equal(labels, expected)
    assert labels.kind == "labels"
    assert labels.label_names == {1: "Liver", 2: "Spleen"}
    only = ecvl.dicom_structures(path, _grid(), names=["Spleen"])
    assert np.array_equal(only, expected == 2)
    with pytest.raises(ParameterError, match=r"Isocenter.*received \['Heart'\]"):
        ecvl.dicom_structures(path, _grid(), names=["Heart"])


def test_oblique_grids(tmp_path: Path) -> None:
    from scipy.spatial.transform import Rotation

    affine = AFFINE.copy()
    turn = Rotation.from_euler("xyz", (20, -30, 40), degrees=True).as_matrix()
    affine[:3, :3] = turn @ affine[:3, :3]
    path = _structures(tmp_path / "a.dcm", {"A": [_square(1.5, 9.5, 2, affine)]})
    assert int(ecvl.dicom_structures(path, _grid(affine)).array[2, 2:10, 2:10].sum()) == 64
    with pytest.raises(GeometryError, match="slices of the image"):
        ecvl.dicom_structures(path, _grid())


def test_overlaps_are_refused_or_the_smaller_wins(tmp_path: Path) -> None:
    path = _structures(
        tmp_path / "a.dcm", {"Tumour": [_square(3.5, 5.5, 2)], "Body": [_square(0.5, 11.5, 2)]}
    )
    with pytest.raises(FormatError, match=r"overlap=") as caught:
        ecvl.dicom_structures(path, _grid())
    assert "Body" in str(caught.value)
    labels = ecvl.dicom_structures(path, _grid(), overlap="smaller")
    assert (int((labels.array == 1).sum()), int((labels.array == 2).sum())) == (4, 121 - 4)


def test_what_does_not_fit_is_refused(tmp_path: Path, dicom_series: Any) -> None:
    path = _structures(tmp_path / "a.dcm", {"A": [_square(1, 2, 1)]})
    other = Image(
        np.zeros((6, 14, 15)), "zyx", AFFINE, meta={"common": {"FrameOfReferenceUID": "9"}}
    )
    with pytest.raises(GeometryError, match="frame of reference"):
        ecvl.dicom_structures(path, other)
    with pytest.raises(GeometryError, match="with z"):
        ecvl.dicom_structures(path, Image(np.zeros((3, 3)), "yx"))
    folder = dicom_series(np.zeros((1, 4, 4), np.uint16))
    with pytest.raises(FormatError, match="structure set"):
        ecvl.dicom_structures(next(folder.iterdir()), _grid())
    with pytest.raises(FormatError, match="RTSTRUCT"):
        ecvl.read(path)

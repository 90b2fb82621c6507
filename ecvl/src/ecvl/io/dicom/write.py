"""Writing DICOM: CT, MR and secondary captures; segmentations are in `segmentation.py`.

* A written object is never its source: SOP and series UIDs are new, its type is DERIVED, and the
  instances it was made from are referenced.
* The study is the source's unless the caller says otherwise; the frame of reference only while the
  grid is (afterwards nobody knows whether positions still mean the same).
* A folder of slices appears whole or not at all.

Held by `tests/ecvl/test_dicom_write.py` against dciodvfy, SimpleITK and pydicom.
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine, non_orthogonality
from ecvl.errors import (
    FileError,
    FormatError,
    GeometryError,
    KindError,
    MissingFileError,
    ParameterError,
    one_line,
)
from ecvl.image import Image, require_kind
from ecvl.io.dicom import modules
from ecvl.io.dicom.geometry import LPS_TO_RAS
from ecvl.io.dicom.sixteen import Stored16, stored
from ecvl.io.files import written_atomically
from ecvl.io.quiet import quiet

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
CAPTURE_STORAGE = "1.2.840.10008.5.1.4.1.1.7"
# Modalities whose own objects are written; every other makes a secondary capture.
STORAGE = {"CT": CT_STORAGE, "MR": MR_STORAGE}
IN_PLANE_TOLERANCE = 1e-4
# A changed grid has all source images; so many stand in each file, more in the first only.
MOST_SOURCES = 100


@quiet()
def DicomWrite(
    path: str | os.PathLike[str],
    image: Image,
    *,
    modality: str,
    like: Image | None = None,
    description: str = "",
    series_number: int = 1,
    keep_study: bool = True,
    secondary_capture: bool = False,
    greatest_error: float | None = None,
) -> float:
    """Write an image as DICOM: a file for a 2-D image, a folder of slices for a 3-D one.

    Args:
        path: the file, or the folder, which must not exist or be empty.
        image: axes "yx" or "zyx"; with "c" at the end uint8 RGB, written as secondary capture.
            Labels are written with modality="SEG", as one file; their values become the segments
            1, 2, ... in order, with the `label_names`.
        modality: "CT" and "MR" make CT and MR images, "SEG" a segmentation, any other code of the
            standard ("OT", "PT", "US") a secondary capture of that modality.
        like: the image that this one was made from, where its own `meta` does not say: patient,
            study, frame of reference and source references come from there.
        description: the SeriesDescription.
        series_number: the SeriesNumber.
        keep_study: take over patient and study of the source; without it the object belongs to a
            new study and to nobody.
        secondary_capture: write a secondary capture for CT and MR, too.
        greatest_error: refuse real numbers (and integers beyond sixteen bits) that would come back
            with a greater error than this; by default any is accepted and returned.

    Returns:
        The greatest difference between a value and what a reader gets: 0 for integers that span at
        most 65536 values.

    Raises:
        FormatError: axes, type or values do not fit the object, or the error is too great.
        GeometryError: rows and columns are not at right angles, which DICOM cannot hold.
        KindError: labels without modality="SEG", or the other way round.
        FileError: the folder is there and not empty, or cannot be written.

    Example:
        >>> import tempfile, ecvl
        >>> folder = tempfile.mkdtemp() + "/series"
        >>> DicomWrite(folder, Image(np.ones((2, 4, 5), np.int16), "zyx"), modality="CT")
        0.0
        >>> ecvl.read(folder)
        Image(image zyx 2×4×5 int16, spacing 1×1×1 mm, RAS)
    """
    require_kind(image, None, "DicomWrite")
    if not isinstance(modality, str) or not modality.isalpha() or modality != modality.upper():
        raise ParameterError(f"expected a modality such as 'CT' or 'OT', received {modality!r}")
    if modality == "SEG":
        from ecvl.io.dicom.segmentation import write_segmentation

        write_segmentation(
            Path(path), image, like=like, description=description, series_number=series_number,
            keep_study=keep_study,
        )  # fmt: skip
        return 0.0
    if image.kind == "labels":
        raise KindError("expected an image, received labels; write them with modality='SEG'")
    if image.axes not in ("yx", "zyx", "yxc", "zyxc"):
        raise FormatError(
            f"expected axes yx, zyx, yxc or zyxc, received {image.axes!r}; write parts of it, such "
            "as image[0], one by one"
        )
    colour = image.axes.endswith("c")
    if colour and (image.dtype != np.uint8 or image.shape[-1] != 3):
        raise FormatError(
            f"expected colour as uint8 RGB, received {image.dtype} with {image.shape[-1]} channels"
        )
    capture = secondary_capture or colour or modality not in STORAGE
    data = Stored16(image.array, 1.0, 0.0, 0.0) if colour else stored(image.array, 16, capture)
    if greatest_error is not None and data.error > greatest_error:
        raise FormatError(
            f"expected values that sixteen bits hold within {greatest_error}, received some that "
            f"come back {data.error:.3g} off; write NIfTI, or clip the values"
        )
    source = Origin.of(image, like)
    target = Path(path)
    if "z" not in image.axes:
        if target.is_dir():
            raise FileError(f"expected the name of a file, received the folder {target.name!r}")
        (made,) = _slices(
            image, data, source, modality, capture, description, series_number, keep_study
        )
        with written_atomically(target) as stream:
            save(made, stream)
        return data.error
    if target.suffix.lower() == ".dcm":
        raise FormatError(
            f"expected the name of a folder for a 3-D image, received {target.name!r}; leave out "
            "the .dcm"
        )
    with _folder_at_once(target) as folder:
        for number, made in enumerate(
            _slices(image, data, source, modality, capture, description, series_number, keep_study)
        ):
            with (folder / f"{number + 1:05}.dcm").open("xb") as stream:
                save(made, stream)
                os.fsync(stream.fileno())
    return data.error


@dataclass(frozen=True, eq=False)
class Origin:
    """What an image to be written knows of the DICOM objects it was made from.

    Attributes:
        common: elements of all source images.
        slices: elements of each, in the order of the grid, or none where the grid is another.
        instances: (SOP class, SOP instance) of each source.
        series: the source series.
        same_space: whether positions mean the same as in the source.

    Example:
        >>> Origin.of(Image(np.zeros((2, 2)), "yx"), None).instances
        []
    """

    common: Mapping[str, Any]
    slices: list[Mapping[str, Any]]
    instances: list[tuple[str, str]]
    series: str
    same_space: bool

    @classmethod
    def of(cls, image: Image, like: Image | None) -> "Origin":
        """Look for it in the image, or in the one that it was made from."""
        if like is not None:
            require_kind(like, None, "like=")
        meta = image.meta if like is None else like.meta
        found = meta.get("source") or {}
        dicom = found.get("format") == "dicom"
        common = meta.get("common") or {} if dicom else {}
        known = meta.get("slices") or [] if dicom else []
        sop_class = str(common.get("SOPClassUID", ""))
        uids = [str(uid) for uid in found.get("instances", [])] if dicom else []
        instances = [(sop_class, uid) for uid in uids if uid and sop_class]
        shape = image.shape[: -len("yxc") + ("c" not in image.axes)] or (1,)
        same_grid = like is None or (
            like.spatial_shape == image.spatial_shape
            and np.allclose(like.affine, image.affine, atol=1e-4)
        )
        slices = list(known) if len(known) == int(np.prod(shape)) and same_grid else []
        series = str(found.get("series", "")) if dicom else ""
        return cls(common, slices, instances, series, bool(slices) or like is not None)

    def reference_frame(self) -> str:
        """Return the frame of reference: the source's while it holds, else a new one."""
        from pydicom.uid import generate_uid

        known = str(self.common.get("FrameOfReferenceUID", "")) if self.same_space else ""
        return known or str(generate_uid(prefix=None))

    def sources_of(self, index: int) -> list[tuple[str, str]]:
        """Return the instances that a slice was made from."""
        uid = self.known(index).get("SOPInstanceUID") if self.slices else None
        if uid:
            return [(sop_class, u) for sop_class, u in self.instances if u == uid]
        return self.instances if len(self.instances) <= MOST_SOURCES or index == 0 else []

    def known(self, index: int) -> dict[str, Any]:
        """Return the elements that still hold for a slice."""
        return {**self.common, **(self.slices[index] if self.slices else {})}


def save(made: Any, stream: Any) -> None:
    """Write a data set as a file: explicit little endian, the preamble zero.

    Raises:
        FormatError: an element taken over from the source cannot be written.
    """
    from pydicom import dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    try:
        dcmwrite(stream, made, enforce_file_format=True)
    except (ValueError, TypeError, AttributeError) as error:
        raise FormatError(f"cannot write the DICOM object: {one_line(error)}") from None


@dataclass(frozen=True, eq=False)
class Planes:
    """The slices of a grid in DICOM's LPS+ mm.

    Attributes:
        cosines: along a row and down a column.
        spacing: between rows and between columns.
        origins: of each slice, shape (z, 3).
        distance: between slices along their normal.
        order: of the slices along their normal.

    Example:
        >>> Planes.of(np.diag([-1.0, -1.0, 2.0, 1.0]), 3).distance
        2.0
    """

    cosines: NDArray[np.float64]
    spacing: tuple[float, float]
    origins: NDArray[np.float64]
    distance: float
    order: list[int]

    @classmethod
    def of(cls, affine: Affine, count: int, positions: list[float] | None = None) -> "Planes":
        """Work them out.

        Args:
            affine: of the grid.
            count: how many slices it has.
            positions: of uneven slices along the normal in mm, the first 0.

        Raises:
            GeometryError: rows and columns are not at right angles.
        """
        lps = LPS_TO_RAS @ affine
        x, y = np.linalg.norm(lps[:3, 0]), np.linalg.norm(lps[:3, 1])
        row, column = lps[:3, 0] / x, lps[:3, 1] / y
        if abs(row @ column) > IN_PLANE_TOLERANCE:
            raise GeometryError(
                f"expected rows and columns at right angles, received a cosine of "
                f"{abs(row @ column):.2g} between them (in all "
                f"{non_orthogonality(affine):.2g}); resample the image to a straight grid first"
            )
        normal = np.cross(row, column)
        places = np.arange(count, dtype=np.float64)
        if positions is not None and len(positions) == count > 1:
            places = np.array(positions) * (count - 1) / positions[-1]
        origins = lps[:3, 3] + places[:, None] * lps[:3, 2]
        order = list(range(count)) if lps[:3, 2] @ normal >= 0 else list(range(count))[::-1]
        distance = abs(float(lps[:3, 2] @ normal))
        return cls(np.concatenate([row, column]), (float(y), float(x)), origins, distance, order)


def _slices(
    image: Image,
    data: Stored16,
    source: Origin,
    modality: str,
    capture: bool,
    description: str,
    series_number: int,
    keep_study: bool,
) -> Iterator[Any]:
    """Make one data set after the other, in the order along the normal."""
    from pydicom.uid import generate_uid

    now = datetime.now()
    volume = data.values if "z" in image.axes else data.values[None]
    planes = Planes.of(image.affine, len(volume), image.meta.get("positions"))
    uid, space = str(generate_uid(prefix=None)), source.reference_frame()
    study = modules.item()
    modules.patient_and_study(study, source.common, keep_study)
    low, high = image.value_range
    for number, index in enumerate(planes.order):
        known = source.known(index)
        made = modules.item()
        made.update(study)
        modules.instance(made, CAPTURE_STORAGE if capture else STORAGE[modality], number + 1, now)
        modules.series(made, modality, uid, description, series_number, now)
        modules.derivation(made, source.sources_of(index))
        made.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if modality == "CT" else "OTHER"]
        made.PatientOrientation = None
        modules.frame_of_reference(made, space, str(known.get("PositionReferenceIndicator", "")))
        made.PixelSpacing = modules.decimals(planes.spacing)
        made.ImageOrientationPatient = modules.decimals(planes.cosines)
        made.ImagePositionPatient = modules.decimals(planes.origins[index])
        if "z" in image.axes:
            made.SpacingBetweenSlices = modules.decimal(planes.distance)
        modules.pixels(made, volume[index])
        if capture:
            made.ImageType = ["DERIVED", "SECONDARY"]
            made.ConversionType = "WSD"
        else:
            made.SliceThickness = known.get("SliceThickness") if source.slices else None
            made.PatientPosition = known.get("PatientPosition", "")
            {"CT": modules.ct, "MR": modules.mr}[modality](made, known)
        if (modality == "CT" and not capture) or (data.slope, data.intercept) != (1, 0):
            made.RescaleIntercept = modules.decimal(data.intercept)
            made.RescaleSlope = modules.decimal(data.slope)
            made.RescaleType = "HU" if modality == "CT" else "US"
        if volume.ndim == 3:
            made.WindowCenter = modules.decimal((low + high) / 2)
            made.WindowWidth = modules.decimal(max(high - low, 1.0))
        yield made


@contextmanager
def _folder_at_once(target: Path) -> Iterator[Path]:
    """Give a folder whose files appear under `target` all at once, or not at all."""
    if not target.parent.is_dir():
        raise MissingFileError(f"there is no folder {str(target.parent)!r} to write to")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileError(f"expected a new or empty folder, received {target.name!r} that is not")
    temporary = target.parent / f".{target.name[:100]}.{secrets.token_hex(6)}.part"
    try:
        temporary.mkdir()
        yield temporary
        with suppress(FileNotFoundError):
            target.rmdir()
        temporary.rename(target)
    except OSError as error:
        raise FileError(
            f"cannot write {target.name!r}: {error.strerror or one_line(error)}"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

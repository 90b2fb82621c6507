"""DICOM series and single images.

* Slices stand by ImagePositionPatient along the normal; SliceThickness is never used.
* The affine goes through the first and the last slice, so a tilted series keeps its shear.
* Uneven or missing slices raise with the gap in mm, unless the caller chooses otherwise.
* All elements stay in `meta` of the object and go nowhere by themselves.

Held by `tests/ecvl/test_dicom.py` against SimpleITK, and by the fuzz test.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine
from ecvl.errors import FormatError, GeometryError, ParameterError
from ecvl.image import Image, Kind
from ecvl.io.dicom_geometry import Stack, plane_affine, resampled_evenly, stacked
from ecvl.io.dicom_headers import (
    SERIES_KEYWORDS,
    chosen_series,
    in_threads,
    is_image,
    looks_like_dicom,
    number,
    parsed,
    text,
)
from ecvl.io.dicom_meta import elements, merged
from ecvl.io.dicom_pixels import decoded, require_one_frame, rescale, stored_range
from ecvl.io.files import existing
from ecvl.io.quiet import quiet
from ecvl.io.registry import Format, Info, register
from ecvl.io.scaling import require_integral, scaled

Irregular = Literal["raise", "keep", "resample"]


@quiet()
def DicomRead(
    path: str | os.PathLike[str],
    *,
    series: str | int | None = None,
    irregular: Irregular = "raise",
    kind: Kind | None = None,
    raw: bool = False,
) -> Image:
    """Read a DICOM series from a folder, or one image from a file.

    Args:
        path: a folder (searched with the folders within it) or a file.
        series: which series of the folder: a SeriesInstanceUID or its unique ending, or a number in
            the order of `dicom_series`. Needed where there are several.
        irregular: what to do about uneven or missing slices: "raise"; "keep" the slices and give
            the mean distance (`meta["positions"]` holds the true ones, in mm); or "resample"
            linearly to the median distance.
        kind: "image" (the default) or "labels".
        raw: return stored values; by default rescale slope and intercept are applied (CT: HU) and
            MONOCHROME1 is inverted.

    Returns:
        A folder gives axes "zyx" ("zyxc" in colour), a file "yx" ("yxc"). Integers where slope and
        intercept are integral and the same throughout (the smallest type that holds what the stored
        bits can say), else float32. `meta` holds `source`, `common` and `slices`.

    Raises:
        MissingFileError: there is no such file or folder.
        SeriesError: the folder holds no or several series.
        GeometryError: slices are uneven, missing, repeated or not parallel.
        FormatError: a file is damaged, in several frames, or has no pixels.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> DicomRead(get_testdata_file("CT_small.dcm"))
        Image(image yx 128×128 int32, spacing 0.6615×0.6615 mm, LPS)
    """
    if irregular not in ("raise", "keep", "resample"):
        raise ParameterError(
            f"expected irregular='raise', 'keep' or 'resample', received {irregular!r}"
        )
    found = existing(path)
    if not found.is_dir():
        return _one_image(found, kind, raw)
    chosen = chosen_series(found, series)
    stack = _stack(chosen.files, irregular)
    if stack is None:
        return _one_image(chosen.files[0], kind, raw)
    files = [chosen.files[index] for index in stack.order]

    def slice_of(file: Path) -> tuple[NDArray[Any], tuple[float, float], Any, dict[str, Any]]:
        dataset = parsed(file)
        slope = (1.0, 0.0) if raw else rescale(dataset, file.name)
        pixels = decoded(dataset, file.name, raw=raw)
        return pixels, slope, stored_range(dataset), elements(dataset)

    slices = in_threads(slice_of, files)
    values = _values(slices, files)
    meta = merged([row for *_, row in slices])
    meta["source"] = _source(chosen.uid, [_instance(row) for *_, row in slices])
    affine = stack.affine
    if irregular == "keep" and not stack.even:
        meta["positions"] = stack.positions
    if irregular == "resample" and not stack.even:
        values, affine = resampled_evenly(values, stack)
        del meta["slices"]
    if kind == "labels":
        values = require_integral(values, found.name)
    axes = "zyxc" if values.ndim == 4 else "zyx"
    return Image(values, axes, affine, kind=kind or "image", meta=meta)


@quiet()
def dicom_info(path: Path, *, series: str | int | None = None) -> Info:
    """Read the headers of a series or an image: what `ecvl.info` gives.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> dicom_info(Path(get_testdata_file("MR_small.dcm"))).shape
        (64, 64)
    """
    stack = None
    if path.is_dir():
        chosen = chosen_series(path, series)
        stack = _stack(chosen.files, "raise")
        path = chosen.files[0]
    header = parsed(path, pixels=False, keywords=SERIES_KEYWORDS)
    if not is_image(header):
        raise FormatError(f"expected an image in {path.name!r}, received DICOM without one")
    require_one_frame(header, path.name)
    shape: tuple[int, ...] = (number(header, "Rows") or 0, number(header, "Columns") or 0)
    axes = "yx"
    if stack is not None:
        shape, axes = (len(stack.order), *shape), "zyx"
    if number(header, "SamplesPerPixel") == 3:
        shape, axes = (*shape, 3), axes + "c"
    bits = {8: 1, 16: 2, 32: 4}.get(number(header, "BitsAllocated") or 0, 1)
    sign = "i" if number(header, "PixelRepresentation") == 1 else "u"
    affine = stack.affine if stack is not None else plane_affine(header)
    return Info("dicom", axes, shape, np.dtype(f"{sign}{bits}"), affine, "image")


def _one_image(path: Path, kind: Kind | None, raw: bool) -> Image:
    dataset = parsed(path)
    if not is_image(dataset):
        raise FormatError(
            f"expected an image in {path.name!r}, received a DICOM file without one "
            f"({text(dataset, 'Modality') or 'no modality'})"
        )
    pixels = decoded(dataset, path.name, raw=raw)
    affine: Affine = plane_affine(dataset)
    axes = "yxc" if pixels.ndim == 3 else "yx"
    if not raw and axes == "yx":
        pixels = scaled(pixels, *rescale(dataset, path.name), stored_range(dataset))
    if kind == "labels":
        pixels = require_integral(pixels, path.name)
    row = elements(dataset)
    meta = merged([row])
    meta["source"] = _source(text(dataset, "SeriesInstanceUID"), [_instance(row)])
    return Image(pixels, axes, affine, kind=kind or "image", meta=meta)


def _stack(files: Sequence[Path], irregular: Irregular) -> Stack | None:
    """Order the slices; `None` for a single image without a position."""
    headers = in_threads(lambda f: parsed(f, pixels=False, keywords=SERIES_KEYWORDS), files)
    if len(files) == 1 and headers[0].get("ImagePositionPatient") is None:
        return None
    sizes = {(number(h, "Rows"), number(h, "Columns")) for h in headers}
    if len(sizes) > 1:
        raise GeometryError(
            f"expected slices of one size in a series, received {sorted(sizes, key=str)}; "
            "move other images (scouts, reports) out of the folder"
        )
    return stacked(headers, irregular == "raise")


def _values(
    slices: Sequence[tuple[NDArray[Any], tuple[float, float], tuple[int, int], Any]],
    files: Sequence[Path],
) -> NDArray[Any]:
    shapes = {(pixels.shape, pixels.dtype) for pixels, *_ in slices}
    if len(shapes) > 1:
        raise FormatError(
            f"expected slices of one shape and type in the series, received {len(shapes)} sorts "
            f"among files such as {files[0].name!r}; move the other images out of the folder"
        )
    slopes = {slope for _, slope, *_ in slices}
    ranges = [limits for *_, limits, _ in slices]
    stored_limits = min(low for low, _ in ranges), max(high for _, high in ranges)
    volume = np.stack([pixels for pixels, *_ in slices])
    if volume.ndim == 4 or slopes == {(1.0, 0.0)}:
        return volume
    if len(slopes) == 1:
        return scaled(volume, *slopes.pop(), stored_limits)
    result = np.empty(volume.shape, np.float32)
    for plane, stored, (_, (slope, intercept), *_) in zip(result, volume, slices, strict=True):
        plane[...] = stored * np.float64(slope) + intercept
    return result


def _source(uid: str, instances: list[str]) -> dict[str, Any]:
    return {"format": "dicom", "series": uid, "instances": instances}


def _instance(row: dict[str, Any]) -> str:
    return str(row.get("SOPInstanceUID", ""))


def _recognises(path: Path) -> bool:
    return path.is_dir() or looks_like_dicom(path)


register(
    Format(
        name="dicom",
        extensions=(".dcm",),
        recognises=_recognises,
        read=DicomRead,
        info=dicom_info,
        options=("series", "irregular"),
        info_options=("series",),
    )
)

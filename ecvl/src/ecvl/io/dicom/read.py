"""DICOM series, single and multi-frame images.

* Every header is parsed once; geometry, type and meta are known before a pixel is decoded.
* Slices stand by ImagePositionPatient along the normal; SliceThickness is never used.
* The affine goes through the first and the last slice, so a tilted series keeps its shear.
* Uneven or missing slices raise with the gap in mm, unless the caller chooses otherwise.
* All elements stay in `meta` of the object and go nowhere by themselves. Windows (VOI) are not
  applied and stand there; overlay planes are not drawn.

Held by `tests/ecvl/test_dicom.py` and `test_dicom_files.py` against pydicom and SimpleITK, and by
the fuzz test.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import FormatError, GeometryError, ParameterError
from ecvl.image import Image, Kind
from ecvl.io.dicom.arrange import Arrangement, Irregular, arranged
from ecvl.io.dicom.elements import elements, merged, sequence, series_elements, text
from ecvl.io.dicom.files import DicomFile, in_threads, is_image, looks_like_dicom, parsed
from ecvl.io.dicom.frames import Frame, frames_of
from ecvl.io.dicom.geometry import even_positions
from ecvl.io.dicom.pixels import PixelFormat, is_plain, pixel_format, read_plain, stored_frames
from ecvl.io.dicom.segmentation import is_segmentation, read_segmentation
from ecvl.io.dicom.series import chosen_files
from ecvl.io.dicom.values import Meaning, meaning, put_values, value_type
from ecvl.io.dicom.write import DicomWrite
from ecvl.io.files import existing
from ecvl.io.lazy import LazyImage, deferred
from ecvl.io.quiet import quiet
from ecvl.io.registry import Format, Info, register
from ecvl.io.scaling import require_integral
from ecvl.regions import Box

WRITE_OPTIONS = (
    "modality", "like", "description", "series_number", "keep_study", "secondary_capture",
    "greatest_error",
)  # fmt: skip
# What PET needs to become SUV; the item is copied into `meta`, where sequences do not go.
RADIOPHARMACEUTICAL = "RadiopharmaceuticalInformationSequence"


@dataclass(frozen=True, eq=False)
class Source:
    """An image before its pixels are decoded.

    Attributes:
        name: of the file or folder, for messages.
        frames: all of them.
        formats: what the header says of each frame's pixels.
        meanings: what each frame's pixels mean.
        arrangement: which frame stands where.
        dtype: of the values.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> source([parsed(Path(get_testdata_file("CT_small.dcm")))], "CT_small").shape
        (128, 128)
    """

    name: str
    frames: list[Frame]
    formats: list[PixelFormat]
    meanings: list[Meaning]
    arrangement: Arrangement
    dtype: np.dtype[Any]

    @property
    def axes(self) -> str:
        """One letter a dimension."""
        colour = self.frame_shape[2:]
        return self.arrangement.axes + ("yxc" if colour else "yx")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole image."""
        return (*self.arrangement.order.shape, *self.frame_shape)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """The shape of one frame's values."""
        table = self.meanings[0].table
        palette = table is not None and table.ndim == 2
        return (*self.formats[0].shape, 3) if palette else self.formats[0].shape

    def pixels(self, chosen: NDArray[np.intp] | None = None) -> NDArray[Any]:
        """Decode frames.

        Args:
            chosen: a part of `arrangement.order`; all of it by default.

        Returns:
            Values of shape (*chosen.shape, *frame_shape).

        Raises:
            FormatError: the pixels of a file are damaged.
        """
        chosen = self.arrangement.order if chosen is None else np.asarray(chosen)
        result = np.empty((*chosen.shape, *self.frame_shape), self.dtype)
        flat = result.reshape(-1, *self.frame_shape)
        tasks: dict[int, list[tuple[int, int]]] = {}
        for place, index in enumerate(chosen.ravel().tolist()):
            tasks.setdefault(id(self.frames[index].file), []).append((place, index))
        in_threads(lambda task: self._read(task, flat), list(tasks.values()))
        return result

    @quiet()
    def box(self, box: Box) -> NDArray[Any]:
        """Decode the frames that a box touches, and cut them."""
        leading = self.arrangement.order.ndim
        chosen = self.arrangement.order[tuple(slice(*ends) for ends in box[:leading])]
        whole: tuple[slice, ...] = (slice(None),) * leading
        return self.pixels(chosen)[whole + tuple(slice(*ends) for ends in box[leading:])]

    def _read(self, task: list[tuple[int, int]], out: NDArray[Any]) -> None:
        file, made = self.frames[task[0][1]].file, self.formats[task[0][1]]
        task = sorted(task, key=lambda pair: self.frames[pair[1]].index)
        if is_plain(file, made) and self._in_place(task[0][1]):
            with file.open() as stream:
                for place, index in task:
                    target = out[place]
                    stored = target.view(made.dtype)
                    read_plain(stream, file, made, self.frames[index].index, stored)
                    means = self.meanings[index]
                    if not means.identity:
                        put_values(target, means, made, target)
            return
        frames = stored_frames(file, [self.frames[index].index for _, index in task])
        for (place, index), stored in zip(task, frames, strict=True):
            put_values(stored, self.meanings[index], made, out[place])

    def _in_place(self, index: int) -> bool:
        """Whether values can be worked out where the stored numbers were read to."""
        made, means = self.formats[index], self.meanings[index]
        whole = self.dtype.kind in "iu" and self.dtype.itemsize == made.dtype.itemsize
        return means.table is None and (whole or (means.identity and self.dtype == made.dtype))


@quiet()
def DicomRead(
    path: str | os.PathLike[str],
    *,
    series: str | int | None = None,
    irregular: Irregular = "raise",
    stack_by: str | Sequence[str] | None = None,
    segments: Sequence[int] | None = None,
    kind: Kind | None = None,
    raw: bool = False,
) -> Image:
    """Read a DICOM series from a folder, or an image of one or several frames from a file.

    Args:
        path: a folder (searched with the folders within it) or a file.
        series: which series of the folder: a SeriesInstanceUID or its unique ending, or a number in
            the order of `dicom_series`. Needed where there are several.
        irregular: what to do about uneven or missing slices: "raise"; "keep" the slices and give
            the mean distance (`meta["positions"]` holds the true ones, in mm); or "resample"
            linearly to the median distance.
        stack_by: the DICOM keyword (or keywords) by whose values images of the same position are
            parted, such as "EchoTime", "TriggerTime", "DiffusionBValue" (with the direction) or
            "TemporalPositionIdentifier". It makes an axis: c for echoes, inversions and parts of
            complex images, t for all else. Without it, repeated positions raise and say what parts
            them.
        segments: of a segmentation, the numbers of the segments wanted; all by default.
        kind: "image" (the default) or "labels" (the default of segmentations).
        raw: return stored values; by default modality tables, rescale slope and intercept (CT: HU)
            and dose scaling are applied, palettes become RGB and MONOCHROME1 is inverted.

    Returns:
        A folder gives axes "zyx" ("zyxc" in colour), with t or c before them where `stack_by` makes
        one; a file "yx", or with several frames "zyx" where they have positions, "tyx" where they
        have a duration, else "nyx". Integers where slope and intercept are integral and the same
        throughout (the smallest type that holds what the stored bits can say), else float32; tables
        give their own type. A segmentation gives labels "zyx" on its own grid with `label_names`
        (fractions from a half on), or with kind="image" the shares of the segments, "czyx". `meta`
        holds `source`, `common` and `slices`, and where there are such `time_step` (s), `stack`,
        `bvals` (s/mm²), `bvecs` (RAS+ directions), `positions` and `segments`.

    Raises:
        MissingFileError: there is no such file or folder.
        SeriesError: the folder holds no or several series.
        GeometryError: slices are uneven, missing, repeated or not parallel.
        FormatError: a file is damaged, or has no pixels.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> DicomRead(get_testdata_file("CT_small.dcm"))
        Image(image yx 128×128 int32, spacing 0.6615×0.6615 mm, LPS)
    """
    return dicom_lazy(
        existing(path), series=series, irregular=irregular, stack_by=stack_by, segments=segments,
        kind=kind, raw=raw,
    ).load()  # fmt: skip


@quiet()
def dicom_lazy(
    found: Path,
    *,
    series: str | int | None = None,
    irregular: Irregular = "raise",
    stack_by: str | Sequence[str] | None = None,
    segments: Sequence[int] | None = None,
    kind: Kind | None = None,
    raw: bool = False,
) -> LazyImage:
    """Parse the headers of a series or an image; its frames are decoded where they are indexed.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> film = dicom_lazy(Path(get_testdata_file("examples_ybr_color.dcm")))
        >>> film[3].shape
        (240, 320, 3)
    """
    if irregular not in ("raise", "keep", "resample"):
        raise ParameterError(
            f"expected irregular='raise', 'keep' or 'resample', received {irregular!r}"
        )
    files = chosen_files(found, series) if found.is_dir() else [_image_file(found)]
    if segmentation := _segmentation(files, raw):
        return deferred(read_segmentation(segmentation, kind, segments))
    made = source(
        files, found.name, from_folder=found.is_dir(), irregular=irregular, stack_by=stack_by,
        raw=raw,
    )  # fmt: skip
    meta = _meta(made)
    affine, positions = made.arrangement.affine, made.arrangement.positions
    if positions is not None and irregular == "keep":
        meta["positions"] = positions
    uneven = positions is not None and irregular == "resample"
    if not uneven and (kind != "labels" or made.dtype.kind != "f"):
        return LazyImage(made.box, made.axes, made.shape, affine, kind or "image", meta)
    values = made.box(tuple((0, size) for size in made.shape))
    if positions is not None and uneven:
        values, affine = _resampled(values, made.axes.index("z"), affine, positions)
        del meta["slices"]
    if kind == "labels":
        values = require_integral(values, found.name)
    return deferred(Image(values, made.axes, affine, kind=kind or "image", meta=meta))


@quiet()
def dicom_info(
    path: Path,
    *,
    series: str | int | None = None,
    stack_by: str | Sequence[str] | None = None,
) -> Info:
    """Read the headers of a series or an image: what `ecvl.info` gives.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> dicom_info(Path(get_testdata_file("MR_small.dcm"))).shape
        (64, 64)
    """
    files = chosen_files(path, series) if path.is_dir() else [_image_file(path)]
    if segmentation := _segmentation(files, False):
        whole = read_segmentation(segmentation)
        return Info("dicom", whole.axes, whole.shape, whole.dtype, whole.affine, whole.kind)
    made = source(files, path.name, from_folder=path.is_dir(), stack_by=stack_by)
    return Info(
        "dicom",
        made.axes,
        made.shape,
        made.formats[0].dtype,
        made.arrangement.affine,
        "image",
        made.arrangement.meta.get("time_step"),
        {"modality": text(files[0].dataset, "Modality"), "transfer_syntax": files[0].syntax},
    )


def source(
    files: Sequence[DicomFile],
    name: str,
    *,
    from_folder: bool = False,
    irregular: Irregular = "raise",
    stack_by: str | Sequence[str] | None = None,
    raw: bool = False,
) -> Source:
    """Put together what the headers of the files of one image say.

    Raises:
        GeometryError, FormatError: as for `DicomRead`.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> source([parsed(Path(get_testdata_file("MR_small.dcm")))], "MR_small").dtype
        dtype('int16')
    """
    frames = [frame for file in files for frame in frames_of(file)]
    by_file = {id(file): pixel_format(file) for file in files}
    formats = [by_file[id(frame.file)] for frame in frames]
    sizes = {(made.rows, made.columns) for made in by_file.values()}
    if len(sizes) > 1:
        raise GeometryError(
            f"expected slices of one size in a series, received {sorted(sizes)}; move other images "
            "(scouts, reports) out of the folder"
        )
    alone = len(frames) == 1 and not text(frames[0], "ImagePositionPatient")
    arrangement = arranged(
        frames, from_folder=from_folder and not alone, irregular=irregular, stack_by=stack_by
    )
    meanings = [meaning(frame, made, raw) for frame, made in zip(frames, formats, strict=True)]
    dtype = value_type(meanings, list(by_file.values()), raw)
    return Source(name, frames, formats, meanings, arrangement, dtype)


def _segmentation(files: Sequence[DicomFile], raw: bool) -> DicomFile | None:
    return files[0] if len(files) == 1 and not raw and is_segmentation(files[0]) else None


def _image_file(path: Path) -> DicomFile:
    file = parsed(path)
    if not is_image(file.dataset):
        modality = text(file.dataset, "Modality") or "no modality"
        advice = "; fill its contours with ecvl.dicom_structures" if modality == "RTSTRUCT" else ""
        raise FormatError(
            f"expected an image in {path.name!r}, received a DICOM file without one "
            f"({modality}){advice}"
        )
    return file


def _meta(made: Source) -> dict[str, Any]:
    """What is known besides pixels and geometry, a row of `slices` for each frame in order."""
    order = made.arrangement.order.ravel().tolist()
    frames = [made.frames[index] for index in order]
    files = list({id(frame.file): frame.file for frame in frames}.values())
    common, rows = series_elements([file.dataset for file in files])
    if len(files) < len(frames):
        by_file = dict(zip(map(id, files), rows, strict=True))
        both = [{**by_file[id(frame.file)], **frame.elements()} for frame in frames]
        shared, rows = merged(both)
        common = {**common, **shared}
    elif frames[0].groups:
        common = {**common, **frames[0].elements()}
    instances = [text(file.dataset, "SOPInstanceUID") for file in files]
    uid = text(files[0].dataset, "SeriesInstanceUID")
    meta: dict[str, Any] = {
        "source": {"format": "dicom", "series": uid, "instances": instances},
        "common": common,
        "slices": rows,
        **made.arrangement.meta,
    }
    if tracers := sequence(files[0].dataset, RADIOPHARMACEUTICAL):
        meta["radiopharmaceutical"] = elements(tracers[0])
    return meta


def _resampled(
    values: NDArray[Any], axis: int, affine: NDArray[np.float64], positions: list[float]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Interpolate uneven slices linearly to the median distance; the first slice stays."""
    from ecvl.process.dtypes import in_type

    places = np.array(positions)
    wanted, step = even_positions(positions)
    moved = np.moveaxis(values, axis, 0)
    result = np.empty((len(wanted), *moved.shape[1:]), values.dtype)
    for index, place in enumerate(wanted):
        above = int(np.clip(np.searchsorted(places, place), 1, len(places) - 1))
        below = above - 1
        weight = (place - places[below]) / (places[above] - places[below])
        mixed = moved[below] * (1 - weight) + moved[above] * weight
        result[index] = in_type(mixed, values.dtype)
    scaled = affine.copy()
    scaled[:3, 2] *= step * (len(places) - 1) / places[-1]
    return np.moveaxis(result, 0, axis), scaled


def _write(path: Path, image: Image, **options: Any) -> float:
    if "modality" not in options:
        raise ParameterError("say modality= to write DICOM, such as modality='CT'")
    return DicomWrite(path, image, **options)


def _recognises(path: Path) -> bool:
    return path.is_dir() or looks_like_dicom(path)


register(
    Format(
        name="dicom",
        extensions=(".dcm",),
        recognises=_recognises,
        read=DicomRead,
        info=dicom_info,
        write=_write,
        lazy=dicom_lazy,
        options=("series", "irregular", "stack_by", "segments"),
        info_options=("series", "stack_by"),
        write_options=WRITE_OPTIONS,
    )
)

"""From frames to axes: z by position, and t or c by what parts frames of one position.

Frames without a position are moments (t) where the file says how long they last, else pages (n).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine
from ecvl.errors import GeometryError, ParameterError
from ecvl.io.dicom.elements import numbers, plain
from ecvl.io.dicom.files import DicomFile
from ecvl.io.dicom.frames import Frame, planes_of
from ecvl.io.dicom.geometry import plane_affine, stacked

Irregular = Literal["raise", "keep", "resample"]

# What can part frames of one place: the axis that it makes, and whether its values may differ from
# place to place (then the rank at the place counts).
PARTERS: dict[str, tuple[str, bool]] = {
    "TemporalPositionIdentifier": ("t", False),
    "TemporalPositionIndex": ("t", False),
    "DiffusionBValue": ("t", False),
    "EchoNumbers": ("c", False),
    "EchoTime": ("c", False),
    "EffectiveEchoTime": ("c", False),
    "InversionTime": ("c", False),
    "FlipAngle": ("c", False),
    "ComplexImageComponent": ("c", False),
    "ImageType": ("c", False),
    "FrameType": ("c", False),
    "ReferencedSegmentNumber": ("c", False),
    "StackID": ("c", False),
    "ConvolutionKernel": ("c", False),
    "NominalPercentageOfCardiacPhase": ("t", False),
    "NominalCardiacTriggerDelayTime": ("t", True),
    "TriggerTime": ("t", True),
    "FrameReferenceTime": ("t", True),
    "FrameReferenceDateTime": ("t", True),
    "AcquisitionNumber": ("t", True),
    "AcquisitionDateTime": ("t", True),
    "FrameAcquisitionDateTime": ("t", True),
    "AcquisitionTime": ("t", True),
    "ContentTime": ("t", True),
    "InstanceNumber": ("t", True),
}
# How many seconds a unit of an element is, where its values are times.
SECONDS = {"TriggerTime": 1e-3, "NominalCardiacTriggerDelayTime": 1e-3, "FrameReferenceTime": 1e-3}
DIRECTION = "DiffusionGradientOrientation"
# Where Siemens says it before the standard did: b-value 0C and direction 0E of this block.
SIEMENS = (0x0019, "SIEMENS MR HEADER")


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Frames as the leading axes of an array.

    Attributes:
        axes: the letters before "yx", such as "z", "tz" or "".
        order: which frame stands where, one dimension an axis.
        affine: 4x4 to RAS+ mm.
        positions: of uneven slices along the normal in mm; `None` where they are even.
        meta: what the arrangement adds to `Image.meta`.

    Example:
        >>> Arrangement("", np.array(0), np.eye(4)).positions is None
        True
    """

    axes: str
    order: NDArray[np.intp]
    affine: Affine
    positions: list[float] | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def arranged(
    frames: Sequence[Frame],
    *,
    from_folder: bool,
    irregular: Irregular = "raise",
    stack_by: str | Sequence[str] | None = None,
) -> Arrangement:
    """Find the axes of a series.

    Args:
        frames: all of them, in the order of the files.
        from_folder: whether even a single frame is a volume.
        irregular: "raise" refuses uneven slices.
        stack_by: the keywords whose values part frames of one place.

    Raises:
        GeometryError: there is no such order.

    Example:
        >>> from pathlib import Path
        >>> from pydicom.data import get_testdata_file
        >>> from ecvl.io.dicom.files import parsed
        >>> from ecvl.io.dicom.frames import frames_of
        >>> frames = frames_of(parsed(Path(get_testdata_file("examples_ybr_color.dcm"))))
        >>> arranged(frames, from_folder=False).axes
        't'
    """
    wanted = _keywords(stack_by)
    files = {id(frame.file): frame.file for frame in frames}
    planes = planes_of(frames)
    if None in planes and len(files) == 1:
        if len(frames) == 1:
            return Arrangement("", np.array(0), plane_affine(frames[0]))
        if wanted:
            raise GeometryError(
                "expected positions of the frames for stack_by, received frames without one"
            )
        return _moments(frames)
    if len(frames) == 1 and not from_folder:
        return Arrangement("", np.array(0), plane_affine(frames[0]))
    letters: list[str] = []
    keys: list[Any] = []

    def parted(places: list[list[int]]) -> list[list[int]]:
        if not wanted and max(map(len, places)) == 1:
            return places
        if not wanted and len(places) == 1 and len(files) == 1:
            # A film of one place.
            if (step := time_step(frames[0].file)) is not None:
                letters.append("t")
                keys.extend([step * index for index in range(len(frames))])
                return [sorted(places[0])]
        if not wanted:
            raise GeometryError(_repeated(frames, places))
        letters.append(PARTERS.get(wanted[0], ("t", False))[0])
        order, found = _in_order(frames, places, wanted)
        keys.extend(found)
        return order

    stack = stacked(planes, irregular == "raise", parted)
    meta: dict[str, Any] = {}
    order, axes = np.array(stack.order).T, "z"
    if not letters:
        order = order[0]
    else:
        axes = letters[0] + "z"
        meta = _stack_meta(frames, order[:, 0], wanted, keys, letters[0])
        if order.shape[1] == 1 and not from_folder:
            order, axes = order[:, 0], letters[0]
    return Arrangement(axes, order, stack.affine, None if stack.even else stack.positions, meta)


def time_step(file: DicomFile) -> float | None:
    """Return the seconds between the frames of a film, or `None` where the file does not say.

    Example:
        >>> from pathlib import Path
        >>> from pydicom.data import get_testdata_file
        >>> from ecvl.io.dicom.files import parsed
        >>> time_step(parsed(Path(get_testdata_file("examples_ybr_color.dcm"))))
        0.033333
    """
    dataset = file.dataset
    if (step := numbers(dataset, "FrameTime")) and step[0] > 0:
        return step[0] / 1000
    if (steps := numbers(dataset, "FrameTimeVector")) and len(steps) > 1 and sum(steps[1:]) > 0:
        return sum(steps[1:]) / (len(steps) - 1) / 1000
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        if (rate := numbers(dataset, keyword)) and rate[0] > 0:
            return 1 / rate[0]
    return None


def _moments(frames: Sequence[Frame]) -> Arrangement:
    step = time_step(frames[0].file)
    meta = {} if step is None else {"time_step": step}
    axes = "n" if step is None else "t"
    return Arrangement(axes, np.arange(len(frames)), plane_affine(frames[0]), None, meta)


def _keywords(stack_by: str | Sequence[str] | None) -> list[str]:
    from pydicom.datadict import tag_for_keyword

    wanted = [stack_by] if isinstance(stack_by, str) else list(stack_by or [])
    for keyword in wanted:
        if not isinstance(keyword, str) or tag_for_keyword(keyword) is None:
            raise ParameterError(
                f"expected a DICOM keyword as stack_by, such as 'EchoTime', received {keyword!r}"
            )
    return wanted


def _key(frame: Frame, keyword: str) -> Any:
    """What a frame says, in a form that can be compared with what others say."""
    if keyword == "DiffusionBValue":
        return _diffusion(frame)
    try:
        value = plain(frame.get(keyword))
    except Exception:
        return None
    return tuple(value) if isinstance(value, list) else value


def _diffusion(frame: Frame) -> tuple[Any, tuple[float, ...]]:
    """The b-value, and the direction where there is one: the standard's, or Siemens's own."""
    found = numbers(frame, "DiffusionBValue", 1)
    if found is not None:
        return found[0], tuple(numbers(frame, DIRECTION) or ()) if found[0] else ()
    try:
        block = frame.file.dataset.private_block(*SIEMENS)
        value = float(block[0x0C].value)
        direction = block[0x0E].value if value and 0x0E in block else ()
        return value, tuple(float(entry) for entry in direction)
    except Exception:
        return None, ()


def _in_order(
    frames: Sequence[Frame], places: list[list[int]], wanted: list[str]
) -> tuple[list[list[int]], list[Any]]:
    names = ", ".join(wanted)
    keys = [tuple(_key(frame, keyword) for keyword in wanted) for frame in frames]
    try:
        ordered = [sorted(place, key=lambda index: keys[index]) for place in places]
    except TypeError:
        raise GeometryError(
            f"expected {names} in every image of the series, received some without"
        ) from None
    sizes = {len(place) for place in ordered}
    if len(sizes) > 1:
        raise GeometryError(
            f"expected as many images at each position, received {min(sizes)} to {max(sizes)}; "
            "the series is incomplete"
        )
    if any(len({keys[i] for i in place}) < len(place) for place in ordered):
        raise GeometryError(
            f"expected {names} to part the images of each position, received the same value "
            f"several times; {_repeated(frames, places)}"
        )
    first = [keys[index] for index in ordered[0]]
    ranked = all(PARTERS.get(keyword, ("t", False))[1] for keyword in wanted)
    if not ranked and any([keys[i] for i in place] != first for place in ordered):
        raise GeometryError(
            f"expected the same {names} at each position, received others at some; the series is "
            "incomplete"
        )
    return ordered, [key[0] if len(wanted) == 1 else key for key in first]


def _repeated(frames: Sequence[Frame], places: list[list[int]]) -> str:
    """Say that positions are repeated, and what can part them."""
    most = max(map(len, places))
    candidates = [
        keyword
        for keyword in PARTERS
        if all(len({_key(frames[i], keyword) for i in place}) == len(place) for place in places)
    ]
    advice = (
        f"say stack_by= one of {', '.join(candidates)}"
        if candidates
        else "nothing in the headers parts them: move all but one out of the folder"
    )
    return (
        f"expected one slice a position, received repeated positions (up to {most} images at one): "
        f"the series holds several phases, echoes or copies; {advice}"
    )


def _stack_meta(
    frames: Sequence[Frame], first: NDArray[np.intp], wanted: list[str], keys: list[Any], axis: str
) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    if wanted:
        meta["stack"] = {"by": wanted, "values": [_listed(key) for key in keys]}
    if axis == "t":
        step = _step(wanted, keys)
        if step is None and (said := numbers(frames[0], "TemporalResolution", 1)):
            step = said[0] / 1000
        if (
            step is None
            and (said := numbers(frames[0], "RepetitionTime", 1))
            and wanted[:1] == ["TemporalPositionIdentifier"]
        ):
            step = said[0] / 1000
        if step:
            meta["time_step"] = step
    if wanted[:1] == ["DiffusionBValue"] and len(wanted) == 1:
        meta["bvals"] = [key[0] or 0 for key in keys]
        # Patient directions, LPS+ to RAS+.
        meta["bvecs"] = [[-v[0], -v[1], v[2]] if v else [0.0, 0.0, 0.0] for _, v in keys]
    return meta


def _step(wanted: list[str], keys: list[Any]) -> float | None:
    unit = SECONDS.get(wanted[0]) if wanted else 1.0
    if unit is None or len(keys) < 2:
        return None
    steps = np.diff(np.array(keys, np.float64)) * unit
    return float(steps.mean()) if (steps > 0).all() else None


def _listed(key: Any) -> Any:
    return [_listed(entry) for entry in key] if isinstance(key, tuple) else key

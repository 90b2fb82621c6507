"""Operations on images and labels: reading, grouping, writing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np

import ecvl
from deephealth.errors import DeepHealthError
from deephealth.operations.catalogue import operation
from deephealth.operations.kinds import Groups, Labels, Source, Volume
from deephealth.operations.ports import Writes

Member = Annotated[str, "a file or folder inside the source; empty for the source itself"]


@operation("read_image", help="read a volume: a DICOM series or a NIfTI file")
def read_image(
    source: Source,
    *,
    member: Member = "",
    series: Annotated[
        str | None, "which DICOM series, where there are several: its number or the end of its UID"
    ] = None,
) -> Volume:
    """The volume with its geometry, values in the units of the file (HU for CT)."""
    options: dict[str, Any] = {}
    if series is not None:
        options["series"] = int(series) if series.isdecimal() and len(series) < 4 else series
    return ecvl.read(source.member(member), kind="image", lazy=False, dimensions=3, **options)


@operation("read_labels", help="read a volume of label numbers from a NIfTI file")
def read_labels(source: Source, *, member: Member = "") -> Labels:
    """The labels with their geometry; every value must be a whole number."""
    return ecvl.read(source.member(member), kind="labels", dimensions=3)


@operation("group_labels", help="gather label numbers into named groups")
def group_labels(labels: Labels, groups: Groups) -> Labels:
    """Labels 1, 2, ... in the order of the groups; what is in no group becomes background, 0.

    >>> labels = ecvl.Image(np.array([[[5, 7, 9]]], np.uint8), "zyx", kind="labels")
    >>> np.asarray(group_labels(labels, {"liver": [5], "bones": [9, 8]})).tolist()
    [[[1, 0, 2]]]
    """
    array = np.asarray(labels)
    if array.min() < 0:
        raise DeepHealthError(f"received the label {array.min()}; expected labels of at least 0")
    highest = max([int(array.max()), *(number for group in groups.values() for number in group)])
    if len(groups) > 255 or highest > 1_000_000:
        raise DeepHealthError(f"received {len(groups)} groups of labels up to {highest}; too many")
    table = np.zeros(highest + 1, np.uint8)
    for value, numbers in enumerate(groups.values(), start=1):
        table[numbers] = value
    names = {0: "background", **dict(enumerate(groups, start=1))}
    return labels.replace(array=table[array], label_names=names)


@operation("write_labels", help="write labels as a NIfTI file", cached=False)
def write_labels(
    labels: Labels, *, path: Annotated[Path, Writes(".nii.gz", ".nii"), "the file to write"]
) -> None:
    """Write the labels on their own grid, whole or not at all."""
    ecvl.NiftiWrite(path, labels)

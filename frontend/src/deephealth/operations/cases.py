"""Measuring a case: agreement by organ beside the rule's, with pictures of a few slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

import ecvl
from deephealth.errors import DeepHealthError
from deephealth.operations import rule as rules
from deephealth.operations.catalogue import operation
from deephealth.operations.kinds import CasePort, Labels, Rule, Slices, Steps, Volume
from deephealth.operations.ports import Range
from deephealth.report import Case, Picture

SOFT_TISSUE = (40.0, 400.0)


@operation("held_out_region", help="mark the held-out slices on the grid of the original volume")
def held_out_region(slices: Slices, volume: Volume) -> Labels:
    """Labels that are 1 on the held-out slices and 0 elsewhere, on the grid of `volume`."""
    marks = np.zeros(slices.volume.shape, np.uint8)
    marks[slices.held_out] = 1
    region = slices.labels.replace(array=marks, label_names={0: "elsewhere", 1: "held out"})
    return slices.steps.restore(region, like=volume)


@operation("measure_case", help="agreement of labels with reference labels, organ by organ")
def measure_case(
    volume: Volume,
    found: Labels,
    reference: Labels,
    rule: Rule,
    steps: Steps,
    region: Labels | None = None,
    *,
    name: Annotated[str, "what tables call the case"],
    title: Annotated[str, "what the report says it is"],
    pictures: Annotated[int, Range(0, 20), "how many slices the report shows"] = 3,
) -> CasePort:
    """Dice of the found labels, and of the rule's, with the reference on the volume's own grid.

    A reference on another grid takes the volume's by its nearest voxels. With a region only what
    lies in it counts. An organ that the reference does not show has no Dice.
    """
    if found.shape != volume.shape:
        raise DeepHealthError(
            f"the labels have the shape {found.shape}, the volume {volume.shape}; predict it anew"
        )
    names = dict(reference.label_names or {})
    organs = {number: organ for number, organ in sorted(names.items()) if number > 0}
    placed = ecvl.restore(reference, like=volume)
    truth, guess = np.asarray(placed), np.asarray(found)
    inside = None if region is None else np.asarray(region) > 0
    prepared = steps.apply(volume)
    dice: dict[str, dict[str, float | None]] = {"network": {}, "rule": {}}
    voxels: dict[str, dict[str, int]] = {"reference": {}, "network": {}}
    for number, organ in organs.items():
        real, seen = _counted(truth == number, inside), _counted(guess == number, inside)
        dice["network"][organ] = agreement(seen, real)
        voxels["reference"][organ] = int(real.sum())
        voxels["network"][organ] = int(seen.sum())
        if organ in rule:
            masked = _as_labels(prepared, rules.mask(prepared, rule[organ]))
            ruled = np.asarray(steps.restore(masked, like=volume)) > 0
            dice["rule"][organ] = agreement(_counted(ruled, inside), real)
    shown = tuple(_pictures(volume, found, placed, region, organs, pictures))
    return Case(name, title, dice, voxels, shown)


def agreement(found: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float | None:
    """Dice: twice the overlap over the sum of the sizes; None where the reference is empty.

    >>> agreement(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    size = int(reference.sum())
    if size == 0:
        return None
    return 2 * int((found & reference).sum()) / (int(found.sum()) + size)


def _counted(mask: NDArray[np.bool_], inside: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    return mask if inside is None else mask & inside


def _as_labels(like: ecvl.Image, mask: NDArray[np.bool_]) -> ecvl.Image:
    return ecvl.Image(mask.astype(np.uint8), like.axes, like.affine, kind="labels")


def _pictures(
    volume: ecvl.Image,
    found: ecvl.Image,
    reference: ecvl.Image,
    region: ecvl.Image | None,
    organs: Mapping[int, str],
    count: int,
) -> list[Picture]:
    """The most telling slice of each of `count` equal parts of the slices that count."""
    grey, seen, real = (
        np.asarray(ecvl.reorient(image, "LPS"))
        for image in (ecvl.window(volume, *SOFT_TISSUE), found, reference)
    )
    z, y, x = ecvl.reorient(found, "LPS").spacing
    candidates = np.arange(len(grey))
    if region is not None:
        marks = np.asarray(ecvl.reorient(region, "LPS")).any(axis=(1, 2))
        candidates = candidates[marks]
    pictures = []
    for part in np.array_split(candidates, count) if count else []:
        if part.size == 0:
            continue
        present = [[int((real[place] == number).sum()) for number in organs] for place in part]
        scores = [(sum(size > 0 for size in sizes), sum(sizes)) for sizes in present]
        place = int(part[max(range(len(part)), key=lambda index: scores[index])])
        frame = _frame((grey[place] > 0) | (seen[place] > 0) | (real[place] > 0))
        pictures.append(
            Picture(
                np.round(grey[place][frame] * 255).astype(np.uint8),
                seen[place][frame].astype(np.uint8),
                real[place][frame].astype(np.uint8),
                y / x,
                f"slice {place + 1} of {len(grey)}, counted from below, {z:g} mm apart",
            )
        )
    return pictures


def _frame(shown: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The rows and columns in which anything is to be seen."""
    spans = []
    for axis in (1, 0):
        places = np.flatnonzero(shown.any(axis=axis))
        spans.append(slice(places[0], places[-1] + 1) if len(places) else slice(None))
    return spans[0], spans[1]

"""Operations that make a volume ready for a network of slices."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np

import ecvl
from deephealth.errors import DeepHealthError
from deephealth.operations.catalogue import operation
from deephealth.operations.kinds import Labels, Slices, SliceSet, Split, Steps, Volume
from deephealth.operations.ports import Range
from ecvl.dataset import slices as as_slices
from ecvl.steps import KeepBody, PadToMultiple, Reorient, Resample


class Prepared(NamedTuple):
    """What `preprocess` gives."""

    volume: Volume
    labels: Labels
    steps: Steps


@operation("preprocess", help="turn, resample and pad a volume and its labels")
def preprocess(
    volume: Volume,
    labels: Labels,
    *,
    orientation: Annotated[str, "where voxel x, y, z point to"] = "RAS",
    spacing: Annotated[tuple[float, float, float], "of z, y, x in mm"] = (3.0, 3.0, 3.0),
    multiple: Annotated[int, Range(1, 1024), "pad y and x to a multiple of this many voxels"] = 16,
    body: Annotated[bool, "make air of the table and all else that is no patient (CT)"] = False,
) -> Prepared:
    """The volume and labels on the model's grid, and the steps that led there."""
    steps = ecvl.Steps(
        [
            Reorient(orientation),
            Resample(spacing=tuple(spacing)),
            *([KeepBody()] if body else []),
            PadToMultiple((1, multiple, multiple)),
        ]
    )
    placed = ecvl.restore(labels, like=volume)
    return Prepared(steps.apply(volume), steps.apply(placed), steps)


@operation("make_slices", help="divide a volume's slices into training and held-out blocks")
def make_slices(
    volume: Volume,
    labels: Labels,
    steps: Steps,
    split: Split,
    *,
    neighbours: Annotated[int, Range(0, 8), "slices to each side that a sample also sees"] = 1,
) -> Slices:
    """Slices along z; of every `every` blocks of `block` slices one is held out, `gap` slices
    beside it are used for neither."""
    if set(split) != {"block", "every", "gap"}:
        raise DeepHealthError(f"received the split {split}, expected block, every and gap")
    data = as_slices(volume, labels, neighbours=neighbours).split_blocks(**split)
    training, held_out = data.part("training"), data.part("test")
    if len(training) == 0 or len(held_out) == 0:
        raise DeepHealthError(
            f"{len(data)} slices are too few for blocks of {split['block']}, every "
            f"{split['every']}th held out; give a taller volume or smaller blocks"
        )
    return SliceSet(volume, labels, steps, neighbours, np.sort(training), np.sort(held_out))

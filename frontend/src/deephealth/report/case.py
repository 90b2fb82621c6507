"""What a report shows of one case: scores by organ and pictures of a few slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOT_CLINICAL = "Not for clinical use."


@dataclass(frozen=True)
class Picture:
    """One slice: grey values 0..255, found and reference labels (0 is background), one shape.

    Rows run from the front of the body to its back, columns from its right to its left. `aspect` is
    the height of a pixel over its width.

    >>> zeros = np.zeros((2, 2), np.uint8)
    >>> Picture(zeros, zeros, zeros, 1.0, "slice 1").caption
    'slice 1'
    """

    image: NDArray[np.uint8]
    found: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    aspect: float
    caption: str


@dataclass(frozen=True)
class Case:
    """The scores of a case and its pictures.

    `dice` holds Dice by method ("network", "rule") and organ, None where the reference shows no
    such organ; `voxels` holds counts by organ.

    >>> Case("A", "first patient", {"network": {"liver": 0.9}}).dice["network"]
    {'liver': 0.9}
    """

    name: str
    title: str
    dice: dict[str, dict[str, float | None]]
    voxels: dict[str, dict[str, int]] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()


def summary(
    cases: Sequence[Case],
    *,
    provenance: dict[str, Any],
    history: dict[str, list[float]],
    rule: dict[str, dict[str, float]],
    model: dict[str, Any],
    facts: dict[str, Any],
    version: str,
) -> dict[str, Any]:
    """The figures of a report as plain data; all but ``timings`` are the same for the same run.

    >>> figures = summary([], provenance={"reference": "an atlas"}, history={}, rule={}, model={},
    ...     facts={"parameters": {"seed": 1}, "seconds": {"train": 2.0}}, version="1")
    >>> figures["notice"][0], figures["timings"]["seconds"]
    ('Every score is the agreement (Dice) with an atlas.', {'train': 2.0})
    """
    reference = provenance.get("reference", "the reference labels")
    return {
        "schema": "deephealth/report/v1",
        "deephealth": version,
        "notice": [
            f"Every score is the agreement (Dice) with {reference}.",
            *([provenance["note"]] if provenance.get("note") else []),
            NOT_CLINICAL,
        ],
        "reference": reference,
        "document": facts.get("document", {}),
        "parameters": facts.get("parameters", {}),
        "data": provenance,
        "cases": [
            {"name": case.name, "title": case.title, "dice": case.dice, "voxels": case.voxels}
            for case in cases
        ],
        "rule": rule,
        "training": history,
        "model": model,
        "timings": {
            "note": "seconds of this run, which differ from run to run; reused steps take none",
            "seconds": {name: round(took, 3) for name, took in facts.get("seconds", {}).items()},
        },
    }

"""The card in a model file: what must be known to use it as it was trained.

It travels in the ONNX file's ``metadata_props`` under the key ``deephealth`` as versioned JSON: the
names of the labels, the spatial steps that `ecvl.Steps.from_json` applies and restores, how many
neighbouring slices an input holds, and what the training images looked like. It never holds
anything about a person. `tests/frontend/operations/test_card.py` holds its form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import ecvl
from deephealth.errors import DeepHealthError

KEY = "deephealth"
SCHEMA = "deephealth/model/v1"
PERCENTILES = (1, 25, 50, 75, 99)


@dataclass(frozen=True)
class Likeness:
    """What images look like: modality, percentiles of intensity, and extents in mm after the steps.

    `field_of_view` and `spacing` are in the order z, y, x.

    >>> volume = ecvl.Image(np.zeros((2, 4, 5), np.int16), "zyx")
    >>> likeness(volume, "CT").field_of_view
    (2.0, 4.0, 5.0)
    """

    modality: str
    intensity: dict[str, float]
    field_of_view: tuple[float, float, float]
    spacing: tuple[float, float, float]


@dataclass(frozen=True)
class Card:
    """All that a model file says about its use.

    >>> Card({"1": "liver"}, [], 1, Likeness("CT", {}, (1, 1, 1), (1, 1, 1)), "an atlas").neighbours
    1
    """

    labels: dict[str, str]
    steps: Any
    neighbours: int
    training: Likeness
    reference: str

    def to_metadata(self) -> dict[str, str]:
        """The card as the metadata of an ONNX file."""
        body = {"schema": SCHEMA, **asdict(self), "notice": "Not for clinical use."}
        return {KEY: json.dumps(body, sort_keys=True)}


def read(metadata: Mapping[str, str]) -> Card:
    """The card in the metadata of an ONNX file.

    >>> read({})
    Traceback (most recent call last):
    deephealth.errors.DeepHealthError: the model has no preprocessing of deephealth in it; ...
    """
    text = metadata.get(KEY)
    if text is None:
        raise DeepHealthError(
            "the model has no preprocessing of deephealth in it; expected a model.onnx that the "
            "demo or a training pipeline wrote"
        )
    try:
        body = json.loads(text)
        version = body.get("schema")
        if version == SCHEMA:
            one = body["training"]
            training = Likeness(
                str(one["modality"]),
                {str(name): float(value) for name, value in one["intensity"].items()},
                _three(one["field_of_view"]),
                _three(one["spacing"]),
            )
            labels = {str(int(number)): str(name) for number, name in body["labels"].items()}
            return Card(
                labels, body["steps"], int(body["neighbours"]), training, str(body["reference"])
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DeepHealthError(
            f"the model's preprocessing cannot be read ({error}); export the model again"
        ) from error
    raise DeepHealthError(f"the model's preprocessing is {version!r}; expected {SCHEMA}")


def likeness(volume: ecvl.Image, modality: str) -> Likeness:
    """What a volume looks like.

    >>> volume = ecvl.Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), "zyx")
    >>> likeness(volume, "CT").intensity["50"]
    3.5
    """
    found = np.percentile(np.asarray(volume), PERCENTILES)
    return Likeness(
        modality,
        {str(name): round(float(value), 3) for name, value in zip(PERCENTILES, found, strict=True)},
        _three([size * step for size, step in zip(volume.shape, volume.spacing, strict=True)]),
        _three(volume.spacing),
    )


def differences(training: Likeness, volume: ecvl.Image) -> list[str]:
    """What about a volume does not look like the training images, a line each.

    >>> volume = ecvl.Image(np.full((2, 4, 5), 3, np.int16), "zyx")
    >>> differences(likeness(volume, "CT"), volume)
    []
    """
    modality = str((volume.meta.get("common") or {}).get("Modality") or training.modality)
    given = likeness(volume, modality)
    lines = []
    if given.modality != training.modality:
        lines.append(f"the image is {given.modality}, the model was trained on {training.modality}")
    low, high = training.intensity["1"], training.intensity["99"]
    room = 0.5 * (high - low)
    if any(abs(given.intensity[name] - training.intensity[name]) > room for name in ("1", "99")):
        lines.append(
            f"the image's intensities lie from {given.intensity['1']:g} to "
            f"{given.intensity['99']:g} (1st to 99th percentile), the training images' from "
            f"{low:g} to {high:g}; check the units (HU for CT)"
        )
    if any(
        not 0.5 <= one / trained <= 2.0
        for one, trained in zip(given.field_of_view[1:], training.field_of_view[1:], strict=True)
    ):
        lines.append(
            f"the image shows {_area(given)}, the training images showed {_area(training)}; "
            "parts of the body may be missing or of another size"
        )
    coarsest, trained = max(given.spacing), max(training.spacing)
    if coarsest > 2 * trained:
        lines.append(f"the image's voxels are {coarsest:g} mm apart, the training's {trained:g} mm")
    return lines


def _area(one: Likeness) -> str:
    _, height, width = one.field_of_view
    return f"{width:.0f} x {height:.0f} mm of a slice"


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third

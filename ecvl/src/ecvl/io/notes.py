"""What a picture's own fields cannot hold, as JSON in a comment of it.

PNG and TIFF have a place for text, so a picture written here comes back with its axes, affine,
kind, label names and time step. The note counts only while the sizes are those it was written for.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import checked_affine
from ecvl.errors import GeometryError
from ecvl.image import Image, Kind

GREATEST_NOTE = 1 << 20
# What programs write that know nothing of the size of a pixel: dots an inch of a screen.
SCREEN_RESOLUTIONS = (72.0, 96.0)
MILLIMETRES_PER_INCH = 25.4


@dataclass(frozen=True, eq=False)
class Note:
    """What the note of a picture says.

    Attributes:
        axes, affine, kind, label_names: as of `ecvl.Image`.
        shape: sizes in the order of `axes`.
        time_step: seconds, or `None`.
    """

    axes: str
    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    kind: Kind
    label_names: dict[int, str] | None
    time_step: float | None


def written(image: Image) -> str | None:
    """Return the note for an image, or `None` where it needs none.

    Example:
        >>> written(Image([[1]], "yx")) is None
        True
    """
    plain = (
        image.axes in ("yx", "yxc")
        and image.kind == "image"
        and np.array_equal(image.affine, np.eye(4))
    )
    if plain:
        return None
    note: dict[str, Any] = {
        "axes": image.axes,
        "sizes": image.shape,
        "affine": image.affine[:3].tolist(),
        "kind": image.kind,
    }
    if image.label_names:
        note["label_names"] = image.label_names
    if image.time_step is not None:
        note["time_step"] = image.time_step
    return json.dumps({"ecvl": note})


def noted(text: Any) -> Note | None:
    """Return what a note says, or `None` for any other text.

    Example:
        >>> noted(written(Image([[1]], "yx", kind="labels"))).kind
        'labels'
        >>> noted("a picture of a cat") is None
        True
    """
    if not isinstance(text, str) or not text.startswith('{"ecvl"') or len(text) > GREATEST_NOTE:
        return None
    try:
        found = json.loads(text)["ecvl"]
        affine = checked_affine([*found["affine"], [0, 0, 0, 1]])
        kind, axes = found["kind"], str(found["axes"])
        shape = tuple(int(size) for size in found["sizes"])
        names = found.get("label_names")
        names = {int(key): str(name) for key, name in names.items()} if names else None
        step = found.get("time_step")
        step = float(step) if step is not None else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, GeometryError):
        return None
    if kind not in ("image", "labels") or (step is not None and not 0 < step < math.inf):
        return None
    return Note(axes, shape, affine, kind, names if kind == "labels" else None, step)


def plane(spacing: Sequence[float | None]) -> NDArray[np.float64]:
    """Return the affine of a picture of which only the spacing (y, x; mm) is known, or not.

    A resolution of 72 or 96 dots an inch, which says nothing, and one beyond reason count as
    unknown; unknown is 1.

    Example:
        >>> plane((0.5, 0.25))[:2, :2].tolist(), float(plane((25.4 / 72,) * 2)[0, 0])
        ([[0.25, 0.0], [0.0, 0.5]], 1.0)
    """
    affine = np.eye(4)
    known = [length for length in spacing if length is not None and 1e-7 < length < 1e4]
    if len(known) == 2:
        dots = [MILLIMETRES_PER_INCH / length for length in known]
        if not any(all(abs(d - s) < 0.02 for d in dots) for s in SCREEN_RESOLUTIONS):
            affine[1, 1], affine[0, 0] = known
    return affine

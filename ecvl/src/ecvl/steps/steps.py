"""The steps that travel inside a model file: from any image to the model's grid, and back.

All are spatial but `KeepBody`, which needs the whole volume and so cannot be a node of the model.

* JSON with a version, strictly checked: `Steps.from_json(steps.to_json()) == steps`.
* A restored prediction stands on the exact grid (shape and affine) of the original file.
* How a volume was stored (RAS, LAS, PIR, ...) does not matter to the last bit: turning to the
  model's orientation copies values, and all that follows works on numbers that no longer know of
  it.

Held by `tests/ecvl/test_steps.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ecvl.affines import Affine
from ecvl.errors import GeometryError, KindError, ParameterError
from ecvl.grids import Change, recount_of
from ecvl.image import Image, require_kind
from ecvl.process.pull import Fill, checked_fill, pull
from ecvl.sample import Sample
from ecvl.serial import from_entry, to_entry
from ecvl.steps.single import STEPS, Step

VERSION = 1


@dataclass(frozen=True)
class Steps:
    """A list of steps with a way back.

    Args:
        steps: any of `Reorient`, `Resample`, `Crop`, `Pad`, `PadToMultiple`, `KeepBody`, in order.

    Example:
        >>> from ecvl.steps import PadToMultiple, Reorient, Resample
        >>> steps = Steps([Reorient("RAS"), Resample(spacing=(1, 2, 2)), PadToMultiple((1, 4, 4))])
        >>> scan = Image(np.zeros((3, 10, 10), np.int16), "zyx", np.diag([-1, 1, 1, 1]))
        >>> ready = steps.apply(scan)
        >>> ready.shape, ready.orientation
        ((3, 8, 8), 'RAS')
        >>> labels = ready.replace(array=np.ones(ready.shape, np.uint8), kind="labels")
        >>> steps.restore(labels, like=scan)
        Image(labels zyx 3×10×10 uint8, spacing 1×1×1 mm, LAS)
    """

    steps: tuple[Step, ...]

    def __init__(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if type(step) not in STEPS.values():
                raise ParameterError(
                    f"expected steps among {', '.join(sorted(STEPS))}, received "
                    f"{type(step).__name__}"
                )
        object.__setattr__(self, "steps", tuple(steps))

    def to_json(self) -> dict[str, Any]:
        """Return the steps as plain objects, lists and numbers, with a version.

        Example:
            >>> from ecvl.steps import Reorient
            >>> Steps([Reorient("RAS")]).to_json()
            {'version': 1, 'steps': [{'op': 'Reorient', 'orientation': 'RAS'}]}
        """
        return {"version": VERSION, "steps": [to_entry(step) for step in self.steps]}

    @classmethod
    def from_json(cls, document: Any) -> "Steps":
        """Return the steps that `to_json` gave.

        Raises:
            ParameterError: the version, a step or a parameter is not known.

        Example:
            >>> Steps.from_json({"version": 1, "steps": [{"op": "PadToMultiple", "multiple": 8}]})
            Steps(steps=(PadToMultiple(multiple=8, fill=None),))
        """
        if not isinstance(document, Mapping) or document.keys() != {"version", "steps"}:
            raise ParameterError("expected steps as an object with 'version' and 'steps' only")
        if document["version"] != VERSION or isinstance(document["version"], bool):
            raise ParameterError(
                f"expected steps of version {VERSION}, received {document['version']!r}; use the "
                "version of ecvl that wrote them"
            )
        if not isinstance(document["steps"], Sequence) or isinstance(document["steps"], str):
            raise ParameterError("expected a list under 'steps'")
        return cls([from_entry(entry, STEPS, "step") for entry in document["steps"]])

    def apply(self, image: Image) -> Image:
        """Return an image or labels after all steps.

        Example:
            >>> Steps([]).apply(Image(np.zeros((2, 2)), "yx")).shape
            (2, 2)
        """
        require_kind(image, None, "Steps.apply")
        for step, change in zip(self.steps, self._changes(image), strict=True):
            image = pull(image, *change, step.filling)
            image = step.values(image) if image.kind == "image" else image
        return image

    def restore(
        self, prediction: Image | ArrayLike, like: Image | Sample, *, fill: Fill = None
    ) -> Image:
        """Put what was predicted on the steps' grid back on the grid of the original.

        Args:
            prediction: labels (nearest voxel) or scores (linear), on the grid that `apply` gives:
                an image, or an array of axes [c][z]yx (integers are labels, floats are scores). Its
                place follows from the steps, so an affine of its own is not looked at.
            like: the original image, before the steps.
            fill: for scores, beyond the prediction: a number, "edge", or `None` for the low end of
                the value range; labels are 0 there.

        Returns:
            The prediction with the spatial shape and the affine of `like`.

        Raises:
            GeometryError: the prediction's shape is not the one that the steps lead to.

        Example:
            >>> from ecvl.steps import Reorient
            >>> steps = Steps([Reorient("LAS")])
            >>> scan = Image(np.zeros((1, 3)), "yx")
            >>> np.asarray(steps.restore(np.array([[0, 1, 2]]), like=scan))
            array([[2, 1, 0]])
        """
        original = _original(like)
        changes = self._changes(original)
        predicted = _predicted(prediction, original, changes)
        back, lead = _way_back(changes)
        middle = changes[lead - 1].grid if lead else original.grid
        predicted = pull(predicted, middle, back, checked_fill(fill))
        for index in reversed(range(lead)):
            grid = changes[index - 1].grid if index else original.grid
            predicted = pull(predicted, grid, _inverse(changes[index].matrix), checked_fill(fill))
        return predicted.replace(affine=original.affine)

    def restore_scores(
        self,
        scores: Image | ArrayLike,
        like: Image | Sample,
        *,
        label_names: Mapping[int, str] | None = None,
    ) -> Image:
        """Turn the scores of classes into labels on the grid of the original.

        Each class is interpolated linearly and compared with the best so far, so memory holds two
        volumes of the original's size and not one a class. Ties go to the lower class.

        Args:
            scores: floats with axes czyx or cyx on the grid that `apply` gives, class 0 first; any
                monotonous scale of probability that may be interpolated (logits, softmax).
            like: the original image, before the steps.
            label_names: goes with the result.

        Returns:
            Labels (uint8, beyond 256 classes uint16) with the shape and affine of `like`; 0 where
            the scores do not reach.

        Raises:
            GeometryError: the scores' shape is not the one that the steps lead to.

        Example:
            >>> from ecvl.steps import Resample
            >>> scan = Image(np.zeros((1, 4)), "yx")
            >>> steps = Steps([Resample(shape=(1, 2))])
            >>> np.asarray(steps.restore_scores(np.array([[[1.0, 0]], [[0, 1.0]]]), like=scan))
            array([[0, 0, 1, 1]], dtype=uint8)
        """
        original = _original(like)
        changes = self._changes(original)
        predicted = _predicted(scores, original, changes)
        if predicted.axes[0] != "c" or predicted.dtype.kind != "f":
            raise KindError(
                f"expected float scores with axes c{original.spatial_axes}, received "
                f"{predicted.axes} of {predicted.dtype}"
            )
        back, lead = _way_back(changes)
        middle = changes[lead - 1].grid if lead else original.grid
        classes = len(predicted.array)
        shape = middle.shape[3 - len(original.spatial_axes) :]
        best = np.full(shape, -np.inf, predicted.dtype)
        labels = np.zeros(shape, np.uint8 if classes <= 256 else np.uint16)
        for index in range(classes):
            score = Image(predicted.array[index], original.spatial_axes, predicted.affine)
            there = pull(score, middle, back, -np.inf).array
            better = there > best
            np.copyto(best, there, where=better)
            labels[better] = index
        found = Image(labels, original.spatial_axes, middle.affine, "labels")
        exact = Steps(self.steps[:lead])
        return exact.restore(found, original).replace(label_names=label_names)

    def _changes(self, image: Image) -> list[Change]:
        changes: list[Change] = []
        grid = image.grid
        for step in self.steps:
            changes.append(step.change(grid, image.spatial_axes))
            grid = changes[-1].grid
        return changes


def _way_back(changes: list[Change]) -> tuple[Affine, int]:
    """Return how many leading changes only move whole voxels, and the rest's inverse as one matrix.

    Parting them is what makes the result independent of how a volume was stored.
    """
    lead = 0
    for change in changes:
        if recount_of(change.matrix, change.grid.shape) is None:
            break
        lead += 1
    whole = np.eye(4)
    for change in changes[lead:]:
        whole = whole @ change.matrix
    return _inverse(whole), lead


def _inverse(matrix: Affine) -> Affine:
    inverse = np.linalg.inv(matrix).astype(np.float64)
    inverse[3] = 0, 0, 0, 1
    return inverse


def _original(like: Image | Sample) -> Image:
    original = like.image if isinstance(like, Sample) else like
    require_kind(original, None, "Steps.restore")
    return original


def _predicted(prediction: Any, original: Image, changes: list[Change]) -> Image:
    grid = changes[-1].grid if changes else original.grid
    if not isinstance(prediction, Image):
        array = np.asarray(prediction)
        axes = original.spatial_axes
        axes = "c" + axes if array.ndim == len(axes) + 1 else axes
        kind: Any = "labels" if array.dtype.kind in "iub" else "image"
        prediction = Image(array, axes, kind=kind)
    wanted = grid.shape[3 - len(original.spatial_axes) :]
    if (
        prediction.spatial_shape != wanted
        or prediction.axes.replace("c", "") != original.spatial_axes
    ):
        raise GeometryError(
            f"expected a prediction of shape {wanted} on {original.spatial_axes}, as the steps "
            f"give for this image, received {prediction.axes} {prediction.shape}"
        )
    placed: Image = prediction.replace(affine=grid.affine)
    return placed

"""Operations on networks: opening a model file and finding labels with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

import ecvl
import eddl
from deephealth.errors import DeepHealthError
from deephealth.operations import card as cards
from deephealth.operations.catalogue import operation
from deephealth.operations.kinds import Labels, Model, ModelFile, Volume
from deephealth.operations.ports import Context, Device, InputPath, Range


@operation("open_model", help="open a model file", cached=False)
def open_model(*, path: Annotated[InputPath, "an ONNX file with its preprocessing in it"]) -> Model:
    """The model, once it is known that its preprocessing can be read."""
    if not Path(path).is_file():
        raise DeepHealthError(f"{path} does not exist; check the name")
    cards.read(eddl.load(path).metadata)
    return ModelFile(Path(path))


@operation("predict_labels", help="find in a volume what a model was trained to find")
def predict_labels(
    model: Model,
    volume: Volume,
    *,
    batch: Annotated[int, Range(1, 1024), "slices that are computed at once"] = 8,
    device: Device = "cpu",
    context: Context,
) -> Labels:
    """Labels on the volume's own grid; warns when it does not look like the training images."""
    network = eddl.load(model.path)
    card = cards.read(network.metadata)
    steps = ecvl.Steps.from_json(card.steps)
    prepared = steps.apply(volume)
    for line in cards.differences(card.training, prepared):
        context.warn(f"{line}; do not trust the labels")
    stack = np.asarray(prepared)
    scores = np.empty((len(card.labels) + 1, *stack.shape), np.float32)
    with context.progress(len(stack), "finding organs", "slice") as advance:
        for start in range(0, len(stack), batch):
            positions = np.arange(start, min(start + batch, len(stack)))
            found = network.predict(with_neighbours(stack, positions, card.neighbours))
            if found.shape[1] != len(scores):
                raise DeepHealthError(
                    f"the model has {found.shape[1]} outputs for {len(card.labels)} labels and "
                    "background; export it again"
                )
            scores[:, positions] = np.moveaxis(found, 1, 0)
            advance(len(positions))
    names = {0: "background", **{int(number): name for number, name in card.labels.items()}}
    return steps.restore_scores(scores, like=volume, label_names=names)


def with_neighbours(
    stack: NDArray[np.generic], positions: NDArray[np.int64], neighbours: int
) -> NDArray[np.float32]:
    """Slices at `positions` with their neighbours as channels; at the ends the last one repeats.

    >>> with_neighbours(np.arange(3).reshape(3, 1, 1), np.array([0, 1]), 1)[:, :, 0, 0].tolist()
    [[0.0, 0.0, 1.0], [0.0, 1.0, 2.0]]
    """
    around = positions[:, None] + np.arange(-neighbours, neighbours + 1)
    inputs: NDArray[np.float32] = stack[np.clip(around, 0, len(stack) - 1)].astype(np.float32)
    return inputs

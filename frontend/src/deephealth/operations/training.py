"""Training a U-Net on slices, and the model file that comes out of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

import ecvl
import eddl
from deephealth.operations import card as cards
from deephealth.operations.catalogue import operation
from deephealth.operations.kinds import History, Model, ModelFile, Provenance, Slices, SliceSet
from deephealth.operations.ports import Context, Device, Range
from ecvl import augment
from ecvl.dataset import slices as as_slices


class Trained(NamedTuple):
    """What `train_unet` gives."""

    model: Model
    history: History


@operation("train_unet", help="train a U-Net that labels slices")
def train_unet(
    slices: Slices,
    provenance: Provenance,
    *,
    epochs: Annotated[int, Range(1, 100_000), "passes over the training slices"] = 32,
    batch: Annotated[int, Range(1, 1024), "slices a step"] = 4,
    filters: Annotated[int, Range(1, 512), "filters of the first level"] = 12,
    depth: Annotated[int, Range(1, 8), "levels, each half as fine as the one above"] = 4,
    rate: Annotated[
        float, Range(0, 1), "the highest learning rate of the one-cycle schedule"
    ] = 3e-3,
    warm_up: Annotated[
        float, Range(0, 0.9), "the part of the training in which that rate is reached"
    ] = 0.3,
    balance: Annotated[
        bool, "an epoch shows a slice once for each organ in it, each time augmented anew"
    ] = False,
    level: Annotated[float, "the middle of the intensity window"] = 40.0,
    width: Annotated[float, Range(1e-6), "the width of the intensity window"] = 400.0,
    augmentation: Annotated[
        list[dict[str, Any]], "augmentations of the training slices, one after another"
    ] = [],  # noqa: B006
    modality: Annotated[str, "the modality of the images, as DICOM calls it"] = "CT",
    device: Device = "cpu",
    seed: Annotated[int, Range(0), "the seed of weights, order and augmentation"] = 0,
    context: Context,
) -> Trained:
    """A model of raw intensities whose file carries all its preprocessing, and its history.

    The intensity window and the softmax are nodes of its graph; the spatial steps, the names of the
    labels and what the training images look like are in its metadata. An interrupted training goes
    on from its last checkpoint, bit for bit.
    """
    folder = context.folder or Path(tempfile.mkdtemp(prefix="deephealth-"))
    turns = augment.from_json({"op": "Sequential", "steps": augmentation}) if augmentation else None
    loader = ecvl.dataset.Loader(
        training_slices(slices, ecvl.window(slices.volume, level=level, width=width), balance),
        "training",
        batch_size=batch,
        augment=turns,
        workers=1,
        seed=seed,
        shuffle=True,
    )
    channels = 2 * slices.neighbours + 1
    x = eddl.Input((channels, None, None))
    classes = len(slices.organs) + 1
    logits = eddl.zoo.unet(x, classes=classes, filters=filters, depth=depth)
    network = eddl.Model(x, logits, seed=seed)
    network.build(
        optimizer=eddl.Adam(eddl.OneCycle(peak=rate, steps=epochs * len(loader), warm_up=warm_up)),
        loss="dice_cross_entropy",
        metrics=["dice"],
        device=device,
    )
    history = network.fit(
        loader, epochs=epochs, checkpoint=folder / "checkpoint.safetensors", resume=True
    )
    raw = eddl.Input((channels, None, None), name="intensities")
    windowed = eddl.layers.window(raw, level=level, width=width)
    found = network(windowed)
    assert not isinstance(found, tuple)
    whole = eddl.Model(raw, eddl.layers.softmax(found))
    path = folder / "model.onnx"
    whole.save(path, metadata=_card(slices, provenance, modality).to_metadata())
    figures = {name: [float(value) for value in line] for name, line in history.items()}
    return Trained(ModelFile(path), figures)


def training_slices(slices: SliceSet, windowed: ecvl.Image, balance: bool) -> ecvl.Dataset:
    """The slices of a windowed volume, as often in the split "training" as an epoch shows them.

    With `balance` that is once for each organ in it, and once where there is none: organs that few
    slices show count for more. Each time is a sample of its own, so each is augmented on its own.

    >>> names = {0: "background", 1: "liver", 2: "spleen"}
    >>> array = np.array([[[0, 0]], [[1, 2]], [[0, 1]]], np.uint8)
    >>> labels = ecvl.Image(array, "zyx", kind="labels", label_names=names)
    >>> scan = ecvl.Image(np.zeros((3, 1, 2), np.float32), "zyx")
    >>> some = SliceSet(scan, labels, ecvl.Steps([]), 0, np.array([0, 1]), np.array([2]))
    >>> training_slices(some, scan, balance=True)
    Dataset(6 samples: training 3)
    """
    planes = np.asarray(slices.labels)[slices.training]
    shown = np.ones(len(planes), np.int64)
    if balance:
        shown = np.array([max(1, np.unique(plane[plane > 0]).size) for plane in planes])
    data = ecvl.Dataset([])
    for time in range(int(shown.max())):
        again = as_slices(windowed, slices.labels, slices.neighbours, id=f"time {time}")
        data += again.with_splits({"training": slices.training[shown > time]})
    return data


def _card(slices: SliceSet, provenance: dict[str, Any], modality: str) -> cards.Card:
    return cards.Card(
        labels={str(number): name for number, name in enumerate(slices.organs, start=1)},
        steps=slices.steps.to_json(),
        neighbours=slices.neighbours,
        training=cards.likeness(slices.volume, modality),
        reference=str(provenance.get("reference", "the reference labels")),
    )

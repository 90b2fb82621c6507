"""Carry out augmentations, and remember what was done."""

from typing import Any

import numpy as np

from ecvl.affines import ORTHOGONAL_TOLERANCE, non_orthogonality
from ecvl.augment.base import Augmentation, Operation, generator
from ecvl.augment.chain import Chain
from ecvl.augment.intensity import Intensity
from ecvl.augment.spatial import Spatial
from ecvl.errors import GeometryError, KindError
from ecvl.image import Image
from ecvl.sample import Sample, require_one_grid


def run(augmentation: Augmentation, given: Any, seed: int, epoch: int, number: int) -> Any:
    """Return a sample, or a tuple of images, after all operations of an augmentation.

    Example:
        >>> from ecvl.augment import Flip
        >>> run(Flip(p=1), (Image(np.array([[1, 2]]), "yx"),), 1, 0, 0)
        (Image(image yx 1×2 int64, spacing 1×1 mm, LAS),)
    """
    if isinstance(given, Sample):
        images = [*given.images.values(), *given.labels.values()]
    else:
        images = list(given)
        require_one_grid(images)
    # The range is settled once: what is filled in or rounded on the way must not move it.
    chain = Chain(
        [
            image.with_array(image.array, value_range=image.value_range)
            if image.kind == "image" and image.dtype != np.uint8
            else image
            for image in images
        ]
    )
    history: list[dict[str, Any]] = []

    def streams(stream: int) -> np.random.Generator:
        return generator(seed, epoch, number, stream)

    for stream, operation in augmentation.plan(0, streams):
        rng = streams(stream)
        if rng.random() >= operation.chance:
            continue
        record: dict[str, Any] | None = None
        if isinstance(operation, Spatial):
            if operation.needs_right_angles:
                _require_right_angles(operation, images[0])
            record = chain.add(operation, rng)
            if not augmentation.fuses:
                chain.carry_out()
        elif isinstance(operation, Intensity):
            chain.carry_out()
            record = _change_intensity(operation, chain.images, rng)
        if record is not None:
            history.append({"op": type(operation).__name__, **record})
    chain.carry_out()
    if not isinstance(given, Sample):
        return tuple(chain.images)
    return _sample(given, chain, history)


def _sample(given: Sample, chain: Chain, history: list[dict[str, Any]]) -> Sample:
    count = len(given.images)
    return given.changed(
        dict(zip(given.images, chain.images[:count], strict=True)),
        dict(zip(given.labels, chain.images[count:], strict=True)),
        (*given.history, *history),
        bends=chain.bends,
    )


def _require_right_angles(operation: Operation, image: Image) -> None:
    if non_orthogonality(image.affine) > ORTHOGONAL_TOLERANCE:
        raise GeometryError(
            f"{type(operation).__name__} needs voxel axes at right angles, received a sheared "
            "affine (a tilted series); put it on a straight grid with "
            "ecvl.resample(image, like=...) first"
        )


def _change_intensity(
    operation: Intensity, images: list[Image], rng: np.random.Generator
) -> dict[str, Any]:
    pictures = [index for index, image in enumerate(images) if image.kind == "image"]
    if not pictures:
        raise KindError(
            f"{type(operation).__name__} changes intensities and takes images, received labels only"
        )
    channels = [
        images[index].shape[images[index].axes.index("c")]
        for index in pictures
        if "c" in images[index].axes
    ]
    amounts = operation.draw(rng, max(channels, default=1))
    for index in pictures:
        low, high = images[index].value_range
        if low < high:
            images[index] = operation.apply(images[index], amounts, rng)
    return amounts

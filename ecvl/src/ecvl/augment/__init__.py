"""Augmentations: small frozen objects with ranges, on images, labels and samples."""

from ecvl.augment.base import Augmentation
from ecvl.augment.intensity import (
    Add,
    AdditiveGaussianNoise,
    GammaContrast,
    GaussianBlur,
    Multiply,
)
from ecvl.augment.sequence import AUGMENTATIONS, Sequential, from_json
from ecvl.augment.spatial import Flip, Rotate, Scale, Translate

__all__ = [
    "AUGMENTATIONS",
    "Add",
    "AdditiveGaussianNoise",
    "Augmentation",
    "Flip",
    "GammaContrast",
    "GaussianBlur",
    "Multiply",
    "Rotate",
    "Scale",
    "Sequential",
    "Translate",
    "from_json",
]

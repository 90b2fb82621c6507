"""Augmentations: small frozen objects with ranges, on images, labels and samples."""

from ecvl.augment.base import Augmentation
from ecvl.augment.blur import AverageBlur, GaussianBlur, MedianBlur
from ecvl.augment.curves import (
    Add,
    Brightness,
    Contrast,
    GammaContrast,
    HistogramEqualization,
    Invert,
    Multiply,
)
from ecvl.augment.dropout import (
    ChannelShuffle,
    CoarseDropout,
    Dropout,
    ImpulseNoise,
    Pepper,
    Salt,
    SaltAndPepper,
)
from ecvl.augment.noise import AdditiveGaussianNoise, AdditiveLaplaceNoise, AdditivePoissonNoise
from ecvl.augment.sequence import Sequential, from_json
from ecvl.augment.spatial import Flip, Rotate, Scale, Translate
from ecvl.augment.table import AUGMENTATIONS

__all__ = [
    "AUGMENTATIONS",
    "Add",
    "AdditiveGaussianNoise",
    "AdditiveLaplaceNoise",
    "AdditivePoissonNoise",
    "Augmentation",
    "AverageBlur",
    "Brightness",
    "ChannelShuffle",
    "CoarseDropout",
    "Contrast",
    "Dropout",
    "Flip",
    "GammaContrast",
    "GaussianBlur",
    "HistogramEqualization",
    "ImpulseNoise",
    "Invert",
    "MedianBlur",
    "Multiply",
    "Pepper",
    "Rotate",
    "Salt",
    "SaltAndPepper",
    "Scale",
    "Sequential",
    "Translate",
    "from_json",
]

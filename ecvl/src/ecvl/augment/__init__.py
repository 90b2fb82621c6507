"""Augmentations: small frozen objects with ranges, on images, labels and samples."""

from ecvl.augment.acquisition import BiasField, Ghosting, LowResolution, Motion, RicianNoise
from ecvl.augment.affine import Affine, Rotate, Scale, Shear, Translate
from ecvl.augment.base import Augmentation
from ecvl.augment.blur import AverageBlur, GaussianBlur, MedianBlur
from ecvl.augment.crops import CentreCrop, CropByLabel, RandomCrop
from ecvl.augment.curves import (
    Add,
    Brightness,
    Contrast,
    GammaContrast,
    Invert,
    Multiply,
)
from ecvl.augment.distortion import Elastic, GridDistortion, OpticalDistortion
from ecvl.augment.dropout import (
    ChannelShuffle,
    CoarseDropout,
    Dropout,
    ImpulseNoise,
    Pepper,
    Salt,
    SaltAndPepper,
)
from ecvl.augment.histogram import HistogramEqualization
from ecvl.augment.noise import AdditiveGaussianNoise, AdditiveLaplaceNoise, AdditivePoissonNoise
from ecvl.augment.sequence import OneOf, Sequential, SomeOf, from_json
from ecvl.augment.spatial import Flip, Mirror, Transpose
from ecvl.augment.table import AUGMENTATIONS
from ecvl.augment.text import from_text, to_text

__all__ = [
    "AUGMENTATIONS",
    "Add",
    "AdditiveGaussianNoise",
    "AdditiveLaplaceNoise",
    "AdditivePoissonNoise",
    "Affine",
    "Augmentation",
    "AverageBlur",
    "BiasField",
    "Brightness",
    "CentreCrop",
    "ChannelShuffle",
    "CoarseDropout",
    "Contrast",
    "CropByLabel",
    "Dropout",
    "Elastic",
    "Flip",
    "GammaContrast",
    "GaussianBlur",
    "Ghosting",
    "GridDistortion",
    "HistogramEqualization",
    "ImpulseNoise",
    "Invert",
    "LowResolution",
    "MedianBlur",
    "Mirror",
    "Motion",
    "Multiply",
    "OneOf",
    "OpticalDistortion",
    "Pepper",
    "RandomCrop",
    "RicianNoise",
    "Rotate",
    "Salt",
    "SaltAndPepper",
    "Scale",
    "Sequential",
    "Shear",
    "SomeOf",
    "Translate",
    "Transpose",
    "from_json",
    "from_text",
    "to_text",
]

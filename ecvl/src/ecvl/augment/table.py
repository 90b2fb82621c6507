"""All single augmentations by name: what documents may name, and what the contract tests cover."""

from ecvl.augment.base import Operation
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
from ecvl.augment.spatial import Flip, Rotate, Scale, Translate

AUGMENTATIONS: dict[str, type[Operation]] = {
    cls.__name__: cls
    for cls in (
        Add,
        AdditiveGaussianNoise,
        AdditiveLaplaceNoise,
        AdditivePoissonNoise,
        AverageBlur,
        Brightness,
        ChannelShuffle,
        CoarseDropout,
        Contrast,
        Dropout,
        Flip,
        GammaContrast,
        GaussianBlur,
        HistogramEqualization,
        ImpulseNoise,
        Invert,
        MedianBlur,
        Multiply,
        Pepper,
        Rotate,
        Salt,
        SaltAndPepper,
        Scale,
        Translate,
    )
}

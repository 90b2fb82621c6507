"""All single augmentations by name: what documents may name, and what the contract tests cover."""

from ecvl.augment.acquisition import BiasField, Ghosting, LowResolution, Motion, RicianNoise
from ecvl.augment.affine import Affine, Rotate, Scale, Shear, Translate
from ecvl.augment.base import Operation
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
from ecvl.augment.spatial import Flip, Mirror, Transpose

AUGMENTATIONS: dict[str, type[Operation]] = {
    cls.__name__: cls
    for cls in (
        Add,
        AdditiveGaussianNoise,
        AdditiveLaplaceNoise,
        AdditivePoissonNoise,
        Affine,
        AverageBlur,
        BiasField,
        Brightness,
        CentreCrop,
        ChannelShuffle,
        CoarseDropout,
        Contrast,
        CropByLabel,
        Dropout,
        Elastic,
        Flip,
        GammaContrast,
        GaussianBlur,
        Ghosting,
        GridDistortion,
        HistogramEqualization,
        ImpulseNoise,
        Invert,
        LowResolution,
        MedianBlur,
        Mirror,
        Motion,
        Multiply,
        OpticalDistortion,
        Pepper,
        RandomCrop,
        RicianNoise,
        Rotate,
        Salt,
        SaltAndPepper,
        Scale,
        Shear,
        Translate,
        Transpose,
    )
}

"""Processing: pure functions from image to image that keep the geometry true.

`FUNCTIONS` is the table of them all.
"""

from ecvl.process.arithmetic import (
    absolute,
    add,
    blend,
    divide,
    maximum,
    minimum,
    multiply,
    subtract,
)
from ecvl.process.contrast import clahe, equalise, gamma, invert, match_histogram, rescale
from ecvl.process.filters import (
    anisotropic,
    average,
    bilateral,
    gaussian,
    laplacian,
    linear_filter,
    median,
    separable_filter,
    sobel,
)
from ecvl.process.geometry import crop, pad, pad_to_multiple, reorient, resample, restore
from ecvl.process.intensity import normalise, window
from ecvl.process.morphology import (
    black_hat,
    closing,
    dilate,
    erode,
    hit_or_miss,
    morphological_gradient,
    opening,
    structuring_element,
    top_hat,
)
from ecvl.process.registry import FUNCTIONS
from ecvl.process.thresholds import multi_otsu_values, multi_threshold, threshold, threshold_value

__all__ = [
    "FUNCTIONS",
    "absolute",
    "add",
    "anisotropic",
    "average",
    "bilateral",
    "black_hat",
    "blend",
    "clahe",
    "closing",
    "crop",
    "dilate",
    "divide",
    "equalise",
    "erode",
    "gamma",
    "gaussian",
    "hit_or_miss",
    "invert",
    "laplacian",
    "linear_filter",
    "match_histogram",
    "maximum",
    "median",
    "minimum",
    "morphological_gradient",
    "multi_otsu_values",
    "multi_threshold",
    "multiply",
    "normalise",
    "opening",
    "pad",
    "pad_to_multiple",
    "reorient",
    "resample",
    "rescale",
    "restore",
    "separable_filter",
    "sobel",
    "structuring_element",
    "subtract",
    "threshold",
    "threshold_value",
    "top_hat",
    "window",
]

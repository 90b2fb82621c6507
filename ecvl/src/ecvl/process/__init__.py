"""Processing: pure functions from image to image that keep the geometry true.

`ecvl.process.registry.FUNCTIONS` is the table of them all.
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
from ecvl.process.bias import correct_bias
from ecvl.process.coco import coco_to_labels, labels_to_coco
from ecvl.process.colour import convert_colour
from ecvl.process.contrast import clahe, equalise, gamma, invert, match_histogram, rescale
from ecvl.process.derivatives import laplacian, sobel
from ecvl.process.distances import distance_map, integral, non_maximum_suppression
from ecvl.process.elements import structuring_element
from ecvl.process.filters import (
    anisotropic,
    average,
    bilateral,
    gaussian,
    linear_filter,
    median,
    separable_filter,
)
from ecvl.process.geometry import crop, pad, pad_to_multiple, reorient, resample, resize, restore
from ecvl.process.intensity import normalise, window
from ecvl.process.labels import components, contours, fill_holes, largest_component, remove_small
from ecvl.process.masks import body_mask, brain_mask, lung_mask
from ecvl.process.measurements import measure
from ecvl.process.morphology import (
    black_hat,
    closing,
    dilate,
    erode,
    hit_or_miss,
    morphological_gradient,
    opening,
    top_hat,
)
from ecvl.process.nyul import HistogramStandard
from ecvl.process.polygons import boxes_to_labels, labels_to_boxes, polygons_to_labels
from ecvl.process.registration import register
from ecvl.process.rle import labels_to_rle, rle_to_labels
from ecvl.process.stain import (
    StainStandard,
    combine_stains,
    normalise_stain,
    separate_stains,
    stain_vectors,
)
from ecvl.process.thresholds import multi_otsu_values, multi_threshold, threshold, threshold_value
from ecvl.process.transform import Transform, warp
from ecvl.process.turns import crop_or_pad, crop_to, flip, mirror, rearrange, rotate, transpose

__all__ = [
    "HistogramStandard",
    "StainStandard",
    "Transform",
    "absolute",
    "add",
    "anisotropic",
    "average",
    "bilateral",
    "black_hat",
    "blend",
    "body_mask",
    "boxes_to_labels",
    "brain_mask",
    "clahe",
    "closing",
    "coco_to_labels",
    "combine_stains",
    "components",
    "contours",
    "convert_colour",
    "correct_bias",
    "crop",
    "crop_or_pad",
    "crop_to",
    "dilate",
    "distance_map",
    "divide",
    "equalise",
    "erode",
    "fill_holes",
    "flip",
    "gamma",
    "gaussian",
    "hit_or_miss",
    "integral",
    "invert",
    "labels_to_boxes",
    "labels_to_coco",
    "labels_to_rle",
    "laplacian",
    "largest_component",
    "linear_filter",
    "lung_mask",
    "match_histogram",
    "maximum",
    "measure",
    "median",
    "minimum",
    "mirror",
    "morphological_gradient",
    "multi_otsu_values",
    "multi_threshold",
    "multiply",
    "non_maximum_suppression",
    "normalise",
    "normalise_stain",
    "opening",
    "pad",
    "pad_to_multiple",
    "polygons_to_labels",
    "rearrange",
    "register",
    "remove_small",
    "reorient",
    "resample",
    "rescale",
    "resize",
    "restore",
    "rle_to_labels",
    "rotate",
    "separable_filter",
    "separate_stains",
    "sobel",
    "stain_vectors",
    "structuring_element",
    "subtract",
    "threshold",
    "threshold_value",
    "top_hat",
    "transpose",
    "warp",
    "window",
]

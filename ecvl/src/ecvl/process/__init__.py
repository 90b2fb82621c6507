"""Processing: pure functions from image to image that keep the geometry true."""

from ecvl.process.geometry import crop, pad, pad_to_multiple, reorient, resample, restore
from ecvl.process.intensity import normalise, window

__all__ = [
    "crop",
    "normalise",
    "pad",
    "pad_to_multiple",
    "reorient",
    "resample",
    "restore",
    "window",
]

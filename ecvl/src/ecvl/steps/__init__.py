"""Spatial preprocessing as data: steps that a model file carries, with their way back."""

from ecvl.steps.single import Crop, KeepBody, Pad, PadToMultiple, Reorient, Resample, Step
from ecvl.steps.steps import Steps

__all__ = ["Crop", "KeepBody", "Pad", "PadToMultiple", "Reorient", "Resample", "Step", "Steps"]

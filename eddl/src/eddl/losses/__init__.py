"""Losses: functions `(prediction, target) -> scalar` of symbolic tensors.

A loss given by name takes logits; options are bound with `functools.partial`. A network or a value
that ends in the softmax or sigmoid that a loss implies is recognised, and the loss reaches beneath
it. A categorical target is class indices [N, space...] when its type is integral, and one-hot or
soft labels [N, C, space...] when floating.

A mean over positions ends in `average`, by which a batch that is shared out is weighed right; all
else is weighed by the number of samples. `target_check` gives the rule that labels must obey.
"""

from __future__ import annotations

from eddl.losses.adversarial import (
    ADVERSARIAL,
    critic_loss,
    generator_loss,
    gradient_penalty,
)
from eddl.losses.classification import (
    binary_cross_entropy,
    binary_focal,
    categorical_cross_entropy,
    categorical_hinge,
    focal,
    hinge,
    soft_cross_entropy,
)
from eddl.losses.named import NAMED, get
from eddl.losses.pairs import contrastive, distance, triplet, triplet_margin
from eddl.losses.parts import Loss, average, one_hot, target_check
from eddl.losses.regions import (
    binary_dice,
    binary_dice_cross_entropy,
    dice,
    dice_cross_entropy,
    generalised_dice,
    lovasz_hinge,
    lovasz_softmax,
    tversky,
)
from eddl.losses.regression import (
    huber,
    mean_absolute_error,
    mean_relative_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)
from eddl.losses.supervision import DeepSupervision

__all__ = [
    "ADVERSARIAL",
    "NAMED",
    "DeepSupervision",
    "Loss",
    "average",
    "binary_cross_entropy",
    "binary_dice",
    "binary_dice_cross_entropy",
    "binary_focal",
    "categorical_cross_entropy",
    "categorical_hinge",
    "contrastive",
    "critic_loss",
    "dice",
    "dice_cross_entropy",
    "distance",
    "focal",
    "generalised_dice",
    "generator_loss",
    "get",
    "gradient_penalty",
    "hinge",
    "huber",
    "lovasz_hinge",
    "lovasz_softmax",
    "mean_absolute_error",
    "mean_relative_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "one_hot",
    "soft_cross_entropy",
    "target_check",
    "triplet",
    "triplet_margin",
    "tversky",
]

"""What follows where a step was not finite; its update has changed nothing."""

from __future__ import annotations

import warnings

import numpy as np

from eddl.errors import GradientError
from eddl.training.state import TrainingState


def losses_are_finite(state: TrainingState) -> bool:
    """Whether each optimizer's loss since the last update was."""
    return all(np.isfinite(group.total) for group in state.groups)


def refuse(state: TrainingState, *, scale: float) -> None:
    """Count the step, and say so the first time, or raise; but say nothing where the loss, times
    `scale`, was finite, and a smaller scale may help."""
    if scale > 1 and losses_are_finite(state):
        state.skipped += 1
        return
    number = int(state.groups[0].count) + int(state.skipped) + 1
    what = f"step {number}: the loss or a gradient is not finite"
    if state.nonfinite == "raise":
        raise GradientError(
            f"{what}; nothing was changed. Look for values that are not finite in the batch, or "
            "take a lower learning rate or clip_norm"
        )
    state.skipped += 1
    if not state.warned:
        state.warned = True
        warnings.warn(
            f"{what}; the step was skipped and nothing changed, and so it will be where this "
            "happens again (nonfinite='raise' stops instead)",
            RuntimeWarning,
            stacklevel=3,
        )

"""The rule beside the network: for each organ, the best window of smoothed intensities.

The rule is fitted on the very slices that the network trains on, and is the best of its kind: for
every smoothing on offer and every window between two bin edges the Dice on the training slices
follows from cumulative histograms, so nothing is left to a search.
`tests/frontend/operations/test_rule.py` compares it with brute force.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

import ecvl
from deephealth.operations.catalogue import operation
from deephealth.operations.kinds import Rule, Slices

LOWEST, HIGHEST, STEP = -1024.0, 1600.0, 4.0
EDGES = np.arange(LOWEST, HIGHEST + STEP, STEP)
SMOOTHINGS = [0.0, 2.0, 4.0, 6.0, 9.0]


@operation("fit_rule", help="find the best window of smoothed intensities for each organ")
def fit_rule(
    slices: Slices,
    *,
    smoothing: Annotated[
        list[float], "standard deviations of the smoothing to choose among, in mm"
    ] = SMOOTHINGS,
) -> Rule:
    """For each organ the smoothing and window with the highest Dice on the training slices."""
    labels = np.asarray(slices.labels)[slices.training]
    names = slices.organs
    best: dict[str, dict[str, float]] = {name: {"dice": -1.0} for name in names}
    for deviation in smoothing:
        values = smoothed(slices.volume, deviation)[slices.training]
        bins = np.clip((values - LOWEST) // STEP, 0, len(EDGES) - 2).astype(np.int64)
        everywhere = np.bincount(bins.ravel(), minlength=len(EDGES) - 1)
        for number, name in enumerate(names, start=1):
            inside = np.bincount(bins[labels == number], minlength=len(EDGES) - 1)
            dice, low, high = _best_window(inside, everywhere)
            if dice > best[name]["dice"]:
                best[name] = {
                    "dice": dice,
                    "smoothing": deviation,
                    "low": float(EDGES[low]),
                    "high": float(EDGES[high]),
                }
    return best


def mask(volume: ecvl.Image, rule: dict[str, float]) -> NDArray[np.bool_]:
    """Where the smoothed intensities of a volume lie in a rule's window.

    >>> volume = ecvl.Image(np.array([[[0, 50, 100]]], np.float32), "zyx")
    >>> mask(volume, {"smoothing": 0.0, "low": 40.0, "high": 60.0}).tolist()
    [[[False, True, False]]]
    """
    values = smoothed(volume, rule["smoothing"])
    above = values >= rule["low"] if rule["low"] > LOWEST else True
    below = values < rule["high"] if rule["high"] < EDGES[-1] else True
    return np.broadcast_to(np.logical_and(above, below), values.shape)


def smoothed(volume: ecvl.Image, deviation: float) -> NDArray[np.float32]:
    """The intensities after a Gaussian of a standard deviation in mm; edges are continued.

    >>> volume = ecvl.Image(np.ones((1, 1, 5), np.int16), "zyx")
    >>> smoothed(volume, 2.0).round(6).tolist()
    [[[1.0, 1.0, 1.0, 1.0, 1.0]]]
    """
    values = np.asarray(volume).astype(np.float32)
    for axis, spacing in enumerate(volume.spacing):
        radius = int(np.ceil(3 * deviation / spacing))
        if radius == 0:
            continue
        distances = np.arange(-radius, radius + 1) * spacing
        weights = np.exp(-0.5 * (distances / deviation) ** 2)
        weights = (weights / weights.sum()).astype(np.float32)
        widths = [(radius, radius) if one == axis else (0, 0) for one in range(values.ndim)]
        padded = np.pad(values, widths, mode="edge")
        length = values.shape[axis]
        values = np.zeros_like(values)
        for start, weight in enumerate(weights):
            values += weight * np.take(padded, range(start, start + length), axis=axis)
    return values


def _best_window(
    inside: NDArray[np.int64], everywhere: NDArray[np.int64]
) -> tuple[float, int, int]:
    """The highest Dice over all windows of bins, and the window as two positions of edges."""
    hits = np.concatenate([[0], np.cumsum(inside)])
    found = np.concatenate([[0], np.cumsum(everywhere)])
    size = hits[-1]
    overlap = hits[None, :] - hits[:, None]
    chosen = found[None, :] - found[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        dice = np.where(chosen > 0, 2 * overlap / (chosen + size), 0.0)
    low, high = np.unravel_index(int(np.argmax(dice)), dice.shape)
    return float(dice[low, high]), int(low), int(high)

"""Figures as data URIs, so that a page is one file: curves of a training and overlays of slices."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deephealth.report.case import Picture

ORGAN_COLOURS = ("#d9480f", "#7048e8", "#0c8599", "#e8b100", "#2b8a3e", "#c2255c", "#1971c2")
LINE_COLOURS = ("#1864ab", "#d9480f", "#2b8a3e", "#7048e8")
AGREE, MISSED, EXTRA = "#2f9e44", "#1971c2", "#e03131"


def curves(history: dict[str, list[float]]) -> str:
    """The loss (left) and the metrics of a training by epoch, as an SVG data URI.

    >>> curves({"loss": [1.0, 0.5]})[:26]
    'data:image/svg+xml;base64,'
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    losses = {name: line for name, line in history.items() if "loss" in name}
    others = {
        name: line
        for name, line in history.items()
        if name not in losses and name != "learning_rate"
    }
    groups = [group for group in (losses, others) if group]
    with rc_context({"svg.hashsalt": "deephealth", "font.size": 10}):
        figure = Figure(figsize=(4.8 * max(len(groups), 1), 3.0), layout="constrained")
        for place, group in enumerate(groups):
            axes = figure.add_subplot(1, len(groups), place + 1)
            for colour, (name, line) in zip(LINE_COLOURS, group.items(), strict=False):
                axes.plot(range(1, len(line) + 1), line, label=name, color=colour, linewidth=1.8)
            axes.set_xlabel("epoch")
            axes.set_ylim(bottom=0)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(alpha=0.25)
            axes.legend(frameon=False)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return _uri(file.getvalue(), "image/svg+xml")


def overlay(picture: Picture) -> str:
    """Three panels side by side as a PNG data URI: found labels, reference labels, agreement.

    >>> zeros = np.zeros((4, 4), np.uint8)
    >>> overlay(Picture(zeros, zeros, zeros, 1.0, "slice 1"))[:22]
    'data:image/png;base64,'
    """
    from matplotlib.figure import Figure

    colours = [_rgb(colour) for colour in ORGAN_COLOURS]
    found = _painted(picture.image, picture.found, colours)
    reference = _painted(picture.image, picture.reference, colours)
    agreement = np.zeros_like(picture.found)
    agreement[(picture.found == picture.reference) & (picture.found > 0)] = 1
    agreement[(picture.found != picture.reference) & (picture.reference > 0)] = 2
    agreement[(picture.found != picture.reference) & (picture.reference == 0)] = 3
    judged = _painted(picture.image, agreement, [_rgb(one) for one in (AGREE, MISSED, EXTRA)])
    height, width = picture.image.shape
    tall = 3.2 * height * picture.aspect / width
    figure = Figure(figsize=(9.6, min(max(tall, 1.2), 4.0)), dpi=110)
    for place, panel in enumerate((found, reference, judged)):
        axes = figure.add_axes((place / 3 + 0.002, 0.0, 1 / 3 - 0.004, 1.0))
        axes.imshow(panel, aspect=picture.aspect, interpolation="nearest")
        axes.set_axis_off()
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor="black", metadata={"Software": None})
    return _uri(file.getvalue(), "image/png")


def _painted(image: NDArray[np.uint8], labels: NDArray[Any], colours: list[Any]) -> NDArray[Any]:
    """The grey image with every label in its colour, half transparent, edges solid."""
    grey = np.repeat(image[:, :, None].astype(np.float64), 3, axis=2)
    inner = np.ones(labels.shape, bool)
    inner[1:] &= labels[1:] == labels[:-1]
    inner[:, 1:] &= labels[:, 1:] == labels[:, :-1]
    for number in np.unique(labels[labels > 0]):
        colour = colours[(int(number) - 1) % len(colours)]
        inside = labels == number
        grey[inside] = 0.55 * grey[inside] + 0.45 * colour
        grey[inside & ~inner] = colour
    return np.clip(grey.round(), 0, 255).astype(np.uint8)


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)], np.float64)


def _uri(content: bytes, media: str) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"

"""Rows of Fourier transforms and what prepares sound."""

from __future__ import annotations

from typing import Any

import numpy as np

from .row import Row, ints, positive, spread


def _dft(shape: tuple[int, ...], length: int, axis: int, **attributes: Any) -> Row:
    return Row("DFT", lambda r: [spread(r, *shape), np.array(length), np.array(axis)], attributes,
               constant=(1, 2))  # fmt: skip


ROWS: list[Row] = [
    _dft((2, 8, 1), 8, 1),
    _dft((2, 7, 2), 7, -2),
    _dft((5, 3, 2), 8, 0),
    _dft((2, 9, 1), 6, 1),
    _dft((2, 9, 1), 9, 1, onesided=1),
    _dft((2, 8, 1), 10, 1, onesided=1),
    _dft((2, 7, 2), 7, 1, inverse=1),
    _dft((2, 5, 2), 8, 1, inverse=1, onesided=1),
    _dft((2, 4, 2), 7, 1, inverse=1, onesided=1),
    Row("STFT", lambda r: [spread(r, 2, 20, 1), np.array(4), positive(r, 8), np.array(8)],
        constant=(1, 3)),
    Row("STFT", lambda r: [spread(r, 2, 20, 1), np.array(3), positive(r, 7)], {"onesided": 0},
        constant=(1,)),
    Row("MelWeightMatrix", lambda r: [ints(8)[0], ints(32)[0], ints(8192)[0], np.array(10.0),
                                      np.array(4000.0)], constant=(0, 1, 2, 3, 4)),
]  # fmt: skip

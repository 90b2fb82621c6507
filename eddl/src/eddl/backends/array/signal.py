"""Fourier transforms by the namespace's FFT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eddl.backends.array.backend import ArrayBackend, kernel
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node
from eddl.ops.signal import geometry


@kernel("DFT")
def dft(backend: ArrayBackend, node: Node) -> Offer:
    """One FFT along the axis; real signals and half spectra take the short way."""
    x = node.inputs[0]
    assert x is not None
    axis, length = geometry(node)
    inverse, onesided = node.attributes["inverse"], node.attributes["onesided"]
    work = "float64" if x.dtype == "float64" else "float32"

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        fft, result = backend.xp.fft, outputs[0]

        def run() -> None:
            data = inputs[0].astype(work, copy=False)
            data = data[..., 0] + 1j * data[..., 1] if data.shape[-1] == 2 else data[..., 0]
            if inverse and onesided:
                result[..., 0] = fft.irfft(data, length, axis)
                return
            name = "ifft" if inverse else "rfft" if onesided else "fft"
            made = getattr(fft, name)(data, length, axis)
            result[..., 0], result[..., 1] = made.real, made.imag

        return run

    return Offer("fft", bind)

"""Philox4x32-10, vectorised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend, kernel
from eddl.backends.array.evaluator import host
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node

MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = 0x9E3779B9, 0xBB67AE85
LOW, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)
BLOCK = 1 << 14
"""Counters at once: their eight words fit a core's second-level cache."""


def philox(counter: Sequence[Array], key: tuple[int, int]) -> list[Array]:
    """Four uint32 words (as uint64) for each counter of four words. Source: Salmon et al. 2011.

    >>> zero = [np.zeros(1, np.uint64)] * 4
    >>> [hex(int(word[0])) for word in philox(zero, (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        first, second = MULTIPLIERS[0] * a, MULTIPLIERS[1] * c
        a, b, c, d = (
            (second >> SHIFT) ^ b ^ np.uint64(k0),
            second & LOW,
            (first >> SHIFT) ^ d ^ np.uint64(k1),
            first & LOW,
        )
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return [a, b, c, d]


def uniform(count: int, step: int, seed: int, stream: int) -> Array:
    """`count` float32 numbers in [0, 1); the high word of `step` counts micro-batches."""
    found = np.empty((-(-count // 4), 4), np.float32)
    for start in range(0, len(found), BLOCK):
        index = np.arange(start, min(start + BLOCK, len(found)), dtype=np.uint64)
        zero = np.zeros_like(index)
        words = (zero + np.uint64((step >> shift) & 0xFFFFFFFF) for shift in (32, 0))
        counter = [index & LOW, index >> SHIFT, *words]
        drawn = philox(counter, (seed & 0xFFFFFFFF, stream & 0xFFFFFFFF))
        for column, word in enumerate(drawn):
            found[start : start + BLOCK, column] = (word >> np.uint64(8)) * np.float64(2**-24)
    return found.reshape(-1)[:count]


@kernel("Uniform", domain="eddl")
def uniform_kernel(backend: ArrayBackend, node: Node) -> Offer:
    """Fresh numbers for the step that the counter holds."""
    shape = node.attributes["shape"]
    seed, stream = node.attributes["seed"], node.attributes["stream"]

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        if node.attributes["generator"] == "mt19937":
            return lambda: np.copyto(outputs[0], np.random.RandomState(seed).uniform(size=shape))

        def run() -> None:
            numbers = uniform(math.prod(shape), int(inputs[0].reshape(-1)[0]), seed, stream)
            np.copyto(outputs[0], numbers.reshape(shape))

        return run

    return Offer("philox", bind)


def _generator(node: Node) -> np.random.Generator:
    """A node's own seed repeats its numbers; without one they are new at each run."""
    seed = node.attributes["seed"]
    return np.random.default_rng(None if seed is None else int(np.float32(seed).view(np.uint32)))


@host("RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike")
def random_tensor(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """Uniform or normal numbers of a given shape, or of another tensor's."""
    a, draw = node.attributes, _generator(node)
    shape = inputs[0].shape if inputs else a["shape"]
    dtype = a["dtype"] or (inputs[0].dtype if inputs else np.dtype("float32"))
    if "Uniform" in node.op:
        return [np.asarray(draw.uniform(a["low"], a["high"], shape)).astype(dtype)]
    return [np.asarray(draw.normal(a["mean"], a["scale"], shape)).astype(dtype)]


@host("Multinomial")
def multinomial(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """Classes drawn by unnormalised log-probabilities, a row a sample of the batch."""
    draw, dtype = _generator(node), node.attributes["dtype"] or np.dtype("int32")
    logits = np.asarray(inputs[0], np.float64)
    gumbel = draw.gumbel(size=(len(logits), node.attributes["sample_size"], logits.shape[1]))
    return [np.argmax(logits[:, None] + gumbel, axis=2).astype(dtype)]

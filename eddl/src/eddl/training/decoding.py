"""Sequences written step by step: what a decoder says is what it reads next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError, ShapeError
from eddl.training.model import Model

Array = np.ndarray[Any, Any]


def decode(
    decoder: Model,
    states: Sequence[Any],
    start: int | Any,
    *,
    steps: int,
    end: int | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    context: Sequence[Any] = (),
    seed: int = 0,
) -> Array:
    """Let a decoder write.

    Parameters: `decoder`, a model of the inputs (words [N, 1], *states, *context) and the outputs
    (logits [N, 1, words] or [N, words], *states); `states`, arrays to begin with, as an encoder
    gives them; `start`, the first word it reads, one for all or one a sample; `steps`, how many it
    writes at most; `end`, the word after which nothing follows; `temperature`, 0 for the likeliest
    word (greedy), else words are drawn from softmax(logits / temperature); `top_k`, from how many
    of the likeliest ones; `context`, arrays that stay the same, as an encoder's outputs and their
    mask; `seed`, of the drawing. Returns int64 words [N, at most `steps`], `end` repeated behind an
    end.

    >>> import eddl, numpy as np
    >>> words, h = eddl.Input((None,), dtype="int64"), eddl.Input((4,), name="h")
    >>> x = eddl.layers.embedding(words, 10, 3)
    >>> y, state = eddl.layers.gru(x, 4, initial_state=h, return_sequences=True, return_state=True)
    >>> decoder = eddl.Model([words, h], [eddl.layers.dense(y, 10), *state])
    >>> eddl.decode(decoder, [np.zeros((2, 4), "float32")], 1, steps=5).shape
    (2, 5)
    """
    held = [np.asarray(state) for state in states]
    fixed = [np.asarray(array) for array in context]
    if len(decoder.inputs) != 1 + len(held) + len(fixed) or len(decoder.outputs) != 1 + len(held):
        raise AttributeValueError(
            f"decode: received {len(held)} states and {len(fixed)} arrays of context for a model "
            f"of {len(decoder.inputs)} inputs and {len(decoder.outputs)} outputs, expected the "
            "inputs (words, *states, *context) and the outputs (logits, *states)"
        )
    if steps < 1 or temperature < 0 or (top_k is not None and top_k < 1):
        raise AttributeValueError(
            f"decode: received steps={steps}, temperature={temperature}, top_k={top_k}; expected "
            "at least one step, a temperature from 0 on, and at least one word to draw from"
        )
    first = next((a for a in (*held, *fixed) if a.ndim), np.atleast_1d(np.asarray(start)))
    count = len(first)
    if np.ndim(start) and np.shape(start) != (count,):
        raise ShapeError(f"decode: received {np.shape(start)} starts, expected one or {count}")
    words = np.broadcast_to(np.asarray(start, np.int64), (count,))
    draw = np.random.Generator(np.random.Philox(seed))
    written: list[Array] = []
    ended = np.zeros(count, bool)
    for _ in range(steps):
        found = decoder.predict(
            words[:, None].astype(decoder.inputs[0].dtype), *held, *fixed, batch_size=count
        )
        logits, *held = found if isinstance(found, list) else [found]
        words = _chosen(logits.reshape(count, -1).astype(np.float64), temperature, top_k, draw)
        if end is not None:
            words = np.where(ended, end, words)
            ended |= words == end
        written.append(words)
        if ended.all():
            break
    return np.stack(written, axis=1)


def _chosen(
    logits: Array, temperature: float, top_k: int | None, draw: np.random.Generator
) -> Array:
    if top_k is not None and top_k < logits.shape[1]:
        limit = np.partition(logits, -top_k, axis=1)[:, -top_k, None]
        logits = np.where(logits >= limit, logits, -np.inf)
    if temperature:  # the greatest of logits with Gumbel noise is a draw from their softmax
        logits = logits / temperature + draw.gumbel(size=logits.shape)
    found: Array = np.argmax(logits, axis=1).astype(np.int64)
    return found

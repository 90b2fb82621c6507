"""Operators on strings, element by element on the host."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend
from eddl.backends.array.evaluator import host
from eddl.errors import AttributeValueError, ShapeError
from eddl.graph import Node


def _each(function: Callable[..., Any], *arrays: Any, dtype: Any = object) -> Array:
    """A function of strings over arrays that broadcast."""
    parts = np.broadcast_arrays(*(np.asarray(a, object) for a in arrays))
    result = np.empty(parts[0].shape, dtype)
    flat = result.reshape(-1)
    for index, values in enumerate(zip(*(part.reshape(-1) for part in parts), strict=True)):
        flat[index] = function(*values)
    return result


def _strings(values: Iterable[str]) -> Array:
    return np.asarray([*values], object)


@host("StringConcat")
def concat(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """One string after the other."""
    return [_each(lambda a, b: f"{a}{b}", *inputs)]


@host("StringNormalizer")
def normalize(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """Stop words removed, then the case changed; nothing left is one empty string."""
    x = np.asarray(inputs[0], object)
    if x.ndim not in (1, 2) or (x.ndim == 2 and x.shape[0] != 1):
        raise ShapeError(f"StringNormalizer: received {x.shape}, expected [C] or [1, C]")
    change = node.attributes["case_change_action"]
    cases: dict[str, Callable[[str], str]] = {"NONE": str, "LOWER": str.lower, "UPPER": str.upper}
    if change not in cases:
        raise AttributeValueError(
            f"StringNormalizer: received case_change_action {change!r}, expected one of {[*cases]}"
        )
    compared: Callable[[str], str] = str if node.attributes["is_case_sensitive"] else str.casefold
    stop = {compared(word) for word in node.attributes["stopwords"]}
    kept = [cases[change](w) for w in map(str, x.reshape(-1)) if compared(w) not in stop] or [""]
    return [_strings(kept).reshape((1, -1) if x.ndim == 2 else (-1,))]


@host("StringSplit")
def split(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """The parts of each string, filled up with empty ones, and their number."""
    x = np.asarray(inputs[0], object)
    delimiter, most = node.attributes["delimiter"] or None, node.attributes["maxsplit"]
    parts = [str(text).split(delimiter, -1 if most is None else most) for text in x.reshape(-1)]
    counts = np.asarray([len(part) for part in parts], np.int64).reshape(x.shape)
    width = max(map(len, parts), default=0)
    padded = [part + [""] * (width - len(part)) for part in parts]
    flat = _strings(itertools.chain.from_iterable(padded))
    return [flat.reshape(*x.shape, width), counts]


@host("RegexFullMatch")
def full_match(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """Whether each string matches as a whole; the syntax that RE2 and Python share."""
    pattern = node.attributes["pattern"]
    try:
        if "[:" in pattern:
            raise re.error("a POSIX character class")
        compiled = re.compile(pattern)
    except re.error as error:
        raise AttributeValueError(
            f"RegexFullMatch: received the pattern {pattern!r}, with {error}; expected the syntax "
            "that RE2 and Python share"
        ) from None
    return [_each(lambda text: compiled.fullmatch(str(text)) is not None, inputs[0], dtype=bool)]


def _grams(node: Node) -> dict[tuple[Any, ...], int]:
    """Where the count of each n-gram goes."""
    attributes = node.attributes
    pool = attributes["pool_strings"] or attributes["pool_int64s"]
    starts = [*attributes["ngram_counts"], len(pool)]
    places, found, number = attributes["ngram_indexes"], {}, 0
    for size, (start, stop) in enumerate(itertools.pairwise(starts), 1):
        for first in range(start, stop - size + 1, size):
            if number >= len(places):
                raise AttributeValueError(
                    f"TfIdfVectorizer: received {len(places)} ngram_indexes, expected one an n-gram"
                )
            if attributes["min_gram_length"] <= size <= attributes["max_gram_length"]:
                found[tuple(pool[first : first + size])] = number
            number += 1
    return found


@host("TfIdfVectorizer")
def vectorize(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """How often each n-gram of the pool stands in each row, weighted by the mode."""
    x, attributes = np.asarray(inputs[0]), node.attributes
    if x.ndim not in (1, 2):
        raise ShapeError(f"TfIdfVectorizer: received {x.shape}, expected [C] or [N, C]")
    grams, places = _grams(node), np.asarray(attributes["ngram_indexes"], np.int64)
    rows = [row.tolist() for row in (x if x.ndim == 2 else x[None])]
    counts = np.zeros((len(rows), int(places.max(initial=-1)) + 1), np.float32)
    for count, row in zip(counts, rows, strict=True):
        for size in range(attributes["min_gram_length"], attributes["max_gram_length"] + 1):
            for step in range(1, attributes["max_skip_count"] + 2 if size > 1 else 2):
                for first in range(len(row) - step * (size - 1)):
                    number = grams.get(tuple(row[first : first + step * size : step][:size]))
                    if number is not None:
                        count[places[number]] += 1
    weights = np.ones(counts.shape[1], np.float32)
    if attributes["weights"]:
        weights[places] = attributes["weights"]
    mode = attributes["mode"]
    if mode not in ("TF", "IDF", "TFIDF"):
        raise AttributeValueError(
            f"TfIdfVectorizer: received mode {mode!r}, expected 'TF', 'IDF' or 'TFIDF'"
        )
    if mode == "IDF":
        counts = np.minimum(counts, 1)
    if mode != "TF":
        counts = counts * weights
    return [counts if x.ndim == 2 else counts[0]]

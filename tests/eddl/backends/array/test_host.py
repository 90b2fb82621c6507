"""Host operators where the conformance suite does not look: errors and odd inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eddl.backends.array import ArrayBackend
from eddl.errors import EddlError
from eddl.graph import Input, Node, Opaque
from eddl.ops import TABLE

BACKEND = ArrayBackend(threads=1)


def evaluate(name: str, *inputs: Any, domain: str = "", **attributes: Any) -> list[Any]:
    node = Node(
        name, [Input(Opaque()) for _ in inputs], [Opaque()],
        {**TABLE[domain, name].attributes, **attributes}, domain=domain,
    )  # fmt: skip
    return BACKEND.evaluate(node, inputs)


def strings(*words: str) -> np.ndarray:
    return np.array(words, object)


def test_regex_names_a_pattern_it_does_not_take():
    (found,) = evaluate("RegexFullMatch", strings("abc", "abcd"), pattern="[a-c]+")
    assert found.tolist() == [True, False]
    for pattern in ("(", "[[:alpha:]]"):
        with pytest.raises(EddlError, match="received the pattern"):
            evaluate("RegexFullMatch", strings("a"), pattern=pattern)


def test_split_of_nothing():
    parts, counts = evaluate("StringSplit", np.empty((0, 2), object))
    assert parts.shape == (0, 2, 0) and counts.shape == (0, 2)


def test_labels_by_nan_and_the_last_of_equal_keys():
    (found,) = evaluate("LabelEncoder", np.array([np.nan, 1.0, 2.0], np.float32),
                        domain="ai.onnx.ml", keys_floats=(float("nan"), 1.0, 1.0),
                        values_strings=("none", "a", "b"))  # fmt: skip
    assert found.tolist() == ["none", "b", "_Unused"]


def tree(**changes: Any) -> list[Any]:
    attributes = {
        "nodes_featureids": (0,), "nodes_splits": np.array([0.5], np.float32),
        "nodes_modes": np.array([0], np.uint8), "nodes_truenodeids": (0,),
        "nodes_falsenodeids": (1,), "nodes_trueleafs": (1,), "nodes_falseleafs": (1,),
        "leaf_targetids": (0, 1), "leaf_weights": np.array([2.0, 3.0], np.float32),
        "n_targets": 2, "tree_roots": (0,),
    }  # fmt: skip
    x = np.array([[0.1], [0.9], [np.nan]], np.float32)
    return evaluate("TreeEnsemble", x, domain="ai.onnx.ml", **{**attributes, **changes})


def test_trees():
    assert tree()[0].tolist() == [[2, 0], [0, 3], [0, 3]]
    assert tree(nodes_missing_value_tracks_true=(1,))[0].tolist() == [[2, 0], [0, 3], [2, 0]]
    np.testing.assert_allclose(tree(post_transform=1)[0].sum(axis=1), 1)
    with pytest.raises(EddlError, match="circle"):
        tree(nodes_falsenodeids=(0,), nodes_falseleafs=(0,))
    with pytest.raises(EddlError, match="post_transform 4"):
        tree(post_transform=4)


def test_ngrams_of_strings():
    (found,) = evaluate(
        "TfIdfVectorizer", strings("a", "b", "a", "b"), mode="TFIDF", min_gram_length=1,
        max_gram_length=2, max_skip_count=0, ngram_counts=(0, 2), ngram_indexes=(1, 0, 2),
        pool_strings=("a", "c", "a", "b"), weights=(2.0, 1.0, 0.5),
    )  # fmt: skip
    assert found.tolist() == [0.0, 4.0, 1.0]

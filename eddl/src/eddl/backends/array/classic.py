"""Classic machine learning and ONNX's optimizer operators, on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend
from eddl.backends.array.evaluator import host
from eddl.errors import AttributeValueError, GraphError
from eddl.graph import Node
from eddl.ops.classic import ML, TRAINING

_KINDS = (
    ("tensor", None), ("strings", object), ("int64s", np.int64), ("floats", np.float32)
)  # fmt: skip


def _table(node: Node, what: str) -> tuple[str, Array]:
    """The attribute of LabelEncoder that is given, and the kind it has."""
    for kind, dtype in _KINDS:
        given = node.attributes[f"{what}_{kind}"]
        if given is not None and len(given):
            return kind, np.asarray(given, dtype)
    raise AttributeValueError(f"LabelEncoder: received no {what}_*, expected one of them")


@host("LabelEncoder", domain=ML)
def label_encoder(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """Values looked up by keys; the last of equal keys counts, and NaN equals NaN."""
    _, keys = _table(node, "keys")
    kind, values = _table(node, "values")
    if keys.size != values.size:
        raise AttributeValueError(
            f"LabelEncoder: received {keys.size} keys and {values.size} values, expected as many"
        )
    default = {
        "tensor": node.attributes["default_tensor"],
        "strings": node.attributes["default_string"],
        "int64s": node.attributes["default_int64"],
        "floats": node.attributes["default_float"],
    }[kind]
    if default is None:
        default = {"O": "_Unused", "f": -0.0}.get(values.dtype.kind, -1)
    default = np.asarray(default).reshape(-1)[0]
    known = {_key(k): v for k, v in zip(keys.tolist(), values.reshape(-1), strict=True)}
    x = np.asarray(inputs[0])
    found = np.empty(x.size, values.dtype)
    found[:] = [known.get(_key(item), default) for item in x.reshape(-1).tolist()]
    return [found.reshape(x.shape)]


def _key(value: Any) -> Any:
    return "NaN" if isinstance(value, float) and value != value else (value,)


_MODES: tuple[Callable[[Any, Any], Any], ...] = (
    np.less_equal, np.less, np.greater_equal, np.greater, np.equal, np.not_equal
)  # fmt: skip
_MEMBER = 6


def _members(node: Node, modes: Array) -> dict[int, Array]:
    """The set of each node that tests membership; NaN stands between sets."""
    where = np.flatnonzero(modes == _MEMBER)
    if not where.size:
        return {}
    values = np.asarray(node.attributes["membership_values"]).reshape(-1)
    ends = np.flatnonzero(np.isnan(values))
    sets = [part[~np.isnan(part)] for part in np.split(values, ends + 1)]
    if len(sets) < where.size:
        raise AttributeValueError(
            f"TreeEnsemble: received {len(sets)} sets of members, expected {where.size}"
        )
    return dict(zip(where.tolist(), sets, strict=False))


@host("TreeEnsemble", domain=ML)
def tree_ensemble(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """All samples walk down each tree together; the leaves they reach are aggregated."""
    x, a = np.asarray(inputs[0]), node.attributes
    modes = np.asarray(a["nodes_modes"]).reshape(-1).astype(int)
    feature = np.asarray(a["nodes_featureids"])
    splits = np.asarray(a["nodes_splits"]).reshape(-1)
    ids = np.asarray([a["nodes_falsenodeids"], a["nodes_truenodeids"]])
    leaves = np.asarray([a["nodes_falseleafs"], a["nodes_trueleafs"]], bool)
    missing = np.asarray(a["nodes_missing_value_tracks_true"] or np.zeros(modes.size), bool)
    members = _members(node, modes)

    def goes(nodes: Array, value: Array) -> Array:
        result: Array = np.isnan(value) & missing[nodes]
        for mode, compare in enumerate(_MODES):
            chosen = modes[nodes] == mode
            result[chosen] |= compare(value[chosen], splits[nodes[chosen]])
        for index, values in members.items():
            chosen = nodes == index
            result[chosen] |= np.isin(value[chosen], values)
        return result

    rows = np.arange(len(x))
    reached = np.empty((len(a["tree_roots"]), len(x)), np.int64)
    for tree, root in enumerate(a["tree_roots"]):
        at, done = np.full(len(x), root), np.zeros(len(x), bool)
        for _ in range(modes.size + 1):
            if done.all():
                break
            active = rows[~done]
            nodes = at[active]
            side = goes(nodes, x[active, feature[nodes]]).astype(int)
            at[active], done[active] = ids[side, nodes], leaves[side, nodes]
        else:
            raise GraphError("TreeEnsemble: received nodes in a circle, expected trees")
        reached[tree] = at
    scores = _aggregate(a, reached, x.dtype)
    return [_transformed(scores, a["post_transform"])]


def _aggregate(attributes: Any, reached: Array, dtype: Any) -> Array:
    weights = np.asarray(attributes["leaf_weights"]).reshape(-1)[reached].astype(dtype)
    targets = np.asarray(attributes["leaf_targetids"])[reached]
    how = attributes["aggregate_function"]
    functions = {0: np.add, 1: np.add, 2: np.minimum, 3: np.maximum}
    if how not in functions:
        raise AttributeValueError(f"TreeEnsemble: received aggregate_function {how}, expected 0-3")
    limits = np.finfo(dtype)
    start = {2: limits.max, 3: limits.min}.get(how, 0)
    result = np.full((reached.shape[1], attributes["n_targets"]), start, dtype)
    functions[how].at(result, (np.arange(reached.shape[1]), targets), weights)
    return np.asarray(result / dtype.type(len(reached)) if how == 0 else result)


def _transformed(scores: Array, how: int) -> Array:
    match how:
        case 0:
            return scores
        case 1 | 3:
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            if how == 3:
                powers = np.where(scores == 0, 0, powers)
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        case 2:
            return np.asarray(1 / (1 + np.exp(-scores)))
    raise AttributeValueError(
        f"TreeEnsemble: received post_transform {how}, expected 0 (none), 1 (softmax), "
        "2 (logistic) or 3 (softmax of what is not 0)"
    )


def _groups(node: Node, inputs: Sequence[Any], count: int) -> tuple[Any, Any, list[Any]]:
    """Rate, step, and the tensors of each parameter together."""
    rate, step, *rest = inputs
    if len(rest) % count:
        raise GraphError(
            f"{node.op}: received {len(rest)} tensors, expected {count} for each one optimized"
        )
    size = len(rest) // count
    return rate, np.asarray(step).reshape(()), [rest[i::size] for i in range(size)]


def _in_order(results: Sequence[Sequence[Any]]) -> list[Any]:
    """First all new parameters, then all new slots of each kind."""
    return [np.asarray(x) for kind in zip(*results, strict=True) for x in kind]


@host("Adagrad", domain=TRAINING)
def adagrad(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """Source: the ONNX operator specification of Adagrad."""
    a = node.attributes
    rate, step, groups = _groups(node, inputs, 3)
    results = []
    for x, g, h in groups:
        r = (rate / (1 + step * a["decay_factor"])).astype(x.dtype)
        g = x.dtype.type(a["norm_coefficient"]) * x + g
        new = h + g * g
        adaptive = np.sqrt(new) + x.dtype.type(a["epsilon"])
        results.append((x - r * g / adaptive, new))
    return _in_order(results)


@host("Adam", domain=TRAINING)
def adam(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """Source: the ONNX operator specification of Adam."""
    a = node.attributes
    rate, step, groups = _groups(node, inputs, 4)
    results = []
    for x, g, v, h in groups:
        number = x.dtype.type
        alpha, beta = number(a["alpha"]), number(a["beta"])
        g = number(a["norm_coefficient"]) * x + g
        v = alpha * v + (1 - alpha) * g
        h = beta * h + (1 - beta) * g * g
        r = rate * np.sqrt(1 - a["beta"] ** step) / (1 - a["alpha"] ** step) if step > 0 else rate
        new = x - number(r) * v / (np.sqrt(h) + number(a["epsilon"]))
        results.append(((1 - number(a["norm_coefficient_post"])) * new, v, h))
    return _in_order(results)


@host("Momentum", domain=TRAINING)
def momentum(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """Source: the ONNX operator specification of Momentum."""
    a = node.attributes
    if a["mode"] not in ("standard", "nesterov"):
        raise AttributeValueError(
            f"Momentum: received mode {a['mode']!r}, expected 'standard' or 'nesterov'"
        )
    rate, step, groups = _groups(node, inputs, 3)
    results = []
    for x, g, v in groups:
        number = x.dtype.type
        alpha, r = number(a["alpha"]), np.asarray(rate).astype(x.dtype)
        g = number(a["norm_coefficient"]) * x + g
        v = alpha * v + number(a["beta"] if step > 0 else 1) * g
        results.append((x - r * (g + alpha * v if a["mode"] == "nesterov" else v), v))
    return _in_order(results)

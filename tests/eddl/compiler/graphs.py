"""Graphs for tests of passes, and what must never be true of a plan."""

import itertools

import numpy as np

from eddl.graph import Input, Type
from eddl.ops import apply


def overlaps(plan):
    return [
        (a, b)
        for a, b in itertools.combinations(plan.inside(), 2)
        if a.slab == b.slab
        and a.offset < b.offset + b.nbytes
        and b.offset < a.offset + a.nbytes
        and a.birth <= b.death
        and b.birth <= a.death
    ]


def random_graph(seed: int, length: int):
    r = np.random.default_rng(seed)
    x = Input(Type("float64", (4, 6)), name="x")
    values = [x]
    for _ in range(length):
        kind = r.integers(0, 6)
        a, b = (values[i] for i in r.integers(0, len(values), 2))
        if kind == 0:
            values.append(a + b)
        elif kind == 1:
            values.append(apply("Tanh", a))
        elif kind == 2:
            values.append(apply("Softmax", a, axis=1))
        elif kind == 3:
            values.append(apply("Reshape", apply("Reshape", a, np.array([6, 4])) * 0.5,
                                np.array([4, 6])))  # fmt: skip
        elif kind == 4:
            turned = apply("Transpose", a, perm=(1, 0))
            values.append(apply("MatMul", a, apply("MatMul", turned, b)) * 0.1)
        else:
            values.append(a * apply("ReduceMean", b, np.array([1])))
    return x, values

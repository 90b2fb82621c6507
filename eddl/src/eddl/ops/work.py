"""How much a node computes, for tables and for choices between computing and keeping."""

from __future__ import annotations

import math

from eddl.graph import Node
from eddl.ops.table import entry


def flops(node: Node) -> int:
    """Additions and multiplications of a node with static shapes; an elementwise one counts one a
    number. Products count two for each pair."""
    output = node.outputs[0].type
    if not output.static:
        return 0
    data, weight = (*node.inputs, None, None)[:2]
    if node.op in ("Conv", "ConvTranspose") and data is not None and weight is not None:
        positions = output.count if node.op == "Conv" else data.type.count
        return 2 * positions * math.prod(weight.type.sizes[1:])
    if node.op == "ConvWeightGrad" and weight is not None:
        return 2 * weight.type.count * math.prod(output.sizes[1:])
    if node.op.removesuffix("Grad") in ("LSTM", "GRU", "RNN") and data is not None:
        steps, samples = data.type.sizes[:2]
        weights = sum(w.type.count for w in node.inputs[1:3] if w is not None)
        return 2 * steps * samples * weights * (2 if node.op.endswith("Grad") else 1)
    if node.op in ("MatMul", "Gemm", "Product") and data is not None:
        inner = data.type.sizes[-2 if node.attributes.get("transA") else -1]
        return 2 * output.count * inner
    operator = entry(node)
    return output.count if operator.formula or operator.float32 else 0

"""Batch normalization that only infers becomes part of the convolution before it.

The scaled weights and the shifted bias depend on nothing but states, so that a program computes
them once, and again when a state was written.
"""

from __future__ import annotations

from collections.abc import Sequence

from eddl.graph import Graph, Input, Node, Value
from eddl.ops.table import apply, copy_node, integers


def fold(graph: Graph) -> Graph:
    """Fold the normalizations of a graph without gradients into convolutions they alone read."""
    readers = graph.consumers()
    ends = {*graph.outputs, *graph.updates.values()}

    def folds(node: Node) -> bool:
        made = node.inputs[0] if (node.domain, node.op) == ("", "BatchNormalization") else None
        maker = None if made is None else made.node
        if made is None or maker is None or maker.domain:
            return False
        fits = maker.op == "Conv" or (
            maker.op == "ConvTranspose" and maker.attributes["group"] == 1
        )
        return (
            fits
            and not node.attributes["training_mode"]
            and len(readers[made]) == 1
            and made not in ends
            and not any(v in readers or v in ends for v in node.outputs[1:])
            and len({v.dtype for v in (*node.inputs, *maker.inputs) if v is not None}) == 1
            and all(_at_rest(v) for v in (*node.inputs[1:], *maker.inputs[1:]))
        )

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        if not folds(node):
            return copy_node(node, inputs)
        made, scale, shift, mean, variance = inputs
        assert made is not None and made.node is not None and mean is not None
        assert scale is not None and shift is not None and variance is not None
        x, weights, bias = (*made.node.inputs, None)[:3]
        assert weights is not None
        factor = scale / apply("Sqrt", variance + float(node.attributes["epsilon"]))
        axis = 0 if made.node.op == "Conv" else 1
        sizes = [1] * weights.rank
        sizes[axis] = -1
        scaled = weights * apply("Reshape", factor, integers(sizes))
        moved = -mean if bias is None else bias - mean
        return Node(
            made.node.op,
            (x, scaled, moved * factor + shift),
            [made.type],
            made.node.attributes,
            label=made.node.label,
        ).outputs

    return graph.transform(rewrite)


def _at_rest(value: Value | None) -> bool:
    """Whether a value is a leaf that the caller does not give at each run."""
    return value is None or (value.node is None and not isinstance(value, Input))

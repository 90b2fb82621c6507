"""Batch normalization that only infers becomes part of the convolution or product before it.

The scaled weights and the shifted bias depend on nothing but states, so that a program computes
them once, and again when a state was written. Where there is no such convolution, a backend whose
convolutions add and rectify in passing is given one of a single point for each channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eddl.graph import Graph, Input, Node, Value
from eddl.ops.table import apply, copy_node, integers


def fold(graph: Graph, *, pointwise: bool = False) -> Graph:
    """Fold the normalizations of a graph without gradients into what they alone read, and make
    convolutions of the others if `pointwise`."""
    readers = graph.consumers()
    ends = {*graph.outputs, *graph.updates.values()}

    def rests(node: Node) -> bool:
        """Whether a node is a normalization by states, whose result alone is read."""
        return (
            (node.domain, node.op) == ("", "BatchNormalization")
            and not node.attributes["training_mode"]
            and not any(v in readers or v in ends for v in node.outputs[1:])
            and len({v.dtype for v in node.inputs if v is not None}) == 1
            and all(_at_rest(v) for v in node.inputs[1:])
        )

    def folds(node: Node) -> bool:
        """Whether what a normalization reads comes from a convolution or a product, and nothing
        else reads it."""
        made = node.inputs[0]
        maker = None if made is None else made.node
        if made is None or maker is None or maker.domain:
            return False
        return (
            _outputs(maker) is not None
            and len(readers[made]) == 1
            and made not in ends
            and len({v.dtype for v in (made, *maker.inputs) if v is not None}) == 1
            and all(_at_rest(v) for v in maker.inputs[1:])
        )

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        if not rests(node):
            return copy_node(node, inputs)
        made, scale, shift, mean, variance = inputs
        assert made is not None and mean is not None
        assert scale is not None and shift is not None and variance is not None
        factor = scale / apply("Sqrt", variance + float(node.attributes["epsilon"]))
        if folds(node):
            maker = made.node
            assert maker is not None
            x, weights, bias = (*maker.inputs, None)[:3]
            assert weights is not None
            sizes = [1] * weights.rank
            sizes[_outputs(maker) or 0] = -1
            scaled = weights * apply("Reshape", factor, integers(sizes))
            moved = -mean if bias is None else bias - mean
            return Node(
                maker.op,
                (x, scaled, moved * factor + shift),
                [made.type],
                maker.attributes,
                label=maker.label,
            ).outputs
        if pointwise and 3 <= made.rank <= 5 and made.dtype == np.float32:
            points = apply("Reshape", factor, integers([-1, 1, *[1] * (made.rank - 2)]))
            return [
                apply("Conv", made, points, shift - mean * factor, group=made.type.sizes[1],
                      label=node.label)
            ]  # fmt: skip
        return copy_node(node, inputs)

    return graph.transform(rewrite)


def _outputs(maker: Node) -> int | None:
    """The axis of a node's weights along which its channels are, if each has weights and a bias of
    its own."""
    attributes = maker.attributes
    if maker.op == "Conv":
        return 0
    if maker.op == "ConvTranspose" and attributes["group"] == 1:
        return 1
    bias = maker.inputs[2] if len(maker.inputs) > 2 else None
    plain = maker.op == "Gemm" and attributes["alpha"] == attributes["beta"] == 1
    if not plain or (bias is not None and bias.type.sizes != maker.outputs[0].type.sizes[1:]):
        return None
    return 0 if attributes["transB"] else 1


def _at_rest(value: Value | None) -> bool:
    """Whether a value is a leaf that the caller does not give at each run."""
    return value is None or (value.node is None and not isinstance(value, Input))

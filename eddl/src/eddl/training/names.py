"""Names of nodes and values: unique within a model, the same wherever the same network is made."""

from __future__ import annotations

from eddl.graph import Constant, Graph, Label, State, Value


def assign_names(graph: Graph) -> dict[Value, str]:
    """A name for every value but plain constants: inputs keep theirs, a layer's states are
    `label.role`, and layers of one kind are numbered in the order of the graph."""
    taken: set[str] = set()
    names: dict[Value, str] = {}
    labels: dict[Label, str] = {}

    def unique(wanted: str) -> str:
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name)
        return name

    def label_name(label: Label) -> str:
        if label not in labels:
            labels[label] = unique(label.given or label.base.lower())
        return labels[label]

    for value in graph.inputs:
        names[value] = unique(value.name or "input")
    given = {s for s in graph.leaves if isinstance(s, State) and s.name}
    for state in given:
        taken.add(str(state.name))
        names[state] = str(state.name)
    for node in graph.nodes:
        for read in node.inputs:
            if isinstance(read, State) and read not in names:
                names[read] = unique(f"{label_name(read.label)}.{read.role}")
        name = label_name(node.label)
        for index, output in enumerate(node.outputs):
            names[output] = output.name or unique(f"{name}:{index}")
    for leaf in graph.leaves:
        if isinstance(leaf, State) and leaf not in names:
            names[leaf] = unique(f"{label_name(leaf.label)}.{leaf.role}")
        elif not isinstance(leaf, Constant) and leaf not in names:
            names[leaf] = unique(leaf.name or "value")
    return names

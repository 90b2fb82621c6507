"""What a network is: graphs of nodes over typed values. This room knows no other."""

from eddl.graph.graph import (
    Constant,
    Graph,
    Input,
    Label,
    Node,
    State,
    Value,
    arithmetic,
    rebuild,
)
from eddl.graph.types import Dim, Opaque, Type

__all__ = [
    "Constant",
    "Dim",
    "Graph",
    "Input",
    "Label",
    "Node",
    "Opaque",
    "State",
    "Type",
    "Value",
    "arithmetic",
    "rebuild",
]

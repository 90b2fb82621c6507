"""The operator table: what each operator means, on any device.

An operator is one entry: its formal inputs and attributes under the ONNX standard's names and
defaults, the rule for its output types, its gradient as an expression in other operators, and how
it is computed: a `formula` (elementwise operators: every backend compiles it), a `body` in other
operators, or a kernel that backends offer under the operator's name. Inside there is one form of
every operator, that of opset `OPSET`; `upgrades` bring older files to it.

Adding an operator is one entry here and one row in `tests/eddl/ops/rows.py`; `tests/eddl/ops` runs
every row against an oracle and checks every gradient by central differences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError, GraphError, ShapeError, TypeMismatchError
from eddl.graph import Constant, Label, Node, Opaque, Type, Value

OPSET = 28
"""The one internal form: ai.onnx operators as this opset defines them."""

PRIVATE = "eddl"
"""The domain of operators that ONNX lacks."""

REQUIRED: Any = object()
"""Marks an attribute without a default."""

Gradients = Sequence[Value | None]


@dataclass(frozen=True)
class Call:
    """What a type rule sees: the operator, input types, constant inputs and attributes."""

    operator: Operator
    types: tuple[Type | None, ...]
    constants: tuple[np.ndarray[Any, Any] | None, ...]
    attributes: Mapping[str, Any]

    def type(self, index: int) -> Type:
        """The type of a required input."""
        found = self.types[index] if index < len(self.types) else None
        if found is None:
            raise GraphError(
                f"{self.operator.name}: input {self.operator.formal(index)} is missing; it is "
                "required"
            )
        return found

    def constant(self, index: int) -> np.ndarray[Any, Any] | None:
        """The content of an input, where it is known."""
        return self.constants[index] if index < len(self.constants) else None

    def given(self, index: int) -> bool:
        """Whether an optional input is there."""
        return index < len(self.types) and self.types[index] is not None

    def fail(self, expected: str) -> ShapeError:
        """The error for shapes that do not fit, naming what was received."""
        received = ", ".join(
            f"{self.operator.formal(i)} {t}" for i, t in enumerate(self.types) if t is not None
        )
        return ShapeError(f"{self.operator.name}: received {received}; expected {expected}")


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An entry of the table.

    `inputs` are formal names: `"X"`, optional `"B?"`, repeated `"data*"`. `outputs` counts the
    public ones; `infer` may give further, *saved* ones, which gradients read and files never hold.
    `gradient(node, *output_gradients)` gives one value, or `None`, for each input; an output
    gradient is `None` where nothing flows back. `body(node)` gives the outputs in other operators.
    `constant_inputs` must be known when a program is compiled. `float32` marks operators that
    compute in float32 whatever the network's precision. `any_output` marks a gradient that takes
    `None` for each output through which nothing flows, the first included. `gradient_of` names the
    operator whose gradient a private one is: its first inputs are that one's, its last what flows
    back into that one's outputs, and its body is that one's, differentiated. `random` names the
    private operator that stands in its place in training: it takes the same inputs, then the step,
    and has the attributes `seed` and `stream`. `host` marks operators
    that only the evaluator runs, since their results' shapes depend on data or they are no tensors.
    `upgrades` maps an opset to the function
    `(attributes, inputs) -> (attributes, inputs)` that brings the form before it to its own.
    """

    name: str
    inputs: tuple[str, ...]
    infer: Callable[[Call], Sequence[Type]]
    domain: str = ""
    since: int = 1
    outputs: int = 1
    attributes: Mapping[str, Any] = field(default_factory=dict)
    formula: str | Callable[[Node], str] | None = None
    body: Callable[[Node], Sequence[Value]] | None = None
    gradient: Callable[..., Gradients] | None = None
    constant_inputs: tuple[int, ...] = ()
    float32: bool = False
    any_output: bool = False
    gradient_of: str = ""
    random: str = ""
    host: bool = False
    upgrades: Mapping[int, Callable[..., Any]] = field(default_factory=dict)

    @property
    def variadic(self) -> bool:
        """Whether the last formal input repeats."""
        return bool(self.inputs) and self.inputs[-1].endswith("*")

    def formal(self, index: int) -> str:
        """The name of an input by position."""
        if self.variadic and index >= len(self.inputs) - 1:
            return f"{self.inputs[-1][:-1]}{index - len(self.inputs) + 1}"
        return self.inputs[index].rstrip("?")


TABLE: dict[tuple[str, str], Operator] = {}


def register(operator: Operator) -> Operator:
    """Add an entry to the table; a name can be taken once."""
    key = (operator.domain, operator.name)
    if key in TABLE:
        raise GraphError(f"the operator {key} is in the table already")
    TABLE[key] = operator
    return operator


def find(name: str, domain: str = "") -> Operator:
    """The entry of an operator; `GraphError` when the table has none."""
    try:
        return TABLE[domain, name]
    except KeyError:
        raise GraphError(
            f"received operator {name} of domain {domain or 'ai.onnx'!r}, which eddl's table does "
            f"not hold; it holds {len(TABLE)}: eddl.ops.TABLE lists them"
        ) from None


def entry(node: Node) -> Operator:
    """The entry of a node's operator."""
    return find(node.op, node.domain)


def infer(
    operator: Operator, inputs: Sequence[Value | None], attributes: Mapping[str, Any]
) -> list[Type]:
    """The types of all outputs, saved ones included, from the inputs' types and constants."""
    unknown: list[Type] = [Opaque()] * min(operator.outputs, 3)
    if any(v is not None and v.type.opaque for v in inputs):
        return unknown
    call = Call(
        operator,
        tuple(None if v is None else v.type for v in inputs),
        tuple(v.data if isinstance(v, Constant) else None for v in inputs),
        attributes,
    )
    try:
        return list(operator.infer(call)) or unknown
    except ShapeError:
        if any(call.given(i) and call.constant(i) is None for i in operator.constant_inputs):
            return unknown  # the rule wants what only a run will tell
        raise


def make_node(
    name: str,
    *inputs: Any,
    domain: str = "",
    label: Label | None = None,
    **attributes: Any,
) -> Node:
    """Apply an operator to values, arrays and numbers; numbers take the first value's type."""
    operator = find(name, domain)
    unknown = set(attributes) - set(operator.attributes)
    if unknown:
        raise AttributeValueError(
            f"{name}: received attributes {sorted(unknown)}, expected some of "
            f"{sorted(operator.attributes)}"
        )
    complete = {**operator.attributes, **attributes}
    missing = [key for key, value in complete.items() if value is REQUIRED]
    if missing:
        raise AttributeValueError(f"{name}: attributes {missing} are required and missing")
    if not operator.variadic and len(inputs) > len(operator.inputs):
        raise GraphError(
            f"{name}: received {len(inputs)} inputs, expected at most {len(operator.inputs)}"
        )
    values = as_values(inputs, name)
    return Node(
        name, values, infer(operator, values, complete), complete, domain=domain, label=label
    )


def apply(name: str, *inputs: Any, **options: Any) -> Value:
    """As `make_node`, giving the first output."""
    return make_node(name, *inputs, **options).outputs[0]


def as_values(inputs: Sequence[Any], name: str) -> list[Value | None]:
    """Values as they are, arrays as constants, plain numbers as constants of the values' type."""
    dtypes = [v.dtype for v in inputs if isinstance(v, Value)]
    values: list[Value | None] = []
    for item in inputs:
        if item is None or isinstance(item, Value):
            values.append(item)
        elif isinstance(item, (bool, int, float)):
            values.append(Constant(np.asarray(item, _number_type(item, dtypes, name))))
        elif isinstance(item, (np.ndarray, np.generic)):
            values.append(Constant(np.asarray(item)))
        else:
            raise TypeMismatchError(
                f"{name}: received {type(item).__name__} as an input, expected a symbolic tensor "
                "(eddl.Input or what a layer returns), an array or a number"
            )
    return values


def _number_type(number: float, dtypes: Sequence[np.dtype[Any]], name: str) -> Any:
    kinds = {bool: "b", int: "iuf", float: "f"}[type(number)]
    fitting = [dtype for dtype in dtypes if dtype.kind in kinds]
    if dtypes and not fitting:
        raise TypeMismatchError(
            f"{name}: received the number {number!r} beside tensors of {sorted(map(str, dtypes))}, "
            "expected a number of their type: cast the tensor or the number"
        )
    return fitting[0] if fitting else None


def unknown(call: Call) -> list[Type]:
    """The rule of an operator whose types only a run will tell."""
    return []


def axes_to_input(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    """The upgrade of operators whose axes were an attribute and became their second input."""
    axes = attributes.pop("axes", None)
    return attributes, [inputs[0], None if axes is None else integers(axes)]


axes_to_input.reads = ("axes",)  # type: ignore[attr-defined]


def integers(values: Sequence[int]) -> Constant:
    """A constant int64 vector, the form in which ONNX takes axes and shapes."""
    return Constant(np.asarray(values, np.int64).reshape(-1))


def copy_node(node: Node, inputs: Sequence[Value | None]) -> Sequence[Value]:
    """The node over other inputs, its output types inferred anew: what a pass does by default."""
    if all(new is old for new, old in zip(inputs, node.inputs, strict=True)):
        return node.outputs
    if all(map(_same_to_rules, inputs, node.inputs)):
        types = [value.type for value in node.outputs]
    else:
        types = infer(entry(node), inputs, node.attributes)
        types += [Opaque()] * (len(node.outputs) - len(types))
    return Node(
        node.op, inputs, types, node.attributes, domain=node.domain, label=node.label
    ).outputs


def renewed_node(node: Node, inputs: Sequence[Value | None]) -> Sequence[Value]:
    """The same, but a new node even where nothing changed: its place is behind what a pass made
    before, as it was."""
    outputs = copy_node(node, inputs)
    if outputs is not node.outputs:
        return outputs
    types = [value.type for value in outputs]
    return Node(
        node.op, inputs, types, node.attributes, domain=node.domain, label=node.label
    ).outputs


def _same_to_rules(new: Value | None, old: Value | None) -> bool:
    """Whether a type rule cannot tell two inputs apart: it sees types, and constants' content."""
    if new is old:
        return True
    if new is None or old is None or isinstance(new, Constant) or isinstance(old, Constant):
        return False
    return new.type == old.type

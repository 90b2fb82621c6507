"""Checking a document before anything runs: what is wrong, where, and what to do about it.

Each row has a JSON pointer into the document, a message and a fix, so that a page can mark the
field and a terminal can print a line. `tests/frontend/pipelines/test_check.py` has a case for every
kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jsonschema

from deephealth.errors import DeepHealthError, DocumentError, in_one_line
from deephealth.operations import CATALOGUE
from deephealth.operations.catalogue import Catalogue, Operation, suggest
from deephealth.operations.signature import convert
from deephealth.pipelines.document import _TYPES, Document, filled, referred


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a document.

    >>> print(Problem("/steps/0/op", "unknown operation 'red_image'", "did you mean read_image?"))
    /steps/0/op: unknown operation 'red_image'; did you mean read_image?
    """

    pointer: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.message}; {self.fix}"


def check(document: Document, catalogue: Catalogue = CATALOGUE) -> list[Problem]:
    """Everything that is wrong with a document; an empty list means that it can run.

    >>> from pathlib import Path
    >>> check(Document({"schema": "deephealth/pipeline/v1", "steps": []}, Path(".")))
    [Problem(pointer='/steps', message='[] should be non-empty', fix='...')]
    """
    shape = [
        Problem(_pointer(error.absolute_path), _short(error.message), _fix(error))
        for error in _validator().iter_errors(document.data)
    ]
    if shape:
        return shape
    problems = list(_parameter_problems(document))
    problems += _identity_problems(document)
    for index, step in enumerate(document.steps):
        where = f"/steps/{index}"
        try:
            operation = catalogue[step["op"]]
        except DeepHealthError as error:
            message, _, fix = str(error).partition("; ")
            problems.append(Problem(f"{where}/op", message, fix))
            continue
        problems += _setting_problems(document, step, where, operation)
        problems += _input_problems(document, step, where, operation, catalogue)
    try:
        order(document)
    except DocumentError as error:
        problems.append(Problem("/steps", str(error), "remove one of these inputs"))
    return problems


def order(document: Document) -> list[int]:
    """The positions of the steps in an order in which every input is ready; ties as written.

    >>> from pathlib import Path
    >>> steps = [{"id": "b", "op": "x", "inputs": {"in": "a.out"}}, {"id": "a", "op": "x"}]
    >>> order(Document({"steps": steps}, Path(".")))
    [1, 0]
    """
    steps = document.steps
    known = {step["id"] for step in steps}
    done: set[str] = set()
    waiting = list(range(len(steps)))
    found: list[int] = []
    while waiting:
        ready = next((index for index in waiting if not _needs(steps[index], known) - done), None)
        if ready is None:
            circle = ", ".join(steps[index]["id"] for index in waiting)
            raise DocumentError(f"the steps {circle} wait for each other in a circle")
        waiting.remove(ready)
        found.append(ready)
        done.add(steps[ready]["id"])
    return found


def _needs(step: dict[str, Any], known: set[str]) -> set[str]:
    return {edge.split(".")[0] for edge in step.get("inputs", {}).values()} & known


@cache
def _validator() -> Any:
    text = resources.files("deephealth.pipelines").joinpath("schema.json").read_text()
    return jsonschema.Draft202012Validator(json.loads(text))


def _parameter_problems(document: Document) -> Iterator[Problem]:
    for name, spec in document.declared.items():
        default = spec.get("default")
        expected = _TYPES[spec["type"]]
        if isinstance(default, str) and expected not in (str, _TYPES["path"]):
            yield Problem(
                f"/parameters/{name}/default", f"{default!r} is a text", f"write a {spec['type']}"
            )
        elif default is not None:
            try:
                convert(expected, default)
            except DeepHealthError as error:
                yield Problem(f"/parameters/{name}/default", str(error), "change it or the type")
        if name not in document.parameters:
            yield Problem(f"/parameters/{name}", "has no value", f"set {name}")


def _identity_problems(document: Document) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, step in enumerate(document.steps):
        if step["id"] in seen:
            first = seen[step["id"]]
            message = f"the id {step['id']!r} is that of step {first} too"
            yield Problem(f"/steps/{index}/id", message, "give it another id")
        seen.setdefault(step["id"], index)


def _setting_problems(
    document: Document, step: dict[str, Any], where: str, operation: Operation
) -> Iterator[Problem]:
    params = step.get("params", {})
    unknown = [
        name for name in _references(params) if name is not None and name not in document.declared
    ]
    if unknown:
        for name in unknown:
            hint = suggest(name, list(document.declared))
            yield Problem(f"{where}/params", f"refers to the unknown parameter ${name}", hint)
        return
    try:
        values = filled(params, document.parameters)
    except DocumentError:
        return  # a parameter without a value has its own row
    for error in jsonschema.Draft202012Validator(operation.schema).iter_errors(values):
        path = list(error.absolute_path)
        if error.validator == "additionalProperties" and not path:
            for name in sorted(set(values) - set(operation.parameters)):
                hint = suggest(name, list(operation.parameters))
                yield Problem(f"{where}/params/{name}", f"{operation.name} has no {name!r}", hint)
            continue
        raw = params.get(path[0]) if path else None
        reference = referred(raw)
        pointer = (
            f"/parameters/{reference}"
            if reference is not None
            else f"{where}/params{_pointer(path)}"
        )
        yield Problem(pointer, _short(error.message), _fix(error))


def _input_problems(
    document: Document, step: dict[str, Any], where: str, operation: Operation, catalogue: Catalogue
) -> Iterator[Problem]:
    by_id = {other["id"]: other for other in document.steps}
    inputs = step.get("inputs", {})
    for name, given in operation.inputs.items():
        if name not in inputs and not given.optional:
            fix = f"connect a port of the kind {given.port.name}"
            yield Problem(f"{where}/inputs", f"the input {name!r} is missing", fix)
    for name, edge in inputs.items():
        pointer = f"{where}/inputs/{name}"
        if name not in operation.inputs:
            message = f"{operation.name} has no input {name!r}"
            yield Problem(pointer, message, suggest(name, list(operation.inputs)))
            continue
        source, _, port = edge.partition(".")
        if source not in by_id:
            yield Problem(pointer, f"there is no step {source!r}", suggest(source, list(by_id)))
            continue
        if by_id[source]["op"] not in catalogue:
            continue  # the unknown operation has its own row
        outputs = catalogue[by_id[source]["op"]].outputs
        wanted = operation.inputs[name].port
        if port not in outputs:
            message = f"the step {source!r} has no output {port!r}"
            yield Problem(pointer, message, suggest(port, list(outputs)))
        elif outputs[port].name != wanted.name:
            message = f"{edge} is of the kind {outputs[port].name}, expected {wanted.name}"
            yield Problem(pointer, message, f"connect a port of the kind {wanted.name}")


def _references(value: Any) -> Iterator[str | None]:
    if isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _references(member)
    else:
        yield referred(value)


def _pointer(path: Any) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def _short(message: str) -> str:
    line = in_one_line(message)
    return line if len(line) <= 200 else f"{line[:197]}..."


def _fix(error: Any) -> str:
    if error.validator == "required":
        return "add it"
    if error.validator == "additionalProperties":
        return "remove it"
    expected = error.schema.get("description") if isinstance(error.schema, dict) else None
    return f"expected {expected or _short(json.dumps({error.validator: error.validator_value}))}"

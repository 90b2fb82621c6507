from pathlib import Path
from typing import Annotated, Literal

import pytest

from deephealth import DeepHealthError
from deephealth.operations.ports import InputPath, Range, Reads, Writes
from deephealth.operations.signature import REQUIRED, Parameter, convert, read, schema_of


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (Annotated[float, Range(0, 1)], {"type": "number", "minimum": 0, "maximum": 1}),
        (Literal["a", "b"], {"enum": ["a", "b"]}),
        (list[float], {"type": "array", "items": {"type": "number"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (InputPath, {"type": "string", "format": "path", "minLength": 1}),
        (
            Annotated[Path, Writes(".nii")],
            {"type": "string", "format": "path", "minLength": 1, "pattern": r"(\.nii)$"},
        ),
    ],
)
def test_schemas(annotation, schema):
    assert schema_of(annotation) == schema


@pytest.mark.parametrize(
    ("annotation", "given", "value"),
    [
        (int, "7", 7),
        (int, 7.0, 7),
        (float, "1e-3", 0.001),
        (float, 2, 2.0),
        (bool, "true", True),
        (str, "7", "7"),
        (Path, "a/b", Path("a/b")),
        (int | None, None, None),
        (int | None, "3", 3),
        (list[int], ["1", 2], [1, 2]),
        (tuple[float, float], [1, 2], (1.0, 2.0)),
        (dict[str, list[int]], {"a": ["1"]}, {"a": [1]}),
        (Literal[1, 2], "2", 2),
    ],
)
def test_conversion(annotation, given, value):
    converted = convert(annotation, given)
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("annotation", "given"),
    [
        (int, "7.5"),
        (int, 7.5),
        (int, True),
        (float, "nan"),
        (float, True),
        (bool, 1),
        (str, 7),
        (Path, 7),
        (list[int], "12"),
        (tuple[float, float], [1]),
        (Literal["a"], "b"),
        (int, "9" * 5000 + "x"),
    ],
)
def test_conversion_says_what_it_received(annotation, given):
    with pytest.raises(DeepHealthError, match="received"):
        convert(annotation, given)


def test_marks_are_found_beneath_optional():
    assert isinstance(Parameter(Annotated[InputPath | None, "a folder"], "a folder").mark, Reads)
    assert Parameter(int, "a number").mark is None


def test_a_signature_must_name_ports():
    def wrong(value: int) -> None: ...

    with pytest.raises(TypeError, match="port"):
        read(wrong)

    def also_wrong() -> int: ...

    with pytest.raises(TypeError, match="port"):
        read(also_wrong)


def test_a_parameter_without_a_default_is_required():
    def function(*, level: Annotated[float, "the level"]) -> None: ...

    assert read(function).parameters["level"].default is REQUIRED

from pathlib import Path

import pytest

from deephealth.pipelines import Document, check, load_builtin
from deephealth.pipelines.check import order

ONE = ("a", "constant", {"value": 1.0})


def rows(document, catalogue):
    return [(problem.pointer, problem.message) for problem in check(document, catalogue)]


def test_a_right_document_has_no_rows(document, catalogue):
    steps = [ONE, ("b", "split", {}, {"number": "a.number"}), ("c", "add", {}, {"a": "b.left"})]
    assert check(document(*steps), catalogue) == []


@pytest.mark.parametrize(
    ("steps", "pointer", "message", "fix"),
    [
        ([("a", "constnt")], "/steps/0/op", "unknown operation", "did you mean constant"),
        ([("a", "constant", {"vale": 1})], "/steps/0/params/vale", "has no", "did you mean value"),
        ([("a", "constant", {"value": "x"})], "/steps/0/params/value", "'x'", "the number"),
        ([("a", "constant", {"value": 1e9})], "/steps/0/params/value", "maximum", "the number"),
        ([("a", "read_number")], "/steps/0/params", "'path' is a required", "add it"),
        ([("a", "add")], "/steps/0/inputs", "'a' is missing", "connect"),
        ([ONE, ("b", "add", {}, {"a": "c.number"})],
         "/steps/1/inputs/a", "no step 'c'", "choose|mean"),
        ([ONE, ("b", "add", {}, {"a": "a.sum"})], "/steps/1/inputs/a", "no output", "number"),
        ([ONE, ("b", "add", {}, {"a": "a.number", "c": "a.number"})],
         "/steps/1/inputs/c", "no input", "a"),
        ([ONE, ("b", "say", {}, {"number": "a.number"}), ("c", "add", {}, {"a": "b.word"})],
         "/steps/2/inputs/a", "kind word, expected number", "connect"),
        ([ONE, ONE], "/steps/1/id", "step 0 too", "another id"),
        ([("a", "add", {}, {"a": "b.number"}), ("b", "add", {}, {"a": "a.number"})],
         "/steps", "circle", "remove"),
        ([("a", "add", {}, {"a": "a.number"})], "/steps", "circle", "remove"),
        ([("a", "constant", {"value": "$x"})], "/steps/0/params", "unknown parameter", ""),
    ],
)  # fmt: skip
def test_each_kind_of_problem_has_its_row(document, catalogue, steps, pointer, message, fix):
    import re

    found = check(document(*steps), catalogue)
    assert any(
        row.pointer == pointer and message in row.message and re.search(fix, row.fix)
        for row in found
    ), found


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"steps": []},
        {"schema": "deephealth/pipeline/v2", "steps": [{"id": "a", "op": "b"}]},
        {"schema": "deephealth/pipeline/v1", "steps": [{"id": "../a", "op": "b"}]},
        {"schema": "deephealth/pipeline/v1", "steps": [{"id": "a", "op": "b", "code": "x"}]},
        {"schema": "deephealth/pipeline/v1", "steps": [{"id": "a", "op": "b"}], "search": {}},
    ],
)
def test_the_shape_is_checked_first(data, catalogue):
    assert check(Document(data, Path(".")), catalogue)


def test_a_wrong_parameter_is_reported_where_it_is_declared(document, catalogue):
    made = document(
        ("a", "constant", {"value": "$size"}),
        parameters={"size": {"type": "number", "default": 1e9}},
    )
    assert rows(made, catalogue)[0][0] == "/parameters/size"
    assert rows(made.set(size=1), catalogue) == []


def test_a_default_of_the_wrong_type_and_a_missing_value(document, catalogue):
    made = document(
        ONE, parameters={"n": {"type": "integer", "default": "x"}, "m": {"type": "path"}}
    )
    assert [pointer for pointer, _ in rows(made, catalogue)] == [
        "/parameters/n/default",
        "/parameters/m",
    ]


def test_steps_run_as_written_where_inputs_allow(document):
    steps = [("c", "x", {}, {"p": "b.o"}), ("a", "x"), ("b", "x", {}, {"p": "a.o"})]
    assert order(document(*steps)) == [1, 2, 0]


def test_the_built_in_documents_pass():
    assert check(load_builtin("demo")) == []
    predict = load_builtin("predict").set(model="m.onnx", input="ct", output="l.nii.gz")
    assert check(predict) == []
    assert ".nii.gz or .nii" in check(predict.set(output="l.png"))[0].fix

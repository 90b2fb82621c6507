from pathlib import Path

import pytest

from deephealth import DocumentError
from deephealth.pipelines import Document, load, load_builtin
from deephealth.pipelines.document import filled, referred

PARAMETERS = {
    "epochs": {"type": "integer", "default": 40},
    "rate": {"type": "number", "default": 0.1},
    "input": {"type": "path"},
    "folder": {"type": "path", "default": None},
}


@pytest.fixture
def declared():
    return Document({"parameters": PARAMETERS}, Path("."))


def test_the_hash_ignores_ui_and_nothing_else(document):
    plain = document(("a", "constant"))
    assert document(("a", "constant"), ui={"zoom": 2}).hash == plain.hash
    assert document(("a", "constant"), name="b").hash != plain.hash


def test_parameters_are_converted_to_their_type(declared):
    chosen = declared.set(epochs="3", rate=1, input=Path("a.nii"))
    assert chosen.parameters == {"epochs": 3, "rate": 1.0, "input": "a.nii", "folder": None}
    assert declared.set(folder=None).parameters["folder"] is None
    assert "input" not in declared.parameters


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("epoch", 3, "did you mean epochs"), ("epochs", "3.5", "epochs: received '3.5'")],
)
def test_wrong_parameters_are_refused(declared, name, value, reason):
    with pytest.raises(DocumentError, match=reason):
        declared.set(**{name: value})


def test_references_stand_for_whole_values_only():
    assert referred("$a") == "a"
    assert referred("a$b") is None
    given = {"a": 1, "b": {"c": 2}}
    assert filled(["$a", {"x": "$b"}, "x $a", "$$a"], given) == [1, {"x": {"c": 2}}, "x $a", "$a"]
    with pytest.raises(DocumentError, match="no value"):
        filled("$missing", given)


def test_a_document_knows_its_folder(tmp_path):
    (tmp_path / "d.yml").write_text("schema: deephealth/pipeline/v1\nsteps: []")
    assert load(tmp_path / "d.yml").folder == tmp_path


@pytest.mark.parametrize("name", ["demo", "predict"])
def test_the_built_in_documents_explain_their_parameters(name):
    document = load_builtin(name)
    assert document.data["description"]
    assert all(spec["help"] for spec in document.declared.values())

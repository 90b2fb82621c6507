"""A small catalogue of operations on numbers, so that pipelines are tested without images."""

from pathlib import Path
from typing import Annotated, NamedTuple

import pytest

from deephealth.errors import DeepHealthError
from deephealth.operations.catalogue import Catalogue
from deephealth.operations.kinds import plain_port
from deephealth.operations.ports import Context, InputPath, Port, Range, Writes

Number = Annotated[float, plain_port("number", "a number", (int, float))]
Word = Annotated[str, Port("word", str, "a word, kept nowhere")]


class Halves(NamedTuple):
    left: Number
    right: Number


@pytest.fixture
def calls():
    return []


@pytest.fixture
def catalogue(calls):
    catalogue = Catalogue()

    @catalogue.operation("constant", help="a number")
    def constant(*, value: Annotated[float, Range(-1e6, 1e6), "the number"] = 1.0) -> Number:
        calls.append("constant")
        return value

    @catalogue.operation("add", help="the sum of two numbers", version=2)
    def add(
        a: Number, b: Number | None = None, *, times: Annotated[int, "how often"] = 1
    ) -> Number:
        calls.append("add")
        return a + times * (b or 0.0)

    @catalogue.operation("split", help="two halves of a number")
    def split(number: Number) -> Halves:
        calls.append("split")
        return Halves(number / 2, number / 2)

    @catalogue.operation("fail", help="always fails")
    def fail(a: Number) -> Number:
        calls.append("fail")
        raise DeepHealthError("there is nothing here; look elsewhere")

    @catalogue.operation("crash", help="has a fault")
    def crash() -> Number:
        return [][1]

    @catalogue.operation("say", help="a word about a number")
    def say(number: Number) -> Word:
        calls.append("say")
        return f"{number:g}"

    @catalogue.operation("read_number", help="a number from a file")
    def read_number(*, path: Annotated[InputPath, "a text file"]) -> Number:
        calls.append("read_number")
        return float(Path(path).read_text())

    @catalogue.operation("write_word", help="write a word", cached=False)
    def write_word(
        word: Word, *, path: Annotated[Path, Writes(".txt"), "where to"], context: Context
    ) -> None:
        calls.append("write_word")
        Path(path).write_text(f"{word} {sorted(context.facts['seconds'])}")

    @catalogue.operation("count", help="counts its runs in its folder")
    def count(*, stop: Annotated[bool, "fail after counting"] = False, context: Context) -> Number:
        calls.append("count")
        folder = context.folder
        assert folder is not None
        marks = folder / "marks"
        marks.write_text((marks.read_text() if marks.exists() else "") + "x")
        if stop and len(marks.read_text()) < 3:
            raise DeepHealthError("stopped")
        return float(len(marks.read_text()))

    return catalogue


@pytest.fixture
def document(tmp_path):
    """Make a document from steps written as (id, op, params, inputs)."""
    from deephealth.pipelines import Document

    def make(*steps, **parts):
        names = ("id", "op", "params", "inputs")
        rows = [dict(zip(names, step, strict=False)) for step in steps]
        folder = tmp_path / "document"
        folder.mkdir(exist_ok=True)
        return Document({"schema": "deephealth/pipeline/v1", "steps": rows, **parts}, folder)

    return make

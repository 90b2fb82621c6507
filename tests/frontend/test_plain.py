import json

import pytest

from deephealth import DocumentError, plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: no", {"a": "no"}),
        ("[1, -2, 1e-3, .5, '3', 0x10]", [1, -2, 0.001, 0.5, "3", "0x10"]),
        ("{a: true, b: null, c: ~}", {"a": True, "b": None, "c": None}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("2024-01-01", "2024-01-01"),
    ],
)
def test_yaml_gives_plain_data(text, value):
    assert plain.parse(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("!!python/object/apply:os.system [ls]", "tag"),
        ("a: !!python/name:os.system x", "tag"),
        ("a: 1\na: 2", "twice"),
        ("1: 2", "not a word"),
        ("[", "not YAML"),
        ("a: &a [*a]", "levels|unfolds|not YAML"),
        ("a: 1e999", "too large"),
        ("[" * 60 + "]" * 60, "levels"),
        ("[" * 20_000, "levels|not YAML"),
        ("\n".join(["a0: &a0 [0,0,0,0,0,0,0,0,0,0]"] + [
            f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)
        ]), "unfolds"),
        ("a" * (plain.MOST_BYTES + 1), "larger"),
    ],
)  # fmt: skip
def test_yaml_limits(text, reason):
    with pytest.raises(DocumentError, match=reason):
        plain.parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1e999}', "too large"),
        ("{", "not JSON"),
        ("[" * 60 + "]" * 60, "levels"),
        ("[" * 100_000, "levels"),
    ],
)
def test_json_limits(text, reason):
    with pytest.raises(DocumentError, match=reason):
        plain.parse(text, "json")


def test_text_that_is_not_utf8_is_refused():
    with pytest.raises(DocumentError, match="UTF-8"):
        plain.parse(b"\xff\xfe")


def test_reading_says_which_file(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"a": [1, 2.5]}))
    assert plain.read(tmp_path / "a.json") == {"a": [1, 2.5]}
    (tmp_path / "b.yml").write_text("[")
    with pytest.raises(DocumentError, match=r"b\.yml"):
        plain.read(tmp_path / "b.yml")
    with pytest.raises(DocumentError, match=r"ends in"):
        plain.read(tmp_path / "b.txt")


def test_the_digest_does_not_depend_on_the_order_of_keys():
    assert plain.digest({"a": 1, "b": [2]}) == plain.digest({"b": [2], "a": 1})
    assert plain.digest({"a": 1}) != plain.digest({"a": 1.5})

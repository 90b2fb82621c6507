"""The contract of every registered operation, and the catalogue's own behaviour."""

import argparse

import jsonschema
import pytest

from deephealth import DeepHealthError
from deephealth.operations import CATALOGUE
from deephealth.operations.signature import REQUIRED


@pytest.mark.parametrize("name", list(CATALOGUE))
class TestContract:
    def test_the_schema_is_one_and_the_defaults_fit(self, name):
        schema = CATALOGUE[name].schema
        jsonschema.Draft202012Validator.check_schema(schema)
        defaults = {
            key: part["default"] for key, part in schema["properties"].items() if "default" in part
        }
        validator = jsonschema.Draft202012Validator(schema | {"required": []})
        assert list(validator.iter_errors(defaults)) == []

    def test_everything_has_help(self, name):
        operation = CATALOGUE[name]
        assert operation.help
        assert operation.function.__doc__
        assert all(one.help for one in operation.parameters.values())
        ports = [given.port for given in operation.inputs.values()] + list(
            operation.outputs.values()
        )
        assert all(port.help for port in ports)
        assert all(key in operation.usage for key in [*operation.inputs, *operation.parameters])

    def test_a_call_without_what_is_needed_fails_with_a_reason(self, name):
        operation = CATALOGUE[name]
        needed = [key for key, given in operation.inputs.items() if not given.optional]
        needed += [key for key, one in operation.parameters.items() if one.default is REQUIRED]
        if needed:
            result = operation.run()
            assert not result.ok
            assert needed[0] in result.reason
            assert "unexpected" not in result.reason

    def test_wrong_inputs_fail_with_a_reason(self, name):
        operation = CATALOGUE[name]
        for key in operation.inputs:
            result = operation.run({key: object()})
            assert not result.ok
            assert "unexpected" not in result.reason
            assert "\n" not in result.reason

    def test_wrong_parameters_fail_with_a_reason(self, name):
        assert not CATALOGUE[name].run(parameters={"no such parameter": 1}).ok

    def test_the_command_line_follows_from_the_signature(self, name):
        operation = CATALOGUE[name]
        parser = argparse.ArgumentParser()
        operation.add_arguments(parser)
        text = parser.format_help()
        for key in [*operation.inputs, *operation.parameters]:
            assert f"--{key.replace('_', '-')}" in text

    def test_kept_ports_can_be_loaded(self, name):
        for port in CATALOGUE[name].outputs.values():
            assert (port.save is None) == (port.load is None)


def test_outputs_are_named_after_the_port_or_the_field(catalogue):
    assert catalogue["add"].run({"a": 1, "b": 2.5}, {"times": "2"}).value == {"number": 6.0}
    assert catalogue["split"].run({"number": 5}).value == {"left": 2.5, "right": 2.5}


def test_an_exception_becomes_a_reason(catalogue):
    failed = catalogue["fail"].run({"a": 1})
    assert failed.reason == "fail: there is nothing here; look elsewhere"
    crashed = catalogue["crash"].run()
    assert crashed.reason.startswith("crash: unexpected IndexError")
    assert isinstance(crashed.error, IndexError)


def test_an_unknown_name_is_answered_with_a_close_one(catalogue):
    with pytest.raises(DeepHealthError, match="did you mean constant"):
        catalogue["constnt"]


def test_a_name_is_registered_once(catalogue):
    with pytest.raises(ValueError, match="twice"):
        catalogue.operation("add", help="again")(lambda: None)

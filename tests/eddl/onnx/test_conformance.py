"""ONNX's own backend tests, every case of them; each exclusion has its reason beside it.

`eddl doctor --conformance` gives the same score as a certificate.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import pytest
from onnx.backend.test import BackendTest

from eddl.onnx.backend import EddlBackend
from eddl.onnx.conformance import cases, run_case
from eddl.onnx.load import to_model
from eddl.onnx.save import to_proto
from eddl.ops import OPSET

EXCLUDED = {
    r"test_bernoulli": "random: the expected numbers are those of one generator",
    r"test_image_decoder": "decoding files is not a numeric library's work",
}

CASES = list(cases())


def excluded(name: str) -> str | None:
    return next((why for pattern, why in EXCLUDED.items() if re.match(pattern, name)), None)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "case", [case for case in CASES if not excluded(case.name)], ids=lambda case: case.name
)
def test_case(case):
    run_case(case)


NOT_WRITTEN = {
    "test_gradient_of_add": "a derivative is written as the nodes that compute it, for fixed sizes",
    "test_gradient_of_add_and_mul": "as above",
    "test_scan_sum": "Scan's batch axis of opset 8 has no later form",
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "case",
    [c for c in CASES if not excluded(c.name) and c.name not in NOT_WRITTEN and c.kind != "real"],
    ids=lambda case: case.name,
)
def test_case_after_it_was_written_and_read_again(case):
    model = to_model(case.model)
    run_case(replace(case, model=to_proto(model, metadata={}, opset=OPSET)))


def test_the_score():
    """The goals of the engine: 1,150 of the plain node cases and 1,500 of all, whatever is left."""
    ours = [case for case in CASES if not excluded(case.name)]
    plain = sum(case.kind == "node, plain" for case in ours)
    node = plain + sum(case.kind == "node, expanded" for case in ours)
    assert plain >= 1150
    assert node >= 1500
    whole = [case for case in CASES if not case.kind.startswith("node")]
    assert len(whole) - sum(not excluded(case.name) for case in whole) <= 5


def test_every_exclusion_excludes_something():
    for pattern in EXCLUDED:
        assert any(re.match(pattern, case.name) for case in CASES), pattern


def test_the_standard_interface_is_taken_by_the_standard_runner():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        suite = BackendTest(EddlBackend, __name__).include(r"^test_conv_with_strides_padding_cpu")
        found = suite.test_suite
    import unittest

    result = unittest.TestResult()
    found.run(result)
    assert result.testsRun >= 1 and result.wasSuccessful()
    assert EddlBackend.supports_device("CPU")
    assert not EddlBackend.supports_device("CUDA")

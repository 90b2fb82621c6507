"""The catalogue of operations: every step that a pipeline may name.

This is the only room that knows ecvl and eddl.
"""

from deephealth.operations import cases, data, images, network, reports, rule, slices, training
from deephealth.operations.catalogue import CATALOGUE, Catalogue, Operation, operation

__all__ = [
    "CATALOGUE",
    "Catalogue",
    "Operation",
    "cases",
    "data",
    "images",
    "network",
    "operation",
    "reports",
    "rule",
    "slices",
    "training",
]

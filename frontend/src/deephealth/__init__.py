"""The DeepHealth toolkit's front-end: pipelines over ecvl and eddl for people who do not program.

An operation is a typed box of the catalogue, a pipeline is a document of such boxes, and everything
the command line does (``deephealth demo`` and ``deephealth predict`` included) is such a document
run by one runner. From Python, one box at a time::

    from deephealth import Tool

    Tool("read_image").set(source="ct.nii.gz").run().on_success(print)

Only the room ``operations`` knows ecvl and eddl; importing this package loads neither.
"""

from deephealth.errors import DataUnavailableError, DeepHealthError, DocumentError
from deephealth.result import Result
from deephealth.tool import Tool

__version__ = "0.1.0"

__all__ = [
    "DataUnavailableError",
    "DeepHealthError",
    "DocumentError",
    "Result",
    "Tool",
    "__version__",
]

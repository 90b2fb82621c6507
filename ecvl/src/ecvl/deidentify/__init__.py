"""De-identification: a handler a format, one secret key a project, a report of what was done."""

from ecvl.deidentify import dicom, pictures, tiff, volumes
from ecvl.deidentify.handlers import HANDLERS, Handler, Options
from ecvl.deidentify.report import FileReport, Report
from ecvl.deidentify.run import deidentify
from ecvl.deidentify.secret import new_key

__all__ = [
    "HANDLERS",
    "FileReport",
    "Handler",
    "Options",
    "Report",
    "deidentify",
    "dicom",
    "new_key",
    "pictures",
    "tiff",
    "volumes",
]

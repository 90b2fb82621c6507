"""Reading and writing: one registry of formats, one file a format."""

from ecvl.io.dicom import (
    DicomRead,
    DicomSeries,
    DicomWrite,
    dicom_series,
    dicom_structures,
    suv,
)
from ecvl.io.lazy import LazyImage
from ecvl.io.nifti import NiftiRead, NiftiWrite
from ecvl.io.registry import FORMATS, Format, Info, info, read, write

__all__ = [
    "FORMATS",
    "DicomRead",
    "DicomSeries",
    "DicomWrite",
    "Format",
    "Info",
    "LazyImage",
    "NiftiRead",
    "NiftiWrite",
    "dicom_series",
    "dicom_structures",
    "info",
    "read",
    "suv",
    "write",
]

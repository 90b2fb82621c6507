"""Reading and writing: one registry of formats, one file a format."""

from ecvl.io import metaimage, nrrd, tiff
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
from ecvl.io.pictures import ImRead, ImWrite
from ecvl.io.registry import FORMATS, Format, Info, info, read, write
from ecvl.io.slides import Slide, open_slide

__all__ = [
    "FORMATS",
    "DicomRead",
    "DicomSeries",
    "DicomWrite",
    "Format",
    "ImRead",
    "ImWrite",
    "Info",
    "LazyImage",
    "NiftiRead",
    "NiftiWrite",
    "Slide",
    "dicom_series",
    "dicom_structures",
    "info",
    "metaimage",
    "nrrd",
    "open_slide",
    "read",
    "suv",
    "tiff",
    "write",
]

"""Reading and writing: one registry of formats, one file a format."""

from ecvl.io import metaimage, nrrd, tiff
from ecvl.io.dicom import DicomRead, DicomSeries, dicom_series
from ecvl.io.lazy import LazyImage
from ecvl.io.nifti import NiftiRead, NiftiWrite
from ecvl.io.pictures import ImRead, ImWrite
from ecvl.io.registry import FORMATS, Format, Info, info, read, write

__all__ = [
    "FORMATS",
    "DicomRead",
    "DicomSeries",
    "Format",
    "ImRead",
    "ImWrite",
    "Info",
    "LazyImage",
    "NiftiRead",
    "NiftiWrite",
    "dicom_series",
    "info",
    "metaimage",
    "nrrd",
    "read",
    "tiff",
    "write",
]

"""ecvl: medical images, read, processed, augmented, partitioned and loaded with their geometry.

Nothing heavy is loaded by `import ecvl`: nibabel, pydicom, SimpleITK and OpenCV load in the
functions that need them.
"""

from ecvl import augment, deidentify, process
from ecvl.adapters import from_nibabel, from_sitk, to_nibabel, to_sitk
from ecvl.dataset import Batch, Dataset, Loader, slices
from ecvl.errors import (
    EcvlError,
    FileError,
    FormatError,
    GeometryError,
    KindError,
    MissingExtraError,
    MissingFileError,
    ParameterError,
    SampleError,
    SeriesError,
)
from ecvl.image import Image
from ecvl.io import (
    DicomRead,
    DicomSeries,
    DicomWrite,
    ImRead,
    ImWrite,
    Info,
    LazyImage,
    NiftiRead,
    NiftiWrite,
    Slide,
    dicom_series,
    dicom_structures,
    info,
    open_slide,
    read,
    suv,
    write,
)
from ecvl.process import *  # noqa: F403 - every processing function, under its name
from ecvl.sample import Sample
from ecvl.steps import Steps
from ecvl.tensors import Tensor

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Dataset",
    "DicomRead",
    "DicomSeries",
    "DicomWrite",
    "EcvlError",
    "FileError",
    "FormatError",
    "GeometryError",
    "ImRead",
    "ImWrite",
    "Image",
    "Info",
    "KindError",
    "LazyImage",
    "Loader",
    "MissingExtraError",
    "MissingFileError",
    "NiftiRead",
    "NiftiWrite",
    "ParameterError",
    "Sample",
    "SampleError",
    "SeriesError",
    "Slide",
    "Steps",
    "Tensor",
    "augment",
    "deidentify",
    "dicom_series",
    "dicom_structures",
    "from_nibabel",
    "from_sitk",
    "info",
    "open_slide",
    "process",
    "read",
    "slices",
    "suv",
    "to_nibabel",
    "to_sitk",
    "write",
]
__all__ += process.__all__

"""DICOM: images of every sort, segmentations, structures, and writing; one idea a file.

`files` parses a file, `alike` the files of a series, `frames` finds the images in them, `geometry`
and `arrange` their places, `pixels` and `values` decode them; `read` puts it together. `modules`,
`write` and `segmentation` make objects, `structures` fills contours.
"""

from ecvl.io.dicom.read import DicomRead, dicom_info
from ecvl.io.dicom.series import DicomSeries, dicom_series
from ecvl.io.dicom.structures import dicom_structures
from ecvl.io.dicom.suv import suv
from ecvl.io.dicom.write import DicomWrite

__all__ = [
    "DicomRead",
    "DicomSeries",
    "DicomWrite",
    "dicom_info",
    "dicom_series",
    "dicom_structures",
    "suv",
]

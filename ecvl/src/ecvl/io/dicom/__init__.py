"""DICOM: reading series and multi-frame images, one idea a file."""

from ecvl.io.dicom.read import DicomRead, dicom_info
from ecvl.io.dicom.series import DicomSeries, dicom_series

__all__ = ["DicomRead", "DicomSeries", "dicom_info", "dicom_series"]

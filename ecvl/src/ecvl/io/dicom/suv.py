"""Standardised uptake values of PET, by body weight.

SUV = activity (Bq/ml) * weight (g) / dose (Bq), the dose decayed to the moment that the scanner
corrected the activity to (QIBA's vendor-neutral rules for Units BQML). Held by
`tests/ecvl/test_dicom_suv.py`.
"""

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from ecvl.errors import FormatError
from ecvl.image import Image, require_kind

GREATEST_WAIT = timedelta(days=1)


def suv(image: Image) -> Image:
    """Return a PET image in SUV by body weight (g/ml).

    Args:
        image: as `DicomRead` gives it, its `meta` intact.

    Returns:
        The same image in float32; an image that is in g/ml already (Units GML) as it is.

    Raises:
        FormatError: it is no PET image in Bq/ml corrected for decay and attenuation, or weight,
            dose, half-life or times are missing; the message names what.

    Example:
        >>> import numpy as np
        >>> suv(Image(np.ones((2, 2)), "yx"))
        Traceback (most recent call last):
        ecvl.errors.FormatError: expected a PET image read from DICOM, received ...
    """
    require_kind(image, "image", "suv")
    common = image.meta.get("common") or {}
    if common.get("Modality") != "PT":
        raise FormatError(
            "expected a PET image read from DICOM, received modality "
            f"{common.get('Modality') or 'unknown'!r}"
        )
    units = common.get("Units")
    if units == "GML" and common.get("SUVType", "BW") == "BW":
        return image
    if units != "BQML":
        raise FormatError(f"expected Units BQML or GML, received {units!r}")
    corrected = common.get("CorrectedImage") or []
    missing = {"DECY", "ATTN"} - set([corrected] if isinstance(corrected, str) else corrected)
    if missing:
        raise FormatError(f"expected an image corrected for {sorted(missing)} (CorrectedImage)")
    tracer = image.meta.get("radiopharmaceutical") or {}
    weight = _positive(common, "PatientWeight")
    dose = _positive(tracer, "RadionuclideTotalDose")
    correction = common.get("DecayCorrection")
    if correction == "START":
        half_life = _positive(tracer, "RadionuclideHalfLife")
        wait = _scan_start(image) - _injection(tracer, _scan_start(image))
        if not timedelta(0) <= wait <= GREATEST_WAIT:
            raise FormatError(
                f"expected an injection within a day before the scan, received {wait} between them"
            )
        dose *= 2 ** (-wait.total_seconds() / half_life)
    elif correction != "ADMIN":
        raise FormatError(f"expected DecayCorrection START or ADMIN, received {correction!r}")
    values = np.multiply(image.array, weight * 1000 / dose, dtype=np.float64).astype(np.float32)
    return image.replace(array=values)


def _positive(source: Any, keyword: str) -> float:
    value = source.get(keyword)
    if not isinstance(value, int | float) or not 0 < value < 1e15:
        raise FormatError(f"expected {keyword} above 0 in the PET headers, received none")
    return float(value)


def _scan_start(image: Image) -> datetime:
    """The beginning of the series, or of the first image where that is earlier.

    Series that were worked on later bear the time of that work.
    """
    common = image.meta["common"]
    found = [_moment(common, "Series")]
    found += [_moment({**common, **row}, "Acquisition") for row in image.meta.get("slices") or [{}]]
    known = [moment for moment in found if moment is not None]
    if not known:
        raise FormatError("expected SeriesDate and SeriesTime in the PET headers, received none")
    return min(known)


def _injection(tracer: Any, scan: datetime) -> datetime:
    said = str(tracer.get("RadiopharmaceuticalStartDateTime") or "")
    if (moment := _parsed(said[:8], said[8:])) is not None:
        return moment
    start = _parsed(scan.strftime("%Y%m%d"), str(tracer.get("RadiopharmaceuticalStartTime") or ""))
    if start is None:
        raise FormatError("expected a RadiopharmaceuticalStartTime, received none")
    # A time without a day: the last such time before the scan.
    return start if start <= scan else start - timedelta(days=1)


def _moment(source: Any, event: str) -> datetime | None:
    return _parsed(str(source.get(f"{event}Date") or ""), str(source.get(f"{event}Time") or ""))


def _parsed(day: str, time: str) -> datetime | None:
    """A moment of DICOM's date and time; `None` where they are none. Time zones are dropped."""
    digits = time.replace(":", "")
    for sign in "+-":
        digits = digits.split(sign)[0]
    whole, _, fraction = digits.partition(".")
    if len(day) != 8 or len(whole) < 4:
        return None
    try:
        moment = datetime.strptime(day + whole[:6].ljust(6, "0"), "%Y%m%d%H%M%S")
        return moment + timedelta(microseconds=int(fraction[:6].ljust(6, "0") or 0))
    except ValueError:
        return None

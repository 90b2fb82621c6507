"""Only an `EcvlError` comes out of reading a file, whatever is in it, soon and in little memory."""

import gzip
import os
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

import ecvl
from ecvl import EcvlError, Image
from ecvl.io import FORMATS

MEBIBYTE = 1 << 20
EXAMPLES = int(os.environ.get("ECVL_FUZZ_EXAMPLES", "120"))


def _nifti_seed(tmp: Path) -> bytes:
    ecvl.write(tmp / "seed.nii", Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), "zyx"))
    return (tmp / "seed.nii").read_bytes()


def _dicom_seed(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


SEEDS: dict[str, Any] = {
    "nifti": ("a.nii", _nifti_seed),
    "nifti gz": ("a.nii.gz", lambda tmp: gzip.compress(_nifti_seed(tmp), mtime=0)),
    "dicom": ("a.dcm", lambda tmp: _dicom_seed("MR_small.dcm")[:4000]),
    "dicom whole": ("a.dcm", lambda tmp: _dicom_seed("MR_small_RLE.dcm")),
    "dicom j2k": ("a.dcm", lambda tmp: _dicom_seed("MR_small_jp2klossless.dcm")),
    "dicom implicit": ("a.dcm", lambda tmp: _dicom_seed("rtstruct.dcm")),
    "dicom deflated": ("a.dcm", lambda tmp: _dicom_seed("image_dfl.dcm")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def test_every_format_is_fuzzed() -> None:
    assert {name.split()[0] for name in SEEDS} == set(FORMATS)


def _act(path: Path) -> None:
    for act in (ecvl.read, ecvl.info):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()
        try:
            act(path)
        except EcvlError as error:
            message = str(error)
        else:
            message = "it was read"
        assert message
        assert "\n" not in message
        assert time.monotonic() - started < 5
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        assert grown < 300 * MEBIBYTE


@pytest.mark.parametrize("seed", SEEDS)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_mutated_files(folder: Path, seed: str, data: st.DataObject) -> None:
    name, make = SEEDS[seed]
    content = bytearray(make(folder))
    # The headers are where the harm is: most mutations go there.
    ends = [min(len(content), 700), len(content)]
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, data.draw(st.sampled_from(ends)) - 1))
        patch = data.draw(
            st.one_of(
                st.binary(min_size=1, max_size=4),
                st.sampled_from(
                    [b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\xff\x7f", b"\x00" * 8]
                ),
            )
        )
        content[at : at + len(patch)] = patch
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    (folder / name).write_bytes(content)
    _act(folder / name)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=st.binary(max_size=600), prefix=st.sampled_from(["", "gzip", "nifti", "dicom"]))
def test_arbitrary_files(folder: Path, content: bytes, prefix: str) -> None:
    start = {
        "": b"",
        "gzip": b"\x1f\x8b\x08\x00",
        "nifti": (348).to_bytes(4, "little"),
        "dicom": b"\0" * 128 + b"DICM\x02\x00\x00\x00UL\x04\x00",
    }[prefix]
    (folder / "any").write_bytes(start + content)
    _act(folder / "any")


def test_deeply_nested_sequences(folder: Path) -> None:
    item = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    head = b"\0" * 128 + b"DICM" + b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00"
    (folder / "deep.dcm").write_bytes(head + item * 20_000)
    _act(folder / "deep.dcm")

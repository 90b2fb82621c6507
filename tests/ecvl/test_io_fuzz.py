"""Only an `EcvlError` comes out of reading bytes of any sort; mutants of files are in `fuzz/`."""

import os
import resource
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ecvl
from ecvl import EcvlError

MEBIBYTE = 1 << 20
STARTS = {
    "": b"",
    "gzip": b"\x1f\x8b\x08\x00",
    "nifti": (348).to_bytes(4, "little"),
    "dicom": b"\0" * 128 + b"DICM\x02\x00\x00\x00UL\x04\x00",
    "nrrd": b"NRRD0004\n",
    "metaimage": b"ObjectType = Image\nNDims = 3\n",
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "jpeg": b"\xff\xd8\xff",
    "bmp": b"BM",
    "gif": b"GIF89a",
    "webp": b"RIFF\x40\0\0\0WEBPVP8",
    "pnm": b"P5 ",
    "tiff": b"II*\0\x08\0\0\0\x09\0",
}
EXAMPLES = int(os.environ.get("ECVL_FUZZ_EXAMPLES", "120"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


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


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=st.binary(max_size=600), prefix=st.sampled_from(sorted(STARTS)))
def test_arbitrary_files(folder: Path, content: bytes, prefix: str) -> None:
    (folder / "any").write_bytes(STARTS[prefix] + content)
    _act(folder / "any")


def test_deeply_nested_sequences(folder: Path) -> None:
    item = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    head = b"\0" * 128 + b"DICM" + b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00"
    (folder / "deep.dcm").write_bytes(head + item * 20_000)
    _act(folder / "deep.dcm")

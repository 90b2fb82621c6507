"""The command line as people run it, on a synthetic patient that trains in seconds."""

import hashlib
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
import pydicom
import pytest
import yaml
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

LIVER, SPLEEN, KIDNEY, BONE = 5, 1, 2, 30
HU = {0: 20, LIVER: 120, SPLEEN: 200, KIDNEY: 60, BONE: 700}


def phantom(shape, seed):
    """HU and labels of a body in RAS+ voxels x, y, z; organs lie at fractions of its extent."""
    rng = np.random.default_rng(seed)
    place = np.meshgrid(*[(np.arange(n) + 0.5) / n for n in shape], indexing="ij")

    def ball(x, y, z, radius):
        centre = np.array([x, y, z]) + rng.uniform(-0.02, 0.02, 3)
        scales = (1.0, 1.0, 0.35)
        parts = zip(place, centre, scales, strict=True)
        return sum(((p - c) * s) ** 2 for p, c, s in parts) < radius**2

    body = (place[0] - 0.5) ** 2 / 0.21 + (place[1] - 0.5) ** 2 / 0.14 < 1
    labels = np.zeros(shape, np.uint8)
    labels[ball(0.66, 0.55, 0.5, 0.16)] = LIVER
    labels[ball(0.3, 0.5, 0.5, 0.1)] = SPLEEN
    labels[ball(0.38, 0.32, 0.5, 0.06)] = KIDNEY
    labels[(place[0] - 0.5) ** 2 + (place[1] - 0.25) ** 2 < 0.07**2] = BONE
    values = np.where(body, np.vectorize(HU.get)(labels), -1000)
    values = values + rng.normal(0, 12, shape) * body
    return values.astype(np.int16), np.where(body, labels, 0).astype(np.uint8)


def write_series(folder, values, spacing):
    """A CT series, head first supine, from voxels in RAS+ order."""
    folder.mkdir(parents=True)
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    for number in range(values.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_ = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        slice_.SeriesInstanceUID, slice_.StudyInstanceUID = series, study
        slice_.FrameOfReferenceUID, slice_.Modality = frame, "CT"
        slice_.PatientName, slice_.PatientID = "Winterbottom^Jane", "9876543210"
        slice_.InstanceNumber = number + 1
        slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        slice_.ImagePositionPatient = [0, 0, float(number * spacing[2])]
        slice_.PixelSpacing = [spacing[1], spacing[0]]
        slice_.SliceThickness = spacing[2]
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 16, 16, 15
        slice_.PixelRepresentation = 0
        slice_.RescaleIntercept, slice_.RescaleSlope = -1024, 1
        # DICOM's x runs to the left and y to the back.
        plane = values[::-1, ::-1, number].T + 1024
        slice_.Rows, slice_.Columns = plane.shape
        slice_.PixelData = np.clip(plane, 0, 65535).astype("<u2").tobytes()
        pydicom.dcmwrite(folder / f"{number:02}.dcm", slice_, enforce_file_format=True)


def write_nifti(path, values, spacing, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*spacing, 1.0]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """A folder with an archive as a registry would give it, and the manifest of it."""
    folder = tmp_path_factory.mktemp("source")
    root = folder / "phantom-1.0"
    values, labels = phantom((48, 40, 40), 0)
    write_nifti(root / "ct.nii.gz", values, (5, 5, 5))
    write_nifti(root / "labels.nii.gz", labels, (5, 5, 5))
    spacing = (4, 4, 6)
    values, labels = phantom((60, 50, 16), 1)
    write_series(root / "series", values, spacing)
    # The series' voxels in RAS+ begin at its last column and row.
    affine = np.diag([*map(float, spacing), 1.0])
    affine[:2, 3] = -(60 - 1) * 4, -(50 - 1) * 4
    write_nifti(root / "second.nii.gz", labels, spacing, affine)
    with tarfile.open(folder / "phantom-1.0.tar.gz", "w:gz") as tar:
        tar.add(root, "phantom-1.0")
    names = {"ct.nii.gz": "first/ct.nii.gz", "labels.nii.gz": "first/labels.nii.gz"}
    names |= {"second.nii.gz": "second/labels.nii.gz"}
    names |= {f"series/{one.name}": f"second/series/{one.name}" for one in root.glob("series/*")}
    archive = (folder / "phantom-1.0.tar.gz").read_bytes()
    manifest = {
        "schema": "deephealth/data/v1",
        "name": "phantom",
        "title": "Two drawn patients",
        "client": "pip sdist",
        "package": "phantom",
        "version": "1.0",
        "archive": "phantom-1.0.tar.gz",
        "bytes": len(archive),
        "sha256": hashlib.sha256(archive).hexdigest(),
        "licence": "MIT",
        "citation": "none",
        "reference": "the drawing",
        "note": "Nobody was scanned.",
        "labels": {"liver": [LIVER], "spleen": [SPLEEN], "kidneys": [KIDNEY], "bones": [BONE]},
        "split": {"block": 8, "every": 4, "gap": 2},
        "members": [
            {
                "file": file,
                "from": f"phantom-1.0/{name}",
                "bytes": len((root / name).read_bytes()),
                "sha256": hashlib.sha256((root / name).read_bytes()).hexdigest(),
            }
            for name, file in names.items()
        ],
    }
    (folder / "phantom.yml").write_text(yaml.safe_dump(manifest))
    return folder


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Variables of a machine without network and with an empty cache."""
    cache = tmp_path_factory.mktemp("cache")
    return {
        **os.environ,
        "XDG_CACHE_HOME": str(cache),
        "PIP_INDEX_URL": "file:///no/such/index",
        "PIP_CONFIG_FILE": os.devnull,
        "MPLBACKEND": "agg",
    }


@pytest.fixture(scope="session")
def deephealth(environment):
    """Run the command line and wait for it."""

    def start(*arguments, folder=None, timeout=300):
        command = [sys.executable, "-m", "deephealth", *map(str, arguments)]
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return start


@pytest.fixture(scope="session")
def demo_arguments(source):
    """The demo on the synthetic patients."""
    data = ["--data", source, "--manifest", source / "phantom.yml"]
    return ["demo", "--epochs", "6", *map(str, data)]


class Finished(NamedTuple):
    out: Path
    done: subprocess.CompletedProcess
    seconds: float


@pytest.fixture(scope="session")
def finished(deephealth, demo_arguments, tmp_path_factory):
    """A finished demo: its folder, what it printed, and how many seconds it took."""
    out = tmp_path_factory.mktemp("demo") / "out"
    started = time.monotonic()
    done = deephealth(*demo_arguments, "--out", out)
    assert done.returncode == 0, done.stderr
    return Finished(out, done, time.monotonic() - started)

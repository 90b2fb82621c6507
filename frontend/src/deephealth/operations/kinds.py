"""The kinds of data that travel between operations, each a port with its plug and constructor."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

import ecvl
from deephealth import files, plain
from deephealth.errors import DeepHealthError
from deephealth.operations.ports import Port
from deephealth.report import Case


@dataclass(frozen=True)
class SourceFile:
    """A file or folder that exists, with the hash of its content where that is known already.

    >>> SourceFile(Path("ct.nii.gz")).path.name
    'ct.nii.gz'
    """

    path: Path
    fingerprint: str | None = None

    def member(self, name: str) -> Path:
        """The path of a file or folder inside, or of itself for an empty name.

        >>> SourceFile(Path("/data")).member("../secret")
        Traceback (most recent call last):
        deephealth.errors.DeepHealthError: ../secret leads outside /data; name a member of it
        """
        path = (self.path / name).resolve() if name else self.path
        if name and not path.is_relative_to(self.path.resolve()):
            raise DeepHealthError(f"{name} leads outside {self.path}; name a member of it")
        if not path.exists():
            raise DeepHealthError(f"{path} does not exist; check the name")
        return path


def _open(value: Any) -> SourceFile:
    if not isinstance(value, str | Path):
        raise DeepHealthError(f"received {type(value).__name__}, expected a path")
    if not Path(value).exists():
        raise DeepHealthError(f"{value} does not exist; check the name")
    return SourceFile(Path(value))


def plain_port(name: str, help: str, holds: type | tuple[type, ...] = dict) -> Port:
    """A port of plain data: kept as JSON, hashed by content, written as a JSON file.

    >>> plain_port("scores", "agreement").plug is not None
    True
    """

    def load(folder: Path) -> Any:
        return json.loads((folder / "value.json").read_text(encoding="utf-8"))

    def save(value: Any, folder: Path) -> None:
        (folder / "value.json").write_text(json.dumps(value), encoding="utf-8")

    def plug(value: Any) -> Any:
        if isinstance(value, str | Path):
            found = plain.read(Path(value))
            if isinstance(found, holds):
                return found
        raise DeepHealthError(f"received {type(value).__name__}, expected {help} or its JSON file")

    def constructor(value: Any, path: Path) -> None:
        files.write(path, json.dumps(value, indent=2))

    return Port(
        name, holds, help, plug, constructor, (".json",), save, load, fingerprint=plain.digest
    )


Source = Annotated[
    SourceFile,
    Port(
        "source",
        SourceFile,
        "a file or folder",
        plug=_open,
        fingerprint=lambda value: value.fingerprint or files.sha256(value.path),
    ),
]
Groups = Annotated[dict[str, list[int]], plain_port("groups", "label numbers by name")]
Split = Annotated[dict[str, int], plain_port("split", "how slices are divided")]
Provenance = Annotated[dict[str, Any], plain_port("provenance", "where data is from")]
History = Annotated[dict[str, list[float]], plain_port("history", "figures by epoch")]
Rule = Annotated[dict[str, dict[str, float]], plain_port("rule", "an intensity window by organ")]
Summary = Annotated[dict[str, Any], plain_port("summary", "the figures of a report")]


@dataclass(frozen=True)
class ModelFile:
    """A model as its ONNX file.

    >>> ModelFile(Path("model.onnx")).path.suffix
    '.onnx'
    """

    path: Path


def _save_model(value: ModelFile, folder: Path) -> None:
    shutil.copyfile(value.path, folder / "model.onnx")


def _write_model(value: ModelFile, path: Path) -> None:
    with files.replacing(path) as temporary:
        shutil.copyfile(value.path, temporary)


Model = Annotated[
    ModelFile,
    Port(
        "model",
        ModelFile,
        "a model with its preprocessing",
        plug=lambda value: ModelFile(_open(value).path),
        constructor=_write_model,
        endings=(".onnx",),
        save=_save_model,
        load=lambda folder: ModelFile(folder / "model.onnx"),
        fingerprint=lambda value: files.sha256(value.path),
    ),
]


def _read_image(value: Any) -> ecvl.Image:
    return ecvl.read(_open(value).path, kind="image", dimensions=3)


def _read_labels(value: Any) -> ecvl.Image:
    return ecvl.read(_open(value).path, kind="labels", dimensions=3)


def _write_nifti(value: ecvl.Image, path: Path) -> None:
    ecvl.NiftiWrite(path, value)


Volume = Annotated[
    ecvl.Image,
    Port(
        "volume",
        ecvl.Image,
        "a three-dimensional image",
        plug=_read_image,
        constructor=_write_nifti,
        endings=(".nii", ".nii.gz"),
    ),
]
Labels = Annotated[
    ecvl.Image,
    Port(
        "labels",
        ecvl.Image,
        "a volume of label numbers",
        plug=_read_labels,
        constructor=_write_nifti,
        endings=(".nii", ".nii.gz"),
    ),
]


@dataclass(frozen=True)
class SliceSet:
    """A prepared volume and its labels as slices along z, and which of them train.

    `organs` names the labels 1, 2, ...; `training` and `held_out` are positions along z.
    """

    volume: ecvl.Image
    labels: ecvl.Image
    steps: ecvl.Steps
    neighbours: int
    training: NDArray[np.int64]
    held_out: NDArray[np.int64]

    @property
    def organs(self) -> list[str]:
        """The names of the labels 1, 2, ... in order."""
        names = self.labels.label_names or {}
        return [names[number] for number in sorted(names) if number > 0]


def _steps(value: Any) -> ecvl.Steps:
    return ecvl.Steps.from_json(plain.read(_open(value).path))


def _write_steps(value: ecvl.Steps, path: Path) -> None:
    files.write(path, json.dumps(value.to_json(), indent=2))


Steps = Annotated[
    ecvl.Steps,
    Port(
        "steps",
        ecvl.Steps,
        "spatial preprocessing with a way back",
        plug=_steps,
        constructor=_write_steps,
        endings=(".json",),
        fingerprint=lambda value: plain.digest(value.to_json()),
    ),
]
Slices = Annotated[SliceSet, Port("slices", SliceSet, "slices of a volume, divided")]
CasePort = Annotated[Case, Port("case", Case, "the scores of a case with pictures")]

"""The command line: `ecvl info PATH` and `ecvl convert IN OUT`.

Whatever goes wrong is one line on stderr and an exit code: 2 for what was asked or given, 130 for
an interruption. What identifies a person is never printed, except by `--identifiers`.

Held by `tests/ecvl/test_command.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

WRONG = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code.

    Example:
        >>> main(["info", "missing.nii"])
        2
    """
    from ecvl.errors import EcvlError

    try:
        options = _parser().parse_args(arguments)
        action: Callable[[argparse.Namespace], None] = options.action
        action(options)
    except EcvlError as error:
        print(f"ecvl: {' '.join(str(error).split())}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("ecvl: stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WRONG
    return 0


def described(path: str, **options: Any) -> dict[str, Any]:
    """What `ecvl info` says of a file or folder, as plain values without identifiers.

    Example:
        >>> import numpy as np, tempfile, ecvl
        >>> path = tempfile.mkdtemp() + "/a.nii"
        >>> _ = ecvl.write(path, ecvl.Image(np.zeros((2, 3, 4), np.int16), "zyx"))
        >>> described(path)["spacing"]
        [1.0, 1.0, 1.0]
    """
    import ecvl

    try:
        found = ecvl.info(path, **options)
    except ecvl.FormatError as error:
        return _slide(path, error)
    said: dict[str, Any] = {
        "format": found.format,
        "kind": found.kind,
        "axes": found.axes,
        "shape": list(found.shape),
        "dtype": str(found.dtype),
        "spacing": list(found.spacing),
        "orientation": found.orientation,
        "affine": found.affine.tolist(),
    }
    if found.time_step is not None:
        said["time_step"] = found.time_step
    return said | {"details": dict(found.details)}


def _slide(path: str, why: Exception) -> dict[str, Any]:
    """What is said of a slide, which is no image; `why` where it is no slide either."""
    import ecvl

    try:
        with ecvl.open_slide(path) as slide:
            first = slide.levels[0]
            return {
                "format": "slide",
                "kind": "image",
                "axes": first.axes,
                "shape": list(first.shape),
                "dtype": "uint8",
                "spacing": list(first.spacing),
                "orientation": first.orientation,
                "affine": first.affine.tolist(),
                "details": {
                    "levels": [list(level.shape[:2]) for level in slide.levels],
                    "mpp": list(slide.mpp) if slide.mpp else None,
                    **slide.meta["common"],
                },
            }
    except ecvl.EcvlError:
        raise why from None


def _info(options: argparse.Namespace) -> None:
    said = described(options.path, **_given(options, "series", "page"))
    if options.identifiers:
        import ecvl

        image = ecvl.read(options.path, lazy=True, **_given(options, "series", "page"))
        said["meta"] = image.meta
    if options.json:
        print(json.dumps(said, indent=2, default=str))
        return
    rows = {
        "format": said["format"],
        "kind": said["kind"],
        "shape": f"{'×'.join(map(str, said['shape']))} ({said['axes']})",
        "type": said["dtype"],
        "spacing": f"{'×'.join(f'{length:.6g}' for length in said['spacing'])} mm",
        "orientation": said["orientation"],
        "origin": ", ".join(f"{row[3]:.6g}" for row in said["affine"][:3]) + " mm (RAS+)",
    }
    if "time_step" in said:
        rows["time step"] = f"{said['time_step']:.6g} s"
    rows |= {key.replace("_", " "): value for key, value in said["details"].items()}
    if options.identifiers:
        rows["meta"] = json.dumps(said["meta"], indent=2, default=str)
    width = max(map(len, rows)) + 2
    for key, value in rows.items():
        print(f"{key:<{width}}{value}")


def _convert(options: argparse.Namespace) -> None:
    import ecvl

    image = ecvl.read(
        options.source,
        kind=options.kind,
        raw=options.raw,
        **_given(options, "series", "page"),
    )
    if options.orientation:
        image = ecvl.reorient(image, options.orientation.upper())
    if options.spacing:
        wanted = options.spacing
        axes = len(image.spatial_axes)
        if len(wanted) == 1:
            wanted = wanted * axes
        if len(wanted) != axes:
            raise ecvl.ParameterError(
                f"expected one spacing or {axes}, in the order {image.spatial_axes}, received "
                f"{len(wanted)}"
            )
        if not all(0 < length < float("inf") for length in wanted):
            raise ecvl.ParameterError(f"expected spacing above 0, received {wanted}")
        image = ecvl.resample(image, spacing=tuple(wanted))
    error = ecvl.write(options.target, image, **_given(options, "quality"))
    said = {
        "written": options.target,
        "axes": image.axes,
        "shape": list(image.shape),
        "dtype": str(image.dtype),
        "greatest_error": error,
    }
    if options.json:
        print(json.dumps(said, indent=2))
    elif error:
        print(f"written with an error of at most {error:.6g} a value")


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    found = {name: getattr(options, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _parser() -> argparse.ArgumentParser:
    from ecvl import __version__

    parser = argparse.ArgumentParser("ecvl", description="Medical and ordinary images.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--series", help="which DICOM series of a folder: a UID, or its end")
    shared.add_argument("--page", type=int, help="which page or frame of a picture")
    shared.add_argument("--json", action="store_true", help="print one JSON object")

    info = commands.add_parser(
        "info", parents=[shared], help="what the headers say: sizes, type, geometry"
    )
    info.add_argument("path", help="a file, or a folder with a DICOM series")
    info.add_argument(
        "--identifiers",
        action="store_true",
        help="also print all metadata, which may name the patient",
    )
    info.set_defaults(action=_info)

    convert = commands.add_parser(
        "convert", parents=[shared], help="read an image and write it in another format"
    )
    convert.add_argument("source", metavar="IN", help="a file, or a folder with a DICOM series")
    convert.add_argument("target", metavar="OUT", help="a file; its extension names the format")
    convert.add_argument("--orientation", metavar="CODES", help="such as RAS")
    convert.add_argument(
        "--spacing",
        type=float,
        nargs="+",
        metavar="MM",
        help="one number, or one a spatial axis in the order z y x",
    )
    convert.add_argument("--kind", choices=("image", "labels"), help="how to read it")
    convert.add_argument("--raw", action="store_true", help="stored values, without rescale")
    convert.add_argument("--quality", type=int, help="of JPEG and WebP, 1 to 100")
    convert.set_defaults(action=_convert)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

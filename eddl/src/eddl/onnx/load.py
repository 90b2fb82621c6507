"""From an ONNX file to a model: names, metadata and weights kept, everything checked first.

A floating initializer of rank one or more becomes a parameter, unless it stands where an operator
keeps a running statistic; every other initializer is a constant. External data is refused.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from eddl.errors import EddlError, FileError
from eddl.onnx.names import OLDEST_OPSET
from eddl.onnx.read import MALFORMED, Reader, malformed
from eddl.ops.table import OPSET
from eddl.training.model import Model


def load(source: str | Path | bytes, *, max_bytes: int | None = None) -> Model:
    """Read an ONNX network, ready to run, to train on and to save again.

    Parameters: `source`, a path or the bytes of a file; `max_bytes`, what the values of one run may
    take (by default the memory that is free), more being refused before any is allocated.
    Returns a `Model` with the file's names,
    weights and metadata. Raises `FileError` for what is no ONNX file, and `GraphError`,
    `ShapeError` or `TypeMismatchError`, naming the node, for a graph that eddl cannot hold.

    >>> import eddl, tempfile, pathlib
    >>> x = eddl.Input((4,))
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.onnx"
    >>> eddl.Model(x, eddl.layers.dense(x, 3)).save(path)
    >>> eddl.load(path).outputs[0].shape
    ('batch', 3)
    """
    what = "the bytes" if isinstance(source, bytes) else str(source)
    if isinstance(source, bytes):
        content = source
    else:
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise FileError(
                f"{source}: cannot be read ({error.strerror}); expected an ONNX file"
            ) from error
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError as error:
        raise FileError(f"{what}: not an ONNX file ({error}); expected a ModelProto") from error
    if not proto.graph.node and not proto.graph.output:
        raise FileError(f"{what}: holds no graph; expected an ONNX model with nodes")
    return to_model(proto, what, max_bytes=max_bytes)


def to_model(
    proto: onnx.ModelProto, what: str = "the model", *, max_bytes: int | None = None
) -> Model:
    """The model of a parsed file."""
    domains = {str(item.domain): item.version for item in proto.opset_import}
    opset = int(domains.get("", domains.get("ai.onnx", OPSET if domains else 0)))
    if not OLDEST_OPSET <= opset <= OPSET:
        raise FileError(
            f"{what}: received opset {opset}, expected {OLDEST_OPSET} to {OPSET}; convert the file "
            "with onnx.version_converter"
        )
    try:
        inputs, outputs = Reader(proto, opset).main()
        metadata = {item.key: item.value for item in proto.metadata_props}
        name = proto.graph.name or "model"
        return Model(inputs, outputs, name=name, metadata=metadata, max_bytes=max_bytes)
    except EddlError:
        raise
    except MALFORMED as error:
        raise malformed(what, error) from error

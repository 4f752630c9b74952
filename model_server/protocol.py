"""Requests and responses of the Open Inference Protocol v2, with tensors as JSON or in the binary extension.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md and, for binary tensors,
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from alpha.errors import Rejected, shown
from alpha.scoring.local import INPUT, OUTPUT, Session

HEADER_LENGTH = "Inference-Header-Content-Length"
TYPE = "FP32"


class TensorIn(msgspec.Struct):
    """An input tensor; `data` is absent where its values follow the JSON as bytes."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class TensorWanted(msgspec.Struct):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """A request. `parameters`: `schema` or `features` name what the columns are, `closed_ms` when the bar closed."""

    inputs: list[TensorIn]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[TensorWanted] = []


class TooLarge(Rejected):
    """More rows than one request may have."""


_DECODER = msgspec.json.Decoder(InferRequest)


def read_request(body: bytes, header_length: str | None) -> tuple[InferRequest, bytes]:
    """The request and the bytes after its JSON. Rejected when it is none."""
    length = len(body)
    if header_length is not None:
        if not header_length.isdecimal() or int(header_length) > len(body):
            raise Rejected(f"{HEADER_LENGTH} must be a number of at most {len(body)}, got {shown(header_length)}.")
        length = int(header_length)
    try:
        return _DECODER.decode(body[:length]), body[length:]
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise Rejected(f"The request is not one of the Open Inference Protocol: {fault}.") from None


def read_rows(request: InferRequest, raw: bytes, session: Session, most: int) -> NDArray[np.float32]:
    """The rows of features of a request. Rejected with one sentence for whatever the model was not trained on."""
    features = session.manifest.features
    if len(request.inputs) != 1 or request.inputs[0].name != INPUT:
        names = ", ".join(tensor.name[:40] for tensor in request.inputs[:5]) or "none"
        raise Rejected(f"The model takes one input called {INPUT!r}, got: {names}.")
    tensor = request.inputs[0]
    if tensor.datatype != TYPE:
        raise Rejected(f"The features must be of type {TYPE}, got {shown(tensor.datatype)}.")
    if len(tensor.shape) != 2 or any(side < 0 for side in tensor.shape):
        raise Rejected(f"The features must have the shape [rows, {len(features)}], got {shown(tensor.shape)}.")
    rows, columns = tensor.shape
    if rows == 0:
        raise Rejected("The request has no row.")
    if rows > most:
        raise TooLarge(f"A request may have {most} rows, got {rows}. Send several.")
    if columns != len(features):
        raise Rejected(f"The model takes {len(features)} features, got {columns}: {', '.join(features)}.")
    _check_order(request.parameters, session)
    values = _values(tensor, raw, rows * columns).reshape(rows, columns)
    finite = np.isfinite(values)
    if not finite.all():
        row, column = (int(place) for place in np.argwhere(~finite)[0])
        raise Rejected(f"The feature {features[column]} of row {row} is {values[row, column]}; it must be a number.")
    return values


def _check_order(parameters: Mapping[str, Any], session: Session) -> None:
    schema, names = parameters.get("schema"), parameters.get("features")
    if schema is not None and schema != session.manifest.schema:
        raise Rejected(
            f"The features have the schema {shown(schema)}, the model was trained with {session.manifest.schema}: other "
            "features, another order, another interval or other formulas."
        )
    if names is None:
        return
    said = names.split(";") if isinstance(names, str) else names
    if not isinstance(said, list) or said != session.manifest.features:
        raise Rejected(f"The features must be, in this order: {', '.join(session.manifest.features)}.")


def _values(tensor: TensorIn, raw: bytes, count: int) -> NDArray[np.float32]:
    size = tensor.parameters.get("binary_data_size")
    if size is not None:
        if size != len(raw) or len(raw) != 4 * count:
            raise Rejected(f"The features have {len(raw)} bytes; {count} values of {TYPE} have {4 * count}.")
        return np.frombuffer(raw, dtype="<f4").astype(np.float32, copy=False)
    if tensor.data is None:
        raise Rejected("The features have neither data nor binary_data_size.")
    try:
        found = np.asarray(tensor.data, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise Rejected("The features must be numbers, in rows of equal length.") from None
    if found.size != count:
        raise Rejected(f"The features have {found.size} values; their shape {tensor.shape} has {count}.")
    with np.errstate(over="ignore"):
        return found.astype(np.float32)


def write_response(
    request: InferRequest, session: Session, scores: NDArray[np.float32]
) -> tuple[bytes, Mapping[str, str]]:
    """The body of the response and its headers."""
    for wanted in request.outputs:
        if wanted.name != OUTPUT:
            raise Rejected(f"The model has one output called {OUTPUT!r}, got {shown(wanted.name)}.")
    binary = bool(request.parameters.get("binary_data_output", False))
    for wanted in request.outputs:
        binary = bool(wanted.parameters.get("binary_data", binary))
    output: dict[str, Any] = {"name": OUTPUT, "datatype": TYPE, "shape": [len(scores)]}
    answer: dict[str, Any] = {"model_name": session.manifest.name, "model_version": session.artefact.short}
    if request.id:
        answer["id"] = request.id
    if not binary:
        output["data"] = scores.astype(np.float64).tolist()
        return msgspec.json.encode({**answer, "outputs": [output]}), {"Content-Type": "application/json"}
    content = scores.astype("<f4").tobytes()
    output["parameters"] = {"binary_data_size": len(content)}
    head = msgspec.json.encode({**answer, "outputs": [output]})
    return head + content, {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}


def metadata(session: Session, versions: Sequence[str]) -> dict[str, Any]:
    """What a model is: its tensors, and in `parameters` what it was trained on."""
    manifest = session.manifest
    return {
        "name": manifest.name,
        "versions": list(versions),
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": INPUT, "datatype": TYPE, "shape": [-1, len(manifest.features)]}],
        "outputs": [{"name": OUTPUT, "datatype": TYPE, "shape": [-1]}],
        "parameters": {
            "version": session.artefact.version,
            "schema": manifest.schema,
            "features": manifest.features,
            "interval": manifest.interval,
            "symbols": manifest.symbols,
            "trained_to_ms": manifest.trained_to_ms,
            "expires_hours": manifest.expires_hours,
            "verdict": manifest.verdict,
        },
    }

"""Asks the model server: the Open Inference Protocol v2 with binary tensors, within a deadline."""

import asyncio
from time import perf_counter
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import numpy as np
from numpy.typing import NDArray

_HEADER = "Inference-Header-Content-Length"
_LARGEST = 16 * 1024 * 1024


class NoScore(Exception):
    """There is no answer; the text says why, its first word how: late, refused, away."""


class _Output(msgspec.Struct):
    name: str
    shape: list[int]
    parameters: dict[str, int] = {}


class _Answer(msgspec.Struct):
    model_version: str
    outputs: list[_Output]


class ModelClient:
    """One connection to one server, kept open: HTTP/1.1 by hand, because a general client costs several times the scores."""

    def __init__(self, url: str | None, deadline_s: float) -> None:
        self._url = url
        self._deadline_s = deadline_s
        parts = urlsplit(url or "")
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._path = parts.path
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._turn = asyncio.Lock()

    async def scores(
        self, name: str, version: str, schema: str, closed_ms: int, rows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float]:
        """The score of each row, and how long it took in milliseconds. NoScore after the deadline, or when it is refused."""
        if self._url is None:
            raise NoScore("away: no model server is configured (MODEL_SERVER_URL)")
        content = np.ascontiguousarray(rows, dtype="<f4").tobytes()
        tensor = {"name": "features", "datatype": "FP32", "shape": list(rows.shape)}
        head = msgspec.json.encode(
            {
                "parameters": {"schema": schema, "closed_ms": closed_ms, "binary_data_output": True},
                "inputs": [{**tensor, "parameters": {"binary_data_size": len(content)}}],
            }
        )
        path = f"{self._path}/v2/models/{name}/versions/{version}/infer"
        began = perf_counter()
        try:
            async with asyncio.timeout(self._deadline_s), self._turn:
                answer = await self._post(path, head, content)
        except TimeoutError:
            self._drop()
            raise NoScore(f"late: the model server did not answer within {self._deadline_s * 1000:.0f} ms") from None
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as fault:
            self._drop()
            raise NoScore(f"away: the model server does not answer: {type(fault).__name__}") from None
        except asyncio.CancelledError:
            # half an answer may be under way
            self._drop()
            raise
        took_ms = (perf_counter() - began) * 1000.0
        if answer.status != 200:
            raise NoScore(f"refused: {_said(answer)}")
        return _read(answer, version, len(rows)), took_ms

    async def _post(self, path: str, head: bytes, content: bytes) -> "_Response":
        request = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nContent-Type: application/octet-stream\r\n"
            f"{_HEADER}: {len(head)}\r\nContent-Length: {len(head) + len(content)}\r\n\r\n"
        ).encode("ascii")
        kept = self._writer is not None
        while True:
            if self._reader is None or self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=2**20)
            try:
                self._writer.write(request + head + content)
                return await _response(self._reader)
            except (ConnectionError, asyncio.IncompleteReadError) as fault:
                self._drop()
                # A server closes a connection that was idle for long, and forgets those of its former life.
                if not kept or (isinstance(fault, asyncio.IncompleteReadError) and fault.partial):
                    raise
                kept = False

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def close(self) -> None:
        """Close the connection."""
        self._drop()


class _Response(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes


async def _response(reader: asyncio.StreamReader) -> _Response:
    """One response with a Content-Length. ValueError when it is none."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    length = int(headers["content-length"]) if headers.get("content-length", "").isdecimal() else -1
    if not 0 <= length <= _LARGEST:
        raise ValueError("a response without a length")
    return _Response(int(first.split(" ")[1]), headers, await reader.readexactly(length))


def _read(answer: _Response, version: str, rows: int) -> NDArray[np.float32]:
    try:
        length = int(answer.headers[_HEADER.lower()])
        found = msgspec.json.decode(answer.content[:length], type=_Answer)
        scores = np.frombuffer(answer.content[length:], dtype="<f4").astype(np.float32)
    except (KeyError, ValueError, msgspec.DecodeError):
        raise NoScore("refused: the model server's answer cannot be read") from None
    if not version.startswith(found.model_version) or len(scores) != rows or not np.isfinite(scores).all():
        raise NoScore("refused: the model server answered for something else")
    return scores


def _said(answer: _Response) -> str:
    try:
        return str(msgspec.json.decode(answer.content, type=dict[str, str])["error"])[:300]
    except (msgspec.DecodeError, KeyError):
        return f"the model server answered with status {answer.status}"

"""Asks the model server: the Open Inference Protocol v2 with binary tensors, within a deadline."""

import asyncio
from time import perf_counter

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

_HEADER = "Inference-Header-Content-Length"


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
    """One connection to one server."""

    def __init__(self, url: str | None, deadline_s: float) -> None:
        self._url = url
        self._deadline_s = deadline_s
        self._client: httpx.AsyncClient | None = None

    async def scores(
        self, name: str, version: str, schema: str, closed_ms: int, rows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float]:
        """The score of each row, and how long it took in milliseconds. NoScore after the deadline, or when it is refused."""
        if self._url is None:
            raise NoScore("away: no model server is configured (MODEL_SERVER_URL)")
        content = np.ascontiguousarray(rows, dtype="<f4").tobytes()
        head = msgspec.json.encode(
            {
                "parameters": {"schema": schema, "closed_ms": closed_ms, "binary_data_output": True},
                "inputs": [
                    {
                        "name": "features",
                        "datatype": "FP32",
                        "shape": list(rows.shape),
                        "parameters": {"binary_data_size": len(content)},
                    }
                ],
            }
        )
        began = perf_counter()
        try:
            async with asyncio.timeout(self._deadline_s):
                if self._client is None:
                    # No proxy of the environment: the server is inside our own network.
                    self._client = httpx.AsyncClient(base_url=self._url, timeout=self._deadline_s, trust_env=False)
                answer = await self._client.post(
                    f"/v2/models/{name}/versions/{version}/infer",
                    content=head + content,
                    headers={_HEADER: str(len(head)), "Content-Type": "application/octet-stream"},
                )
        except (TimeoutError, httpx.TimeoutException):
            raise NoScore(f"late: the model server did not answer within {self._deadline_s * 1000:.0f} ms") from None
        except httpx.HTTPError as fault:
            raise NoScore(f"away: the model server does not answer: {type(fault).__name__} {fault}".strip()) from None
        took_ms = (perf_counter() - began) * 1000.0
        if answer.status_code != 200:
            raise NoScore(f"refused: {_said(answer)}")
        return _read(answer, version, len(rows)), took_ms

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.aclose()


def _read(answer: httpx.Response, version: str, rows: int) -> NDArray[np.float32]:
    try:
        length = int(answer.headers[_HEADER])
        found = msgspec.json.decode(answer.content[:length], type=_Answer)
        scores = np.frombuffer(answer.content[length:], dtype="<f4").astype(np.float32)
    except (KeyError, ValueError, msgspec.DecodeError):
        raise NoScore("refused: the model server's answer cannot be read") from None
    if not version.startswith(found.model_version) or len(scores) != rows or not np.isfinite(scores).all():
        raise NoScore("refused: the model server answered for something else")
    return scores


def _said(answer: httpx.Response) -> str:
    try:
        return str(msgspec.json.decode(answer.content, type=dict[str, str])["error"])[:300]
    except (msgspec.DecodeError, KeyError):
        return f"the model server answered with status {answer.status_code}"

"""The client of the model server against a real server that answers, refuses, hangs, breaks off and comes back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import numpy as np
import pytest

from bot_runner.model_client import ModelClient, NoScore

ROWS = np.zeros((2, 3), dtype=np.float32)
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(scores: bytes, version: str = "abc", status: str = "200 OK") -> bytes:
    head = msgspec.json.encode({"model_version": version, "outputs": [{"name": "score", "shape": [2]}]})
    lines = f"HTTP/1.1 {status}\r\nInference-Header-Content-Length: {len(head)}\r\nContent-Length: {len(head) + len(scores)}"
    return lines.encode() + b"\r\n\r\n" + head + scores


class Server:
    """Answers every request with `says`, then closes the connection when `closes`."""

    def __init__(self) -> None:
        self.says = answer(np.array([0.25, 0.5], dtype="<f4").tobytes())
        self.closes = False
        self.requests = self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            self.requests += 1
            writer.write(self.says)
            if self.closes:
                break
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await made.serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    listening = await asyncio.start_server(quietly, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield made
    listening.close()


async def ask(client: ModelClient) -> list[float]:
    scores, _ = await client.scores("m", "abcdef", "s", 0, ROWS)
    return [float(score) for score in scores]


async def test_one_connection_serves_many_requests_and_one_that_was_closed_is_opened_again(server: Server) -> None:
    client = ModelClient(server.url, 5.0)
    assert await ask(client) == await ask(client) == [0.25, 0.5]
    assert (server.connections, server.requests) == (1, 2)
    server.closes = True
    await ask(client)
    assert await ask(client) == [0.25, 0.5]
    assert server.connections == 2
    await client.close()


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (answer(b"", status="400 Bad Request"), "status 400"),
        (b'HTTP/1.1 503 Busy\r\nContent-Length: 18\r\n\r\n{"error": "damage"}'[:-1], "refused"),
        (answer(np.zeros(3, dtype="<f4").tobytes()), "answered for something else"),
        (answer(np.zeros(2, dtype="<f4").tobytes(), version="other"), "answered for something else"),
        (answer(np.full(2, np.nan, dtype="<f4").tobytes()), "answered for something else"),
        (answer(b"123"), "cannot be read"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "away"),
        (b"rubbish\r\n\r\n", "away"),
        (b"", "late: the model server did not answer within 200 ms"),
    ],
)
async def test_every_other_answer_is_a_reason(server: Server, says: bytes, why: str) -> None:
    server.says = says
    client = ModelClient(server.url, 0.2)
    with pytest.raises(NoScore, match=why):
        await ask(client)
    server.says = answer(np.array([0.25, 0.5], dtype="<f4").tobytes())
    assert await ask(client) == [0.25, 0.5], "the next request is not given the rest of the last answer"
    await client.close()


async def test_no_server_is_a_reason() -> None:
    with pytest.raises(NoScore, match="no model server is configured"):
        await ask(ModelClient(None, 1.0))
    with pytest.raises(NoScore, match="away: the model server does not answer"):
        await ask(ModelClient("http://127.0.0.1:9", 1.0))

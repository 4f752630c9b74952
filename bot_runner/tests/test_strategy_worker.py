import asyncio
import socket
from pathlib import Path

import pytest

from alpha.registry import load_registry
from bot_runner.strategy_worker import StrategyWorker

BOTS = Path(__file__).parents[2] / "bots.toml"


async def test_a_worker_that_cannot_be_connected_to_leaves_neither_socket_nor_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[socket.socket] = []
    pair = socket.socketpair

    def noted() -> tuple[socket.socket, socket.socket]:
        made.extend(both := pair())
        return both

    async def refused(**_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(socket, "socketpair", noted)
    monkeypatch.setattr(asyncio, "open_connection", refused)
    worker = StrategyWorker(load_registry(BOTS).bots[0], {}, 1.0)
    with pytest.raises(asyncio.CancelledError):
        await worker.load()
    assert [each.fileno() for each in made] == [-1, -1]
    assert worker.pid is None

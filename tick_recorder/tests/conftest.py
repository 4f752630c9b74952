"""The recorder's process against the sender of ticks, and helpers that compare what is stored with what was sent."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from demo.ports import free_port
from tests.support.world import ROOT, Process, until
from tick_recorder.tests.exchange import TickExchange


class RecorderMaker:
    """Makes recorder processes in a folder; all are killed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ticks = folder / "ticks"
        self.made: list[Process] = []
        self.health_port = free_port()

    def __call__(self, exchange: TickExchange, **settings: str) -> Process:
        """A started recorder; `settings` are variables in lower case."""
        environment = {
            **exchange.environment(),
            "REDIS_PORT": "1", "REDIS_PASSWORD": "none", "POSTGRES_PORT": "1", "POSTGRES_PASSWORD": "none",
            "TICKS_DIR": str(self.ticks), "TICKS_PART_S": "0.3", "TICKS_JOURNAL_S": "0.1", "TICKS_SYMBOLS": "BTCUSDT,ETHUSDT",
            "ALPHA_BOTS_FILE": str(ROOT / "bots.toml"), "LOG_FORMAT": "json", "HEALTH_PORT": str(self.health_port),
            **{name.upper(): value for name, value in settings.items()},
        }  # fmt: skip
        process = Process(f"recorder-{len(self.made)}", ["-m", "tick_recorder"], environment, self.folder)
        self.made.append(process)
        process.start()
        return process

    async def health(self) -> tuple[int, str]:
        """The status and the text of /healthz; 0 while nothing answers."""
        async with httpx.AsyncClient() as client:
            try:
                answer = await client.get(f"http://127.0.0.1:{self.health_port}/healthz")
            except httpx.TransportError:
                return 0, ""
            return answer.status_code, answer.text

    async def metric(self, name: str) -> float:
        """One metric without labels."""
        async with httpx.AsyncClient() as client:
            try:
                text = (await client.get(f"http://127.0.0.1:{self.health_port}/metrics")).text
            except httpx.TransportError:
                return -1.0
        for line in text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        return -1.0

    async def listening(self, exchange: TickExchange, topics: int) -> None:
        """Wait until a recorder has subscribed so many topics."""

        async def subscribed() -> bool:
            return any(len(client.topics) >= topics for client in exchange.clients)

        await until(subscribed, 120, "the recorder to subscribe")


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[RecorderMaker]:
    """Starts recorders."""
    maker = RecorderMaker(tmp_path)
    yield maker
    for process in maker.made:
        process.kill()


@pytest.fixture
async def exchange() -> AsyncIterator[TickExchange]:
    """The sender of ticks."""
    async with TickExchange() as found:
        yield found
        await asyncio.sleep(0)

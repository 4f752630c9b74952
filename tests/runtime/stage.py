"""A bot as a real process over a real PostgreSQL, a real Redis and the simulated exchange; with or without the listener."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from alpha.db.migrate import ROLES, MigrateSettings
from alpha.db.migrate import run as migrate
from alpha.demo.postgres import EmbeddedPostgres
from alpha.demo.redis import EmbeddedRedis
from alpha.settings import load
from tests.stack.world import BOTS, ROOT, Process, Simulator

PASSWORD = "a-password-of-the-tests"
ENTRIES = {
    "shortseller_001": "strategies/shortseller/scripts/start_trading.py",
    "lxalgo_001": "strategies/lxalgo/main.py",
    "momentum_001": "strategies/momentum/trading_system.py",
}


class Stage:
    """Where a bot plays. `options` go to the simulator."""

    def __init__(self, folder: Path, *, speed: str = "60", seed: int = 1, options: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.postgres = EmbeddedPostgres(folder / "postgres", PASSWORD, durable=False)
        self.redis = EmbeddedRedis(folder / "redis", PASSWORD)
        self.simulator = Simulator(folder, speed=speed, seed=seed, options=("--no-rate-limits", *options))
        self.processes: list[Process] = []

    async def open(self) -> None:
        """Servers, tables, exchange."""
        self.postgres.start()
        self.redis.start()
        passwords = {f"{role}_db_password": PASSWORD for role in ROLES}
        variables = {**self.postgres.environment(), **passwords, "bots_file": str(ROOT / "bots.toml")}
        await migrate(
            load(MigrateSettings, env_file=None, **{name.lower(): value for name, value in variables.items()})
        )
        await self.simulator.start()

    def close(self) -> None:
        """End all that was started here."""
        for process in self.processes:
            process.stop()
        self.simulator.process.kill()
        self.redis.stop()
        self.postgres.stop("immediate")

    def environment(self, role: str) -> dict[str, str]:
        """What every process of ours reads."""
        return {
            **self.postgres.environment(),
            **self.redis.environment(),
            **self.simulator.environment(),
            "POSTGRES_USER": role,
            "POSTGRES_PASSWORD": PASSWORD,
            "ALPHA_BOTS_FILE": str(ROOT / "bots.toml"),
            "LOG_FORMAT": "json",
        }

    def listener(self) -> Process:
        """The listener, not started yet."""
        keys = {name: value for bot in BOTS for name, value in bot.environment().items()}
        return self._process("listener", ["-m", "websocket_listener"], {**self.environment("alpha_listener"), **keys})

    def bot(self, bot_id: str, name: str = "bot", **more: str) -> Process:
        """A bot, not started yet. `more` are further variables."""
        key = next(bot for bot in BOTS if bot.bot == bot_id)
        variables = {**self.environment("alpha_strategy"), **key.environment(), **more}
        return self._process(name, [str(ROOT / ENTRIES[bot_id])], variables)

    def step_url(self) -> str:
        """The address a bot in step clock reports to."""
        return self.simulator.url

    def _process(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> Process:
        process = Process(name, arguments, environment, self.folder)
        self.processes.append(process)
        return process


def trades(process: Process) -> list[dict[str, Any]]:
    """The trade lines that a bot has logged so far: entered and exited, in order."""
    rows = []
    for line in process.said().splitlines():
        if line.startswith("{"):
            row = json.loads(line)
            if row.get("event") in {"entered", "exited"}:
                rows.append(row)
    return rows


async def sim(stage: Stage, method: str, path: str, **body: object) -> dict[str, Any]:
    """A control call of the simulated exchange."""
    async with httpx.AsyncClient(base_url=stage.simulator.url, timeout=600) as client:
        answer = await client.request(method, path, json=body if method == "POST" else None)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

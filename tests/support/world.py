"""Runs the simulated exchange and the listener as real processes with real PostgreSQL and Redis."""

import asyncio
import json
import os
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from alpha.bybit.signing import rest_signature
from alpha.clock import wall_ms
from demo.ports import free_port
from tests.support import forkserver

ROOT = Path(__file__).resolve().parents[2]
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
#: For clients of plain HTTP on loopback: a client without it reads the web's certificates, which takes 30 ms of CPU each time.
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True, slots=True)
class BotKey:
    """A bot's key on the simulated exchange, and the prefix of its variables."""

    bot: str
    prefix: str
    key: str
    secret: str

    def environment(self) -> dict[str, str]:
        """The environment variables of the key."""
        return {f"{self.prefix}_BYBIT_API_KEY": self.key, f"{self.prefix}_BYBIT_API_SECRET": self.secret}

    def reading(self) -> dict[str, str]:
        """The environment variables of the account's read-only key."""
        return {
            f"{self.prefix}_BYBIT_READ_API_KEY": f"{self.key}-reads",
            f"{self.prefix}_BYBIT_READ_API_SECRET": f"{self.secret}-reads",
        }


BOTS = (
    BotKey("shortseller_001", "SHORTSELLER", "key-ss", "secret-of-ss"),
    BotKey("lxalgo_001", "LXALGO", "key-lx", "secret-of-lx"),
    BotKey("momentum_001", "MOMENTUM", "key-mo", "secret-of-mo"),
)


class Process:
    """One Alpha process, with its output in a file: forked with its modules imported, or `anew` by an interpreter."""

    def __init__(
        self, name: str, arguments: list[str], environment: Mapping[str, str], folder: Path, *, anew: bool = False
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._arguments = arguments
        self._environment = {
            **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}},
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        self._folder = folder
        self._anew = anew
        self._process: subprocess.Popen[str] | forkserver.Forked | None = None

    def twin(self, name: str, **more: str) -> "Process":
        """A second process with the same arguments and environment, not started yet. `more` are additional variables."""
        return Process(name, self._arguments, {**self._environment, **more}, self._folder, anew=self._anew)

    @property
    def pid(self) -> int:
        """Its PID."""
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """True while it is running."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it in an empty folder, so that it reads no `.env`."""
        with self.log.open("ab") as output:
            self._process = forkserver.popen(
                self._arguments, cwd=self._folder, environment=self._environment, output=output, anew=self._anew
            )

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, wait_s: float = 15.0) -> int:
        """Send SIGTERM; returns the exit code. Kills it and returns -9 when it has not ended in time."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def signal(self, number: int) -> None:
        """Send any signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def exit_code(self) -> int | None:
        """Its exit code; None while it is running."""
        return None if self._process is None else self._process.poll()

    def said(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Simulator:
    """The simulated exchange as a process."""

    def __init__(
        self,
        folder: Path,
        *,
        speed: str = "60",
        seed: int = 1,
        options: tuple[str, ...] = (),
        accounts_are: Mapping[str, str] | None = None,
    ) -> None:
        """`accounts_are` has options of the accounts by bot: `hedge`, `isolated`, `usdc=50000`, `mnt=1000`."""
        self.port = free_port()
        kinds = accounts_are or {}
        accounts = []
        for bot in BOTS:
            kind = f":{kinds[bot.bot]}" if bot.bot in kinds else ""
            accounts += ["--account", f"{bot.key}:{bot.secret}:100000{kind}"]
        for bot in BOTS:
            accounts += ["--account", f"{bot.key}-reads:{bot.secret}-reads:0:of={bot.key},read-only"]
        arguments = ["-m", "exchange_simulator", "--port", str(self.port), "--speed", speed, "--seed", str(seed)]
        self.process = Process("simulator", [*arguments, *accounts, *options], {}, folder)

    @property
    def url(self) -> str:
        """Its REST base URL."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, wait_s: float = 60.0) -> None:
        """Start it and wait until it answers; one that does not is killed."""
        self.process.start()
        try:
            await self._answering(wait_s)
        except BaseException:
            self.process.kill()
            raise

    async def _answering(self, wait_s: float) -> None:
        async with httpx.AsyncClient(verify=PLAIN) as client:

            async def answers() -> bool:
                if not self.process.running:
                    raise RuntimeError(f"the simulator ended: {self.process.said()[-2000:]}")
                try:
                    return (await client.get(f"{self.url}/v5/market/time")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(answers, wait_s, "the simulator to answer")

    def environment(self) -> dict[str, str]:
        """Environment that points Alpha's services at it."""
        return {"BYBIT_REST_URL": self.url, "BYBIT_WS_URL": f"ws://127.0.0.1:{self.port}"}

    async def ledger(self, key: str, after: int = 0) -> list[dict[str, Any]]:
        """Executions of this account from the exchange's own ledger, oldest first, after number `after`."""
        rows: list[dict[str, Any]] = []
        async with httpx.AsyncClient(verify=PLAIN, timeout=300) as client:  # on a crowded machine it answers late
            while True:
                answer = await client.get(
                    f"{self.url}/_sim/executions", params={"key": key, "after": after, "limit": 1000}
                )
                page = answer.json()
                rows += page["executions"]
                if not page["executions"] or page.get("next") is None:
                    return rows
                after = page["next"]

    async def closed_pnl(self, key: str) -> list[dict[str, Any]]:
        """The account's rows of closed P&L from the exchange's own ledger, oldest first."""
        rows: list[dict[str, Any]] = []
        after = 0
        async with httpx.AsyncClient(verify=PLAIN, timeout=30) as client:
            while True:
                answer = await client.get(
                    f"{self.url}/_sim/closed-pnl", params={"key": key, "after": after, "limit": 1000}
                )
                page = answer.json()
                rows += page["closed_pnl"]
                if not page["closed_pnl"] or page.get("next") is None:
                    return rows
                after = page["next"]

    async def account(self, key: str) -> dict[str, Any]:
        """The account's current state on the exchange."""
        async with httpx.AsyncClient(verify=PLAIN, timeout=30) as client:
            answer = await client.get(f"{self.url}/_sim/ledger", params={"key": key})
            found: dict[str, Any] = answer.json()["accounts"][0]
            return found


class Trader:
    """Sends signed orders with one key."""

    def __init__(self, url: str, bot: BotKey) -> None:
        self._client = httpx.AsyncClient(verify=PLAIN, base_url=url, timeout=10)
        self._bot = bot

    async def order(self, symbol: str, side: str, qty: str, **more: object) -> dict[str, Any]:
        """Place an order; returns the exchange's full response."""
        body = {"category": "linear", "symbol": symbol, "side": side, "orderType": "Market", "qty": qty, **more}
        return await self.post("/v5/order/create", body)

    async def post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        """Send any signed POST."""
        text = json.dumps(body, separators=(",", ":"))
        now = wall_ms()
        headers = {
            "X-BAPI-API-KEY": self._bot.key,
            "X-BAPI-TIMESTAMP": str(now),
            "X-BAPI-RECV-WINDOW": "20000",
            "X-BAPI-SIGN": rest_signature(self._bot.key, self._bot.secret, now, 20_000, text),
            "Content-Type": "application/json",
        }
        answer: dict[str, Any] = (await self._client.post(path, content=text, headers=headers)).json()
        return answer

    async def close(self) -> None:
        """Close its connection."""
        await self._client.aclose()


def patience() -> float:
    """By how much longer than on a machine with a processor to spare a test waits for a condition: 1 to 8.

    That many processes share a processor at the moment, so that each gets on so much more slowly. An aim in seconds holds
    on a machine with a processor to spare: it is multiplied in the same way, and by 1 there.
    """
    return min(8.0, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


async def until(condition: Callable[[], Awaitable[bool]], wait_s: float, what: str, step_s: float = 0.05) -> None:
    """Wait for a condition. Raises AssertionError naming the condition on timeout.

    `wait_s` counts on a machine with a processor to spare; see `patience`.
    """
    began = time.monotonic()
    while not await condition():
        if time.monotonic() > began + wait_s * patience():
            raise AssertionError(f"waited {wait_s:g} s in vain for {what}")
        await asyncio.sleep(step_s)

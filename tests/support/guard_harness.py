"""Runs the guard as a real process with the simulated exchange, PostgreSQL and Redis."""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from alpha.clock import wall_ms
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.control import EXPIRY_MS, Reply, read_replies, send_command
from alpha.model.order_link import order_link_id
from alpha.model.reason import Reason
from alpha.postgres.database import connect
from tests.support.bot_harness import BotHarness
from tests.support.world import BOTS, PLAIN, BotKey, Process, Trader, until

BOT = BOTS[0]
TAGS = {"shortseller_001": "ss", "lxalgo_001": "lx", "momentum_001": "mo"}


def guard(stage: BotHarness, name: str = "guard", **more: str) -> Process:
    """A guard, not started yet, with shorter intervals than in production."""
    keys_of_bots = {key: value for bot in BOTS for key, value in bot.environment().items()}
    return stage.process(
        name,
        ["-m", "risk_guard"],
        {
            **stage.environment("alpha_guard"),
            **keys_of_bots,
            "GUARD_PATROL_S": "1",
            "GUARD_CONFIRM_S": "2",
            "GUARD_ANSWER_S": "0.5",
            "GUARD_LEASE_S": "2",
            "BOT_CONTROL_URL": "unix:///no/such/socket",
            **more,
        },
    )


class Hands:
    """Trades on one account with its bot's key and, by default, the bot's order link ids."""

    def __init__(self, stage: BotHarness, bot: BotKey = BOT) -> None:
        self.stage = stage
        self.bot = bot
        self._trader = Trader(stage.simulator.url, bot)
        self._sent = 0

    async def open(self, symbol: str, side: str, qty: str, *, by_bot: bool = True, **more: object) -> None:
        """Place a market order. Raises AssertionError when the exchange refuses it."""
        self._sent += 1
        if by_bot:
            more["orderLinkId"] = order_link_id(
                TAGS[self.bot.bot], Reason.ENTRY, account="t", symbol=symbol, bar_ms=self._sent, intent="enter"
            )
        answer = await self._trader.order(symbol, side, qty, **more)
        assert answer["retCode"] == 0, answer

    async def order(self, symbol: str, side: str, qty: str, **more: object) -> dict[str, Any]:
        """Place any order; returns the exchange's response."""
        return await self._trader.order(symbol, side, qty, **more)

    async def stop_at(self, symbol: str, **levels: str) -> None:
        """Set take profit and stop loss of the position."""
        body: dict[str, object] = {
            "category": "linear",
            "symbol": symbol,
            "positionIdx": 0,
            "tpslMode": "Full",
            **levels,
        }
        answer = await self._trader.post("/v5/position/trading-stop", body)
        assert answer["retCode"] in {0, 34040}, answer

    async def remember(self, symbol: str, side: str, stop: str) -> None:
        """Store what the bot's strategy would have saved about its own position."""
        row = {
            "symbol": symbol, "direction": side, "size": "1", "entry_price": "1", "opened_ms": 1, "opened_bar_ms": 1,
            "stop_loss": stop,
        }  # fmt: skip
        await self.stage.sql(
            "INSERT INTO trading.strategy_state (account_id, name, bot_id, state, lease_token) "
            "SELECT account_id, 'positions', $1, $2, 0 FROM trading.accounts WHERE bot_id = $1 "
            "ON CONFLICT (account_id, name) DO UPDATE SET state = excluded.state",
            self.bot.bot,
            {symbol: row},
        )

    async def position(self, symbol: str) -> dict[str, Any] | None:
        """The open position of a symbol on the exchange."""
        return await self.stage.position(symbol, self.bot)

    async def price(self, symbol: str) -> float:
        """The current last price."""
        import httpx

        async with httpx.AsyncClient(verify=PLAIN, base_url=self.stage.simulator.url) as client:
            answer = await client.get("/v5/market/tickers", params={"category": "linear", "symbol": symbol})
            return float(answer.json()["result"]["list"][0]["lastPrice"])

    async def close(self) -> None:
        """Close the connection."""
        await self._trader.close()


async def flat(stage: BotHarness, bot: BotKey = BOT) -> bool:
    """True when the exchange has neither a position nor an order of this account."""
    account = await stage.simulator.account(bot.key)
    return not account["positions"] and not account["orders"]


class Witness:
    """Monitors the exchange's actual state: how long each position was unprotected.

    A position is protected while it has a stop loss for its whole size. Use as `async with`.
    """

    def __init__(self, stage: BotHarness, bots: Sequence[BotKey] = BOTS) -> None:
        self.longest_s = 0.0
        self._stage = stage
        self._bots = bots
        self._since: dict[tuple[str, str], float] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Witness":
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.look()

    async def _watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(0.1)

    async def look(self) -> None:
        """Check every account once."""
        for bot in self._bots:
            rows = (await self._stage.simulator.account(bot.key))["positions"]
            bare = {(bot.key, row["symbol"]) for row in rows if not _protected(row)}
            now_s = time.monotonic()
            self._since = {known: since for known, since in self._since.items() if known in bare or known[0] != bot.key}
            for known in bare:
                self.longest_s = max(self.longest_s, now_s - self._since.setdefault(known, now_s))


def _protected(row: Mapping[str, Any]) -> bool:
    return bool(row["stopLoss"]) and float(row["stopLoss"]) > 0 and row["tpslMode"] == "Full"


async def never_reversed(stage: BotHarness, bot: BotKey = BOT) -> None:
    """Raise AssertionError when an order of the guard closed more than the position or reversed it."""
    held: dict[str, Decimal] = {}
    for row in await stage.fills(bot):
        before = held.get(row["symbol"], Decimal(0))
        after = before + Decimal(row["execQty"]) * (1 if row["side"] == "Buy" else -1)
        held[row["symbol"]] = after
        if row["orderLinkId"].startswith("g-"):
            assert abs(after) < abs(before), row
            assert after * before >= 0, row


async def command(stage: BotHarness, name: str, args: dict[str, str], *, valid_ms: int | None = None) -> str:
    """Send a command to the guard as an operator; returns its id. `valid_ms`: validity from now,
    one minute by default.
    """
    links = RedisClients(stage.servers.redis.settings())
    sent_ms = wall_ms() if valid_ms is None else wall_ms() + valid_ms - EXPIRY_MS
    try:
        return await send_command(links.shared, keys.GUARD, name, args, "operator:1", sent_ms)
    finally:
        await links.close()


async def answer(stage: BotHarness, command_id: str, wait_s: float = 60) -> Reply:
    """Wait for the guard's final reply to a command."""
    links = RedisClients(stage.servers.redis.settings())
    found: list[Reply] = []

    async def settled() -> bool:
        replies, _ = await read_replies(links.shared, keys.GUARD, "0-0", block_ms=10)
        found[:] = [r for r in replies if r.command_id == command_id and r.outcome != "progress"]
        return bool(found)

    try:
        await until(settled, wait_s, "the guard's answer")
    finally:
        await links.close()
    return found[0]


def events(process: Process, name: str) -> list[dict[str, Any]]:
    """The log lines of one event type."""
    rows = [json.loads(line) for line in process.said().splitlines() if line.startswith("{")]
    return [row for row in rows if row.get("event") == name]


async def acts(process: Process, bots: int = 3) -> None:
    """Wait until a guard acts on the accounts of `bots` bots."""

    async def acting() -> bool:
        assert process.running, process.said()[-2000:]
        return len(events(process, "acts")) >= bots

    await until(acting, 40, "the guard to act")


async def wish(stage: BotHarness, bot: str = BOT.bot) -> tuple[str, str | None]:
    """The desired state of a bot, and who set it."""
    connection = await connect(stage.database(), "test")
    try:
        row = await connection.fetchrow("SELECT wish, wish_by FROM trading.bots WHERE bot_id = $1", bot)
    finally:
        await connection.close()
    assert row is not None
    return row["wish"], row["wish_by"]


async def halts(stage: BotHarness) -> list[tuple[str, str]]:
    """Kind and bot of the active halts."""
    connection = await connect(stage.database(), "test")
    try:
        rows = await connection.fetch("SELECT kind, bot_id FROM trading.halts WHERE lifted_at IS NULL ORDER BY halt_id")
    finally:
        await connection.close()
    return [(row["kind"], row["bot_id"]) for row in rows]

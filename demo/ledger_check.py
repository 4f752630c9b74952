"""Compares every execution of the exchange with `trading.fills`, and every position with Redis."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import msgspec

from alpha.errors import Fatal
from alpha.live_state.read import read_positions
from alpha.model.money import amount, amount_or_zero, plain
from alpha.postgres.sql import queries
from alpha.registry import Bot
from operations.context import Operations

SQL = queries(__file__)

#: Time the last fills have to arrive before a difference is reported, in seconds.
SETTLE_LIMIT_S = 20.0


class Execution(msgspec.Struct, frozen=True):
    """The fields of an execution that both sides must agree on."""

    symbol: str
    side: str
    exec_type: str
    qty: Decimal
    price: Decimal
    fee: Decimal


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """The result: `differences` lists them, `summary` is the last line of the demo."""

    executions: int
    recorded: int
    positions: int
    differences: list[str]

    @property
    def agree(self) -> bool:
        """True when nothing differs."""
        return not self.differences

    @property
    def summary(self) -> str:
        """One line: what was compared, and the result."""
        verdict = "The books agree" if self.agree else f"The books DISAGREE in {len(self.differences)} places"
        return (
            f"{verdict}: {self.executions} executions on the exchange, {self.recorded} in trading.fills; "
            f"{self.positions} open positions compared with Redis."
        )


class Ledger:
    """The simulated exchange's own ledger, read over its control endpoint."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.AsyncClient(timeout=30)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def pause(self) -> None:
        """Pause the exchange's clock; requests in flight are still answered."""
        answer = await self._client.post(f"{self._url}/_sim/pause", json={})
        if answer.status_code != 200:
            raise Fatal(f"The exchange's time cannot be stopped: {answer.text}")

    async def resume(self) -> None:
        """Resume the exchange's clock."""
        answer = await self._client.post(f"{self._url}/_sim/resume", json={})
        if answer.status_code != 200:
            raise Fatal(f"The exchange's clock cannot be advanced: {answer.text}")

    async def set_speed(self, speed: int) -> int:
        """Set the exchange's speed as a multiple of real time; returns the exchange's time."""
        answer = await self._client.post(f"{self._url}/_sim/speed", json={"speed": speed})
        if answer.status_code != 200:
            raise Fatal(f"The exchange's speed cannot be set: {answer.text}")
        return int(answer.json()["now_ms"])

    async def executions(self, key: str) -> dict[str, Execution]:
        """All executions of the account of `key`, by id."""
        found: dict[str, Execution] = {}
        after: int | None = 0
        while after is not None:
            page = await self._get("/_sim/executions", {"key": key, "after": str(after), "limit": "10000"})
            for row in page["executions"]:
                found[row["execId"]] = Execution(
                    row["symbol"],
                    row["side"],
                    row["execType"],
                    amount(row["execQty"], "execQty"),
                    amount(row["execPrice"], "execPrice"),
                    amount(row["execFee"], "execFee"),
                )
            after = page["next"]
        return found

    async def count(self) -> int:
        """Number of executions over all accounts."""
        page = await self._get("/_sim/ledger", {"limit": "1"})
        return sum(int(account["executions"]) for account in page["accounts"])

    async def positions(self, key: str) -> dict[str, tuple[str, Decimal, Decimal]]:
        """The open positions of the account of `key`: symbol -> side, size, entry price."""
        page = await self._get("/_sim/ledger", {"key": key, "limit": "1"})
        return {
            row["symbol"]: (row["side"], amount(row["size"], "size"), amount_or_zero(row["avgPrice"], "avgPrice"))
            for account in page["accounts"]
            for row in account["positions"]
            if amount(row["size"], "size")
        }

    async def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        answer = await self._client.get(f"{self._url}{path}", params=dict(query))
        if answer.status_code != 200:
            raise Fatal(f"The exchange does not give its ledger: {answer.text}")
        page: dict[str, Any] = answer.json()
        return page


async def check_books(
    ledger: Ledger, platform: Operations, keys: Mapping[str, str], *, settle_s: float = SETTLE_LIMIT_S
) -> LedgerCheck:
    """Compare all ledgers, bot by bot; `keys` maps each bot's id to its API key.

    Data in flight gets `settle_s` seconds to arrive before it counts as a difference.
    """
    deadline = time.monotonic() + settle_s
    while True:
        books = await _compare(ledger, platform, keys)
        if books.agree or time.monotonic() > deadline:
            return books
        await asyncio.sleep(0.2)


async def _compare(ledger: Ledger, platform: Operations, keys: Mapping[str, str]) -> LedgerCheck:
    executions = recorded = positions = 0
    differences: list[str] = []
    for bot in platform.registry.bots:
        made, kept = await ledger.executions(keys[bot.id]), await _fills(platform, bot)
        executions += len(made)
        recorded += len(kept)
        differences += [
            f"{bot.id}: execution {i} ({made[i].symbol}) is not in trading.fills" for i in made.keys() - kept
        ]
        differences += [f"{bot.id}: trading.fills has {i}, which the exchange never made" for i in kept.keys() - made]
        differences += [
            f"{bot.id}: execution {i} is {made[i]} on the exchange and {kept[i]} in trading.fills"
            for i in made.keys() & kept
            if made[i] != kept[i]
        ]
        there = await ledger.positions(keys[bot.id])
        here = {
            row.symbol: (row.side.value, row.size, row.entry_price or Decimal(0))
            for row in await read_positions(platform.live.of(bot), bot.id)
        }
        positions += len(there)
        differences += [
            f"{bot.id}: {symbol} is {_words(there.get(symbol))} on the exchange and {_words(here.get(symbol))} in Redis"
            for symbol in sorted(there.keys() | here)
            if there.get(symbol) != here.get(symbol)
        ]
    return LedgerCheck(executions, recorded, positions, differences)


async def _fills(platform: Operations, bot: Bot) -> dict[str, Execution]:
    rows = await platform.history.rows(SQL["fills"], bot.id)
    return {
        row["exec_id"]: Execution(row["symbol"], row["side"], row["exec_type"], row["qty"], row["price"], row["fee"])
        for row in rows
    }


def _words(position: tuple[str, Decimal, Decimal] | None) -> str:
    return "flat" if position is None else f"{position[0]} {plain(position[1])} at {plain(position[2])}"

"""Consistency checks: PostgreSQL against the exchange's ledger, Redis against the exchange, status against reality."""

import asyncio
import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

from alpha.live_state import keys
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.live_state.read import read_orders, read_positions, read_status, read_wallets
from alpha.model.leg import leg_of_index, slot_of
from alpha.postgres.database import POSTGRES_ERRORS
from alpha.postgres.ledger import verify
from tests.faults.fault_env import FaultEnv
from tests.faults.stack import BOT
from tests.support.world import BOTS, BotKey, until

#: Bybit rounds each row of closed P&L to this.
_ROUNDED = Decimal("0.00000001")
#: Column of trading.fills -> field of an execution, for values that must be exactly equal.
_AMOUNTS = {"price": "execPrice", "qty": "execQty", "value": "execValue", "fee": "execFee"}
_TEXTS = {"order_id": "orderId", "side": "side", "exec_type": "execType", "symbol": "symbol"}


async def fills_differ(arena: FaultEnv, bot: BotKey, *, whole: bool = False) -> list[str]:
    """Missing, surplus or unequal rows of trading.fills, one sentence each; empty when the ledgers agree.

    Rows that agreed before are only counted, so that the cost of a round is constant; `whole` compares all rows.
    """
    agreed = (0, 0) if whole else arena.agreed.get(bot.bot, (0, 0))
    last, count = agreed
    found = await arena.simulator.ledger(bot.key, after=last)
    ledger = {row["execId"]: row for row in found}
    connection = await arena.database("books")
    total = await connection.fetchval("SELECT count(*) FROM trading.fills WHERE bot_id = $1", bot.bot)
    if not whole and total != count + len(ledger):
        kind = "lost" if total < count + len(ledger) else "doubled"
        return [f"{kind}: {bot.bot}: {total} fills are stored, the exchange has {count + len(ledger)}"]
    rows = await connection.fetch(
        "SELECT * FROM trading.fills WHERE bot_id = $1 AND ($2 OR exec_id = ANY($3))", bot.bot, whole, list(ledger)
    )
    stored: dict[str, Any] = {}
    faults = []
    for row in rows:
        if row["exec_id"] in stored:
            faults.append(f"doubled: {bot.bot}: {row['exec_id']} is stored twice")
        stored[row["exec_id"]] = row
    legs = await connection.fetch(
        "SELECT f.exec_id, f.leg, o.leg AS of_order FROM trading.fills f JOIN trading.orders o USING (account_id, order_id) "
        "WHERE f.bot_id = $1 AND f.leg <> o.leg",
        bot.bot,
    )
    faults += [
        f"wrong figures: {bot.bot}: {row['exec_id']} is in {row['leg']}, its order in {row['of_order']}" for row in legs
    ]
    missing, strange = sorted(ledger.keys() - stored.keys()), sorted(stored.keys() - ledger.keys())
    faults += [f"lost: {bot.bot}: {exec_id} is missing" for exec_id in missing]
    faults += [f"doubled: {bot.bot}: {exec_id} is not the exchange's" for exec_id in strange]
    for exec_id in ledger.keys() & stored.keys():
        theirs, ours = ledger[exec_id], stored[exec_id]
        faults += [
            f"wrong figures: {bot.bot}: {exec_id} has {column} {ours[column]}, the exchange {theirs[name]}"
            for column, name in _AMOUNTS.items()
            if ours[column] != Decimal(theirs[name])
        ]
        faults += [
            f"wrong figures: {bot.bot}: {exec_id} has {column} {ours[column]}, the exchange {theirs[name]}"
            for column, name in _TEXTS.items()
            if ours[column] != theirs[name]
        ]
        if int(ours["exec_time"].timestamp() * 1000 + 0.5) != int(theirs["execTime"]) or ours["seq"] != theirs["seq"]:
            faults.append(f"wrong figures: {bot.bot}: {exec_id} has another time or seq than the exchange's")
    if not faults and found:
        arena.agreed[bot.bot] = found[-1]["n"], total
    return faults


async def live_state_differs(arena: FaultEnv, bot: BotKey, account: dict[str, Any]) -> list[str]:
    """Differences between Redis and the exchange's current state. No bot may be trading."""
    database = arena.links.database(arena.databases[bot.bot])
    faults = []
    ours = {slot_of(row.symbol, row.leg): row for row in await read_positions(database, bot.bot)}
    theirs = {slot_of(row["symbol"], leg_of_index(row["positionIdx"])): row for row in account["positions"]}
    if ours.keys() != theirs.keys():
        faults.append(f"wrong figures: {bot.bot}: positions {sorted(ours)} in Redis, {sorted(theirs)} at the exchange")
    for symbol in ours.keys() & theirs.keys():
        held, stated = ours[symbol], theirs[symbol]
        entry = Decimal(stated.get("entryPrice") or stated["avgPrice"])
        if (held.size, held.side) != (Decimal(stated["size"]), stated["side"]) or held.entry_price != entry:
            faults.append(
                f"wrong figures: {bot.bot}: {symbol} {held.side} {held.size} at {held.entry_price} in Redis, not {stated}"
            )
    open_here = set(await read_orders(database, bot.bot))
    open_there = {row["orderId"] for row in account["orders"]}
    if open_here != open_there:
        faults.append(
            f"wrong figures: {bot.bot}: open orders differ: only in Redis {sorted(open_here - open_there)}, "
            f"only at the exchange {sorted(open_there - open_here)}"
        )
    wallets = {row.coin: row.wallet_balance for row in await read_wallets(database, bot.bot)}
    lines = {row["coin"]: Decimal(row["walletBalance"]) for row in account["wallet"]["coin"]}
    stated = {coin: balance for coin, balance in lines.items() if coin in wallets or coin == "USDT" or balance}
    if wallets != stated:
        faults.append(f"wrong figures: {bot.bot}: wallet {wallets} in Redis, {stated} at the exchange")
    return faults


async def orders_differ(arena: FaultEnv, bot: BotKey, account: dict[str, Any]) -> list[str]:
    """Orders that are open in PostgreSQL but not on the exchange."""
    there = {row["orderId"] for row in account["orders"]}
    connection = await arena.database("books")
    rows = await connection.fetch(
        "SELECT order_id FROM trading.orders WHERE bot_id = $1 AND status IN ('New', 'PartiallyFilled', 'Untriggered')",
        bot.bot,
    )
    gone = sorted({row["order_id"] for row in rows} - there)
    return [
        f"wrong figures: {bot.bot}: {order_id} is open in trading.orders and closed at the exchange"
        for order_id in gone
    ]


async def settle(arena: FaultEnv, wait_s: float, *, whole: bool = False) -> list[str]:
    """Wait up to `wait_s` until the ledgers agree; returns the remaining differences. `whole`: recheck all rows."""
    faults: list[str] = []

    async def agree() -> bool:
        faults.clear()
        for bot in arena.bots:
            faults.extend(await fills_differ(arena, bot, whole=whole))
            account = await arena.simulator.account(bot.key)
            faults.extend(await live_state_differs(arena, bot, account))
            faults.extend(await orders_differ(arena, bot, account))
        if faults:
            arena.agreed_last = faults[0]
        return not faults

    try:
        await until(agree, wait_s, "the books to agree", step_s=0.2)
    except AssertionError:
        return [*faults, *[fault for bot in arena.bots for fault in await fills_differ(arena, bot, whole=True)]]
    return []


async def figures_differ(arena: FaultEnv) -> list[str]:
    """Round trips, totals and views against an exact recomputation, and against what the exchange booked as closed P&L.

    Every position is closed for it first, so that each fill belongs to a closed trip.
    """
    arena.stack.stop("bot")
    await arena.flatten()
    if faults := await settle(arena, 60.0):
        return faults
    findings = await verify(arena.owner(), lambda _: None)
    faults = [f"wrong figures: {text}" for text in findings.differences]
    connection = await arena.database("books")
    views = await connection.fetch("SELECT bot_id, sum(net) AS net FROM trading.bot_daily_performance GROUP BY bot_id")
    of_days = {row["bot_id"]: row["net"] for row in views}
    for bot in BOTS:
        rows = await connection.fetch(
            "SELECT symbol, sum(gross - fees + funding) AS net FROM trading.round_trips "
            "JOIN trading.accounts a USING (account_id) WHERE a.bot_id = $1 GROUP BY symbol",
            bot.bot,
        )
        ours = {row["symbol"]: row["net"] for row in rows}
        closed = await arena.simulator.closed_pnl(bot.key)
        theirs: dict[str, Decimal] = {}
        for row in closed:
            theirs[row["symbol"]] = theirs.get(row["symbol"], Decimal(0)) + Decimal(row["closedPnl"])
        for symbol in sorted(ours.keys() | theirs.keys()):
            net, booked = ours.get(symbol, Decimal(0)), theirs.get(symbol, Decimal(0))
            if abs(net - booked) > _ROUNDED * max(1, len(closed)):
                faults.append(
                    f"wrong figures: {bot.bot}: trips of {symbol} come to {net}, the exchange has booked {booked}"
                )
        total = sum(ours.values(), Decimal(0))
        if of_days.get(bot.bot, Decimal(0)) != total:
            faults.append(f"wrong figures: {bot.bot}: its days come to {of_days.get(bot.bot)}, its trips to {total}")
    return [*faults, *await sync_differs(arena, 90.0)]


async def sync_differs(arena: FaultEnv, wait_s: float) -> list[str]:
    """Rows of closed P&L that trade sync has stored against the exchange's, and issues it has left open."""
    faults: list[str] = []

    async def agree() -> bool:
        faults.clear()
        faults.extend(arena.stack.services["sync"].alive())
        connection = await arena.database("books")
        for bot in BOTS:
            rows = await connection.fetch("SELECT closed_pnl FROM trading.completed_trades WHERE bot_id = $1", bot.bot)
            ours = sorted(row["closed_pnl"] for row in rows)
            theirs = sorted(Decimal(row["closedPnl"]) for row in await arena.simulator.closed_pnl(bot.key))
            if ours != theirs:
                faults.append(
                    f"wrong figures: {bot.bot}: {len(ours)} rows of closed P&L come to {sum(ours)}, the exchange's {len(theirs)} to {sum(theirs)}"
                )
        issues = await connection.fetch(
            "SELECT bot_id, kind, subject, explanation FROM trading.reconciliation_issues WHERE state = 'open'"
        )
        faults.extend(f"wrong figures: trade sync has an open issue: {dict(issue)}" for issue in issues)
        return not faults

    with suppress(AssertionError):
        await until(agree, wait_s, "trade sync to agree", step_s=1.0)
    return faults


async def bot_differs(arena: FaultEnv, wait_s: float) -> list[str]:
    """What the real bot knows and has done against the exchange: nothing entered twice, every position known and with its stop."""
    found: list[str] = arena.stack.doubled(await arena.simulator.ledger(BOT.key, arena.stack.after))
    faults: list[str] = []

    async def agree() -> bool:
        faults.clear()
        connection = await arena.database("books")
        rows = await connection.fetch("SELECT name, state FROM trading.strategy_state WHERE bot_id = $1", BOT.bot)
        state = {row["name"]: json.loads(row["state"]) for row in rows}
        runtime, known = state.get("runtime", {}), state.get("positions", {})
        held = {row["symbol"]: row for row in (await arena.simulator.account(BOT.key))["positions"]}
        if runtime.get("paused"):
            faults.append(f"the bot is paused: {runtime['paused']}")
        if known.keys() != held.keys():
            faults.append(f"the bot knows {sorted(known)}, the exchange has {sorted(held)}")
        faults.extend(
            f"the bot's {symbol} has no stop" for symbol, row in held.items() if not Decimal(row["stopLoss"] or 0)
        )
        faults.extend(
            f"the bot knows {known[symbol]['size']} {symbol}, the exchange {held[symbol]['size']}"
            for symbol in known.keys() & held.keys()
            if Decimal(known[symbol]["size"]) != Decimal(held[symbol]["size"])
        )
        return not faults

    with suppress(AssertionError):
        await until(agree, wait_s, "the bot to agree", step_s=0.2)
    return [*found, *faults]


class Watcher:
    """Checks during faults that a bot's status never claims more than is true.

    `synced` with a reconciliation that started at T means: for every order that the exchange had acknowledged before T,
    the fills are in PostgreSQL.
    """

    def __init__(self, arena: FaultEnv) -> None:
        self.lies: list[str] = []
        self.looks = 0
        self.stop = False
        self._arena = arena
        self._stored: dict[str, set[str]] = {bot.bot: set() for bot in BOTS}
        self._checked: dict[str, int] = {bot.bot: 0 for bot in BOTS}
        self._steps = arena.clock_steps
        self._since_step: dict[str, set[int]] = {}

    async def run(self) -> None:
        """Check until `stop`. While a store is unavailable no status can be read, so none can mislead."""
        while not self.stop:
            for bot in BOTS:
                try:
                    await self._look(bot)
                except REDIS_UNAVAILABLE:
                    continue
                except POSTGRES_ERRORS:
                    # a connection that broke mid-query may be unusable
                    self._arena.forget_database("watcher")
            self._arena.watch_memory()
            await asyncio.sleep(0.25)

    def _by_this_clock(self, bot: str, synced_ms: int) -> bool:
        """False for what was stamped before the clock was last set: the status of then, and that of an audit under way."""
        if self._arena.clock_steps != self._steps:
            self._steps, self._since_step = self._arena.clock_steps, {each.bot: set() for each in BOTS}
        if not self._since_step:
            return True
        self._since_step[bot].add(synced_ms)
        return len(self._since_step[bot]) > 2

    async def _look(self, bot: BotKey) -> None:
        database = self._arena.links.database(self._arena.databases[bot.bot])
        if not await database.exists(keys.status(bot.bot)):
            return
        status = await read_status(database, bot.bot)
        if status is None or status.state != "synced" or status.synced_at is None:
            return
        synced_ms = int(status.synced_at.timestamp() * 1000)
        if not self._by_this_clock(bot.bot, synced_ms):
            return
        sent = self._arena.sent.acknowledged.get(bot.key, [])
        first = self._checked[bot.bot] if self._checked[bot.bot] <= len(sent) else 0
        due = [order_id for at_ms, order_id in sent[first:] if at_ms < synced_ms]
        if not due:
            return
        connection = await self._arena.database("watcher")
        rows = await connection.fetch("SELECT DISTINCT order_id FROM trading.fills WHERE order_id = ANY($1)", due)
        missing = set(due) - {row["order_id"] for row in rows}
        self.looks += 1
        if missing:
            self.lies.append(
                f"false synced: {bot.bot} says synced at {synced_ms}, and has no fill of {sorted(missing)[:3]}"
            )
        self._checked[bot.bot] = first + len(due)

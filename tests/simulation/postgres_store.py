"""A PostgreSQL in memory behind asyncpg's interface, for the statements that listener, bot and guard send. Any can fail.

Transactions are atomic. A statement that this file does not know is an error, so that a new one is added here.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import asyncpg

from alpha.model.order import CLOSED_STATUSES
from alpha.postgres.fills import INSERT_FILLS
from bot_runner import store as bot_store
from risk_guard import store as guard_store
from tests.simulation.faults import Outages
from websocket_listener import store as listener_store

_FILLED_LATER = ("order_link_id", "fee_currency", "closed_size", "exec_pnl", "extra_fees")
_READS = ("SELECT ",)
_DECODE = json.JSONDecoder(parse_float=Decimal).decode
Undo = list[Callable[[], None]]


class PostgresServer:
    """The tables."""

    def __init__(self, outages: Outages, wall_s: Callable[[], float]) -> None:
        self.outages = outages
        self._wall_s = wall_s
        self.accounts: dict[tuple[str, str], tuple[int, str]] = {}
        self.wishes: dict[str, str] = {}
        self.fills: dict[tuple[int, str, str, str], dict[str, Any]] = {}
        self.orders: dict[tuple[int, str], dict[str, Any]] = {}
        self.watermarks: dict[tuple[int, str], datetime] = {}
        self.openings: list[tuple[Any, ...]] = []
        self.rejected: list[tuple[Any, ...]] = []
        self.state: dict[tuple[int, str], dict[str, Any]] = {}
        #: A restore went back to before a bot had saved anything: its successor must not trade before a person has looked.
        self.lost_first_state = False
        self.intents: dict[tuple[int, str], str] = {}
        self._older: list[tuple[float, dict[tuple[int, str], dict[str, Any]], dict[tuple[int, str], str]]] = []
        #: Ids whose reason was ever recorded, whatever a restore has lost since.
        self.recorded: set[str] = set()
        #: By id: "enter limit", "exit market", "target limit one" with the target's tag.
        self.intent_kinds: dict[str, str] = {}
        self.halts: list[dict[str, Any]] = []
        self.guard: dict[tuple[int, str], Any] = {}
        #: (table, key) to the row of a lease; and who has such a row locked in an open transaction.
        self.leases: dict[tuple[str, Any], dict[str, Any]] = {}
        self.shared_locks: dict[tuple[str, Any], set[Connection]] = {}
        self.account_settings: dict[tuple[int, str], str] = {}
        self.members: dict[str, datetime] = {}
        #: Statements that this file does not know yet: each is a breach.
        self.unknown: set[str] = set()
        #: Called with (table, key, holder, token) whenever a lease changes hands.
        self.taken: Callable[[str, Any, str, int], None] = lambda *_: None

    def _keep_older(self) -> None:
        """What a restore would bring back: the bots' states until now, by when they were saved."""
        self._older.append((self._wall_s(), dict(self.state), dict(self.intents)))

    def restore(self, back_s: float) -> None:
        """What bots have saved in the last `back_s` seconds is lost, as after a failover to a standby that lagged behind."""
        since_s = self._wall_s() - back_s
        lost = [kept for kept in self._older if kept[0] >= since_s]
        if lost:
            _, self.state, self.intents = lost[0]
            self.lost_first_state = self.lost_first_state or not self.state
            self._older = self._older[: -len(lost)]

    def now(self) -> datetime:
        """The database's clock."""
        return datetime.fromtimestamp(self._wall_s(), UTC)

    async def run(
        self, sql: str, args: tuple[Any, ...], connection: "Connection | None" = None
    ) -> list[dict[str, Any]]:
        """One statement."""
        before, after = await self.outages.meet(asyncpg.ConnectionDoesNotExistError)
        if before is not None:
            raise before
        reads = sql.lstrip().startswith(_READS) and "register_account" not in sql
        if self.outages.refuses_writes and not reads:
            raise asyncpg.DiskFullError("could not extend file: No space left on device")
        undo: Undo = [] if connection is None or connection.undo is None else connection.undo
        found = await self._statement(sql, args, undo, connection)
        if after is not None:
            raise after
        return found

    async def _statement(
        self, sql: str, a: tuple[Any, ...], undo: Undo, connection: "Connection | None"
    ) -> list[dict[str, Any]]:
        text = " ".join(sql.split())
        known = _KNOWN.get(sql) or next((run for start, run in _STARTS if text.startswith(start)), None)
        if known is not None:
            found: list[dict[str, Any]] = known(self, a, undo)
            return found
        for table in ("trading.bot_leases", "trading.guard_lease", "trading.listener_leases"):
            if table in text and not text.startswith("SELECT acquisitions"):
                return await self._lease(table, text, a, connection)
        self.unknown.add(text[:200])
        raise AssertionError(f"this PostgreSQL does not know the statement {text[:200]!r}")

    # --- leases ----------------------------------------------------------------------------------------------------

    async def _lease(
        self, table: str, text: str, a: tuple[Any, ...], connection: "Connection | None"
    ) -> list[dict[str, Any]]:
        now = self.now()
        if text.startswith("INSERT"):
            holder, seconds, key = a[0], a[1], a[2]
            while any(other is not connection for other in self.shared_locks.get((table, key), ())):
                await asyncio.sleep(0.05)
            return self._acquire(table, key, holder, seconds)
        if text.startswith("SELECT holder"):
            row = self.leases.get((table, a[0]))
            return [] if row is None else [{"holder": row["holder"]}]
        if text.startswith("SELECT token"):
            row = self.leases.get((table, a[0]))
            if row is not None and connection is not None and connection.undo is not None:
                self.shared_locks.setdefault((table, a[0]), set()).add(connection)
            return [] if row is None else [{"token": row["token"]}]
        if "unnest($3::text[], $4::bigint[])" in text:
            return self._renew_many(table, a[0], a[1], dict(zip(a[2], a[3], strict=True)))
        releases = "released_token = token" in text
        holder, token, key = (a[0], a[1], a[2]) if releases else (a[0], a[2], a[3])
        row = self.leases.get((table, key))
        if row is None or row["holder"] != holder or row["token"] != token:
            return []
        if releases:
            row |= {"expires_at": now, "released_token": token}
        else:
            row["expires_at"] = now + timedelta(seconds=a[1])
        return [{"token": token}]

    def _renew_many(self, table: str, holder: str, seconds: float, tokens: dict[str, int]) -> list[dict[str, Any]]:
        kept = []
        for name, token in tokens.items():
            row = self.leases.get((table, name))
            if row is not None and row["holder"] == holder and row["token"] == token:
                row["expires_at"] = self.now() + timedelta(seconds=seconds)
                kept.append({"name": name})
        return kept

    def _acquire(self, table: str, key: Any, holder: str, seconds: float) -> list[dict[str, Any]]:
        now = self.now()
        epoch_ms = int(now.timestamp() * 1000)
        row = self.leases.get((table, key))
        until = now + timedelta(seconds=seconds)
        if row is None:
            row = {"holder": holder, "token": epoch_ms, "acquisitions": 1, "handed_over": True, "released_token": None}
        elif row["expires_at"] < now or row["holder"] == holder:
            if row["holder"] != holder:
                row["handed_over"] = row["released_token"] == row["token"]
            row |= {
                "holder": holder,
                "token": max(row["token"] + 1, epoch_ms),
                "acquisitions": row["acquisitions"] + 1,
            }
        else:
            return []
        row["expires_at"] = until
        self.leases[table, key] = row
        self.taken(table, key, holder, row["token"])
        return [{"token": row["token"], "handed_over": row["handed_over"]}]

    # --- the listener ----------------------------------------------------------------------------------------------

    def register(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        number, bot = self.accounts.setdefault((str(a[0]), a[1]), (len(self.accounts) + 1, a[2]))
        assert bot == a[2]
        return [{"id": number}]

    def insert_fills(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        answer = []
        for row in _DECODE(a[0]):
            key = (row["account_id"], row["category"], row["symbol"], row["exec_id"])
            stored = self.fills.get(key)
            if stored is None:
                self.fills[key] = row
                undo.append(partial(_put, self.fills, key, None))
                answer.append({"inserted": True})
                continue
            later = {name: row[name] for name in _FILLED_LATER if stored[name] is None and row[name] is not None}
            if later:
                before = dict(stored)
                undo.append(partial(stored.update, before))
                stored.update(later)
                answer.append({"inserted": False})
        return answer

    def upsert_orders(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        ended = CLOSED_STATUSES
        for row in _DECODE(a[0]):
            key = (row["account_id"], row["order_id"])
            known = self.orders.get(key)
            if known is not None:
                if known["status"] in ended:
                    if row["status"] not in ended or Decimal(row["cum_exec_qty"]) <= Decimal(known["cum_exec_qty"]):
                        continue
                elif row["status"] not in ended and _age(row) < _age(known):
                    continue
            undo.append(partial(_put, self.orders, key, known))
            self.orders[key] = row
        return []

    def open_orders(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        ended = CLOSED_STATUSES
        return [
            {
                "order_id": order_id,
                "symbol": row["symbol"],
                "updated_at": datetime.fromisoformat(row["updated_at"].replace("Z", "+00:00")),
            }
            for (account, order_id), row in self.orders.items()
            if account == a[0] and row["status"] not in ended
        ]

    def forget_order(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        self.orders[a[0], a[1]]["status"] = "Cancelled"
        return []

    def moved_stops(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        return [
            {"order_id": order_id, "reason": row["reason"]}
            for (account, order_id), row in self.orders.items()
            if account == a[0] and order_id in a[1] and row["reason"] in a[2]
        ]

    def read_watermark(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        found = self.watermarks.get((a[0], a[1]))
        return [] if found is None else [{"read_to": found}]

    def move_watermark(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        key, before = (a[0], a[1]), self.watermarks.get((a[0], a[1]))
        if before is None or a[2] > before:
            undo.append(lambda: _put(self.watermarks, key, before))
            self.watermarks[key] = a[2]
        return []

    def stored_fills(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        rows = [row for key, row in self.fills.items() if key[0] == a[0] and row["exec_type"] in a[2]]
        rows.sort(key=lambda row: (row["exec_time"], row["seq"], row["exec_id"]))
        return [
            row
            | {"qty": Decimal(row["qty"]), "price": Decimal(row["price"])}
            | {"exec_time": datetime.fromisoformat(row["exec_time"].replace("Z", "+00:00"))}
            for row in rows
        ]

    def insert_opening(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        self.openings.append(a)
        return []

    def nothing(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        return []

    def recompute(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        return [{"done": None}]

    def positions_state(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        row = self.state.get((a[0], "positions"))
        return [] if row is None else [{"state": _copy(row["state"])}]

    # --- the bot ---------------------------------------------------------------------------------------------------

    def wish(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        return [{"wish": self.wishes.get(a[0], "running")}]

    def last_account(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        rows = sorted((row["updated_at"], key[0]) for key, row in self.state.items() if row["bot_id"] == a[0])
        return [{"account_id": rows[-1][1]}] if rows else []

    def load_state(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        return [
            {"name": name, "state": _copy(row["state"])}
            for (account, name), row in self.state.items()
            if account == a[0]
        ]

    def save_state(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        account, bot, token, names, states = a
        lease = self.leases.get(("trading.bot_leases", account))
        newest = max(
            [0 if lease is None else lease["token"]]
            + [row["token"] for (number, _), row in self.state.items() if number == account]
        )
        if token < newest:
            raise asyncpg.PostgresError.new({"C": "AL002", "M": "written under a newer lease"})
        for name, state in zip(names, states, strict=True):
            self._keep_older()
            self.state[account, name] = {
                "state": _copy(state),
                "bot_id": bot,
                "token": token,
                "updated_at": self.now(),
            }
        return []

    def record_intents(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        for link_id, symbol, intent, kind, tag in zip(a[2], a[3], a[5], a[6], a[10], strict=True):
            self.intents.setdefault((a[0], link_id), symbol)
            named = f"{intent} {kind} {tag}" if intent == "target" else f"{intent} {kind}"
            self.intent_kinds.setdefault(link_id, named)
            self.recorded.add(link_id)
        return []

    def halted(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        return [
            {"reason": halt["reason"]}
            for halt in self.halts
            if halt["account_id"] in {None, a[0]}
            and halt["bot_id"] in {None, a[1]}
            and halt["symbol"] in {None, a[2]}
            and (halt["expires_at"] is None or halt["expires_at"] > a[3])
        ][:1]

    # --- the guard -------------------------------------------------------------------------------------------------

    def sent(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        row = self.state.get((a[0], "runtime"))
        return [] if row is None else [{"sent": list(row["state"]["sent"])}]

    def load_guard(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        return [{"state": _copy(self.guard[a[0], a[1]])}] if (a[0], a[1]) in self.guard else []

    def load_guard_all(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        return [
            {"state": _copy(state)}
            for (account, name), state in self.guard.items()
            if account == a[0] and name.split(":", 1)[0] == a[1]
        ]

    def save_guard(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        self.guard[a[0], a[1]] = _copy(a[2])
        return []

    def forget_closing(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        if (self.guard.get((a[0], a[1])) or {}).get("command_id") == a[2]:
            del self.guard[a[0], a[1]]
        return []

    def begun(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        return [{"id": state["command_id"]} for (_, name), state in self.guard.items() if name.startswith("closing")]

    def halt(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        names = ("account_id", "bot_id", "symbol", "kind", "reason", "created_by", "expires_at")
        self.halts.append(dict(zip(names, a, strict=True)))
        return []

    def lift(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        gone = [halt for halt in self.halts if a[0] in {None, halt["bot_id"]} and a[1] in {None, halt["created_by"]}]
        self.halts = [halt for halt in self.halts if halt not in gone]
        return [{"halt_id": 1} for _ in gone]

    def halts_by(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        found = any(
            halt["created_by"] == a[0] and (halt["expires_at"] is None or halt["expires_at"] > a[1])
            for halt in self.halts
        )
        return [{"found": found}]

    def set_desired_state(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        if self.wishes.get(a[0], "running") != "stopped":
            self.wishes[a[0]] = a[1]
        return []

    def acquisitions(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        row = self.leases.get(("trading.bot_leases", a[0]))
        return [] if row is None else [{"acquisitions": row["acquisitions"]}]

    def lost(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        row = self.leases.get(("trading.bot_leases", a[0]))
        return [] if row is None else [{"lost": row["expires_at"] < self.now() - timedelta(seconds=a[1])}]

    def set_setting(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        before = self.account_settings.get((a[0], a[1]))
        self.account_settings[a[0], a[1]] = a[2]
        return [{"value": before}]

    def member(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        now = self.now()
        self.members[a[0]] = now + timedelta(seconds=a[1])
        return [{"others": sum(name != a[0] and until > now for name, until in self.members.items())}]

    def leave(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        self.members.pop(a[0], None)
        return []

    def reject(self, a: tuple[Any, ...], undo: Undo) -> list[dict[str, Any]]:
        self.rejected.append(a)
        return []


_S = PostgresServer
_KNOWN: dict[str, Any] = {
    INSERT_FILLS: _S.insert_fills,
    listener_store._UPSERT_ORDERS: _S.upsert_orders,
    listener_store._OPEN_ORDERS: _S.open_orders,
    listener_store.SQL["moved_stops"]: _S.moved_stops,
    listener_store.SQL["stored_fills"]: _S.stored_fills,
    listener_store.SQL["delivered"]: _S.nothing,
    bot_store.SQL["save"]: _S.save_state,
    bot_store.SQL["record"]: _S.record_intents,
    bot_store.SQL["halt"]: _S.halted,
    bot_store.SQL["last_account"]: _S.last_account,
    guard_store.SQL["save"]: _S.save_guard,
    guard_store.SQL["halt"]: _S.halt,
    guard_store.SQL["lift"]: _S.lift,
    guard_store.SQL["halts_by"]: _S.halts_by,
    guard_store.SQL["set_wish"]: _S.set_desired_state,
}
_STARTS: tuple[tuple[str, Any], ...] = (
    ("SELECT trading.register_account", _S.register),
    ("SELECT read_to FROM trading.watermarks", _S.read_watermark),
    ("INSERT INTO trading.watermarks", _S.move_watermark),
    ("INSERT INTO trading.opening_positions", _S.insert_opening),
    ("INSERT INTO trading.equity_snapshots", _S.nothing),
    ("UPDATE trading.orders SET status = 'Cancelled'", _S.forget_order),
    ("SELECT done FROM trading.recompute_step()", _S.recompute),
    ("SELECT state FROM trading.strategy_state WHERE account_id = $1 AND name = 'positions'", _S.positions_state),
    ("SELECT name, state FROM trading.strategy_state", _S.load_state),
    ("SELECT wish FROM trading.bots", _S.wish),
    ("SELECT state -> 'sent' AS sent", _S.sent),
    ("SELECT state FROM trading.guard_state WHERE account_id = $1 AND name = $2", _S.load_guard),
    ("SELECT state FROM trading.guard_state WHERE account_id = $1 AND split_part", _S.load_guard_all),
    ("DELETE FROM trading.guard_state", _S.forget_closing),
    ("SELECT state ->> 'command_id' AS id", _S.begun),
    ("SELECT acquisitions FROM trading.bot_leases", _S.acquisitions),
    ("SELECT expires_at < clock_timestamp()", _S.lost),
    ("SELECT category, symbol, exec_id, exec_time, fee_currency FROM trading.fills", _S.nothing),
    ("WITH before AS (SELECT value FROM trading.account_settings", _S.set_setting),
    ("WITH own AS ( INSERT INTO trading.listener_members", _S.member),
    ("DELETE FROM trading.listener_members", _S.leave),
    ("SELECT DISTINCT symbol, leg FROM trading.fills", _S.nothing),
    ("SELECT DISTINCT ON (f.symbol, f.leg)", _S.nothing),
    ("SELECT c FROM unnest($2::text[]) AS c", _S.nothing),
    ("INSERT INTO audit.rejected_messages", _S.reject),
)


class Connection:
    """One connection. Outside a transaction each statement is committed by itself."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.undo: Undo | None = None

    async def fetch(self, sql: str, *args: Any, timeout: float | None = None) -> list[Any]:
        """Rows; a row answers to names and to numbers."""
        return [Row(row) for row in await self._server.run(sql, args, self)]

    async def fetchval(self, sql: str, *args: Any, timeout: float | None = None) -> Any:
        """The first value of the first row."""
        rows = await self._server.run(sql, args, self)
        return next(iter(rows[0].values())) if rows else None

    async def execute(self, sql: str, *args: Any, timeout: float | None = None) -> str:
        """No rows."""
        await self._server.run(sql, args, self)
        return "DONE"

    async def executemany(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        """One statement for each row."""
        for row in rows:
            await self._server.run(sql, row, self)

    def transaction(self) -> "Transaction":
        """All of it or nothing."""
        return Transaction(self)

    def terminate(self) -> None:
        """The server rolls back and lets its locks go."""
        self.end(kept=False)

    def end(self, *, kept: bool) -> None:
        """End the transaction, if there is one."""
        undo, self.undo = self.undo, None
        if undo and not kept:
            for step in reversed(undo):
                step()
        for holders in self._server.shared_locks.values():
            holders.discard(self)

    async def commit(self) -> None:
        """May fail before it took effect or after, like any statement."""
        before, after = await self._server.outages.meet(asyncpg.ConnectionDoesNotExistError)
        self.end(kept=before is None)
        if before is not None or after is not None:
            raise before or after  # type: ignore[misc]


class Row(dict[str, Any]):
    """A row as asyncpg's Record."""

    def __getitem__(self, key: Any) -> Any:
        return list(self.values())[key] if isinstance(key, int) else super().__getitem__(key)


class Transaction:
    """A transaction of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def __aenter__(self) -> None:
        self._connection.undo = []

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self._connection.commit()
        else:
            self._connection.end(kept=False)


class Acquired:
    """`await pool.acquire()` and `async with pool.acquire()`."""

    def __init__(self, pool: "ConnectionPool", wait_s: float) -> None:
        self._pool = pool
        self._wait_s = wait_s
        self._connection: Connection | None = None

    def __await__(self) -> Any:
        return self._pool.take(self._wait_s).__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self._pool.take(self._wait_s)
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.end(kept=False)


class ConnectionPool:
    """A pool of one process."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    async def take(self, wait_s: float) -> Connection:
        """A connection, where the server answers in time."""
        before, after = await self._server.outages.meet(ConnectionRefusedError, wait_s)
        if before is not None or after is not None:
            raise before or after  # type: ignore[misc]
        return Connection(self._server)

    def acquire(self, *, timeout: float | None = None) -> Acquired:
        """A connection."""
        return Acquired(self, timeout or 30.0)

    async def release(self, connection: Connection, *, timeout: float | None = None) -> None:
        """Give it back."""
        connection.end(kept=False)

    async def fetch(self, sql: str, *args: Any) -> list[Any]:
        """One statement on any connection."""
        return await Connection(self._server).fetch(sql, *args)

    async def close(self) -> None:
        """Nothing is held."""

    def terminate(self) -> None:
        """Nothing is held."""


def _age(row: dict[str, Any]) -> tuple[str, Decimal]:
    return row["updated_at"], Decimal(row["cum_exec_qty"])


def _put(table: dict[Any, Any], key: Any, row: Any) -> None:
    if row is None:
        table.pop(key, None)
    else:
        table[key] = row


def _copy(state: Any) -> Any:
    """What comes out of `jsonb` is never what went in."""
    return _DECODE(json.dumps(state))

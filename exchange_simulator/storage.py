"""History and state in SQLite: rows are buffered briefly and written in batches.

Without a path a temporary file is used and deleted at the end, so history costs disk, not memory. With a path every
change is written before it is acknowledged, and the next start resumes from there.
"""

import re
import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from exchange_simulator.engine.model import (
    ClosedPnl,
    Event,
    Execution,
    LedgerLine,
    Order,
    PositionView,
    SessionSettled,
    WalletView,
)

BUFFER_ROWS = 2_000
PARTLY = "+"  # suffix of the state of an order that has fills
WAITED = "*"  # suffix of the state of an order that was conditional
T = TypeVar("T")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS executions (
    n INTEGER PRIMARY KEY, uid INTEGER NOT NULL, symbol TEXT NOT NULL, time_ms INTEGER NOT NULL,
    kind TEXT NOT NULL, order_id TEXT NOT NULL, link_id TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS executions_time ON executions (uid, time_ms, n);
CREATE INDEX IF NOT EXISTS executions_order ON executions (order_id);
CREATE INDEX IF NOT EXISTS executions_link ON executions (uid, link_id) WHERE link_id <> '';
CREATE TABLE IF NOT EXISTS orders (
    n INTEGER PRIMARY KEY, uid INTEGER NOT NULL, symbol TEXT NOT NULL, time_ms INTEGER NOT NULL,
    kind TEXT NOT NULL, order_id TEXT NOT NULL UNIQUE, link_id TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS orders_time ON orders (uid, time_ms, n);
CREATE INDEX IF NOT EXISTS orders_uid ON orders (uid, n);
CREATE INDEX IF NOT EXISTS orders_link ON orders (uid, link_id) WHERE link_id <> '';
CREATE TABLE IF NOT EXISTS closed_pnl (
    n INTEGER PRIMARY KEY, uid INTEGER NOT NULL, symbol TEXT NOT NULL, time_ms INTEGER NOT NULL,
    kind TEXT NOT NULL, order_id TEXT NOT NULL, link_id TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS closed_pnl_time ON closed_pnl (uid, time_ms, n);
CREATE TABLE IF NOT EXISTS ledger (
    n INTEGER PRIMARY KEY, uid INTEGER NOT NULL, symbol TEXT NOT NULL, time_ms INTEGER NOT NULL,
    kind TEXT NOT NULL, order_id TEXT NOT NULL, link_id TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS ledger_time ON ledger (uid, time_ms, n);
CREATE TABLE IF NOT EXISTS settlements (
    n INTEGER PRIMARY KEY, uid INTEGER NOT NULL, symbol TEXT NOT NULL, time_ms INTEGER NOT NULL,
    kind TEXT NOT NULL, order_id TEXT NOT NULL, link_id TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS settlements_time ON settlements (uid, time_ms, n);
CREATE TABLE IF NOT EXISTS open_orders (order_id TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, data BLOB NOT NULL);
"""
_INSERT = {
    table: f"INSERT INTO {table} (uid, symbol, time_ms, kind, order_id, link_id, data) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    for table in ("executions", "orders", "closed_pnl", "ledger", "settlements")
}


class StorageError(Exception):
    """The database file cannot be used. The message is one sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Query:
    """A page of one account's history, newest first. Times are inclusive; `after` is the last row already seen."""

    uid: int
    from_ms: int | None = None
    to_ms: int | None = None
    symbols: Sequence[str] = ()
    kinds: Sequence[str] = ()
    passing_kinds: Sequence[str] = ()  # kinds shown only from `passing_ms` on
    passing_ms: int = 0
    order_id: str = ""
    link_id: str = ""
    after: tuple[int, int] | None = None
    newer_than: int = 0  # row number
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows, and the cursor of the next page ("" at the end)."""

    rows: list[T]
    cursor: str


class Storage:
    """The exchange's history. Not thread-safe."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._folder = tempfile.TemporaryDirectory(prefix="exchange-") if path is None else None
        file = Path(self._folder.name) / "history.sqlite" if self._folder is not None else path
        try:
            self._db = sqlite3.connect(str(file), isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA synchronous = {'NORMAL' if path else 'OFF'}")
            self._db.execute("PRAGMA cache_size = -32000")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise StorageError(f"{file} cannot be used as the exchange's storage: {error}.") from None
        self._pending: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _INSERT}
        self._links: dict[tuple[int, str], None] = {}
        self._open: dict[str, bytes | None] = {}
        self._count = 0
        self._first_closed = int(self._db.execute("SELECT coalesce(max(n), 0) FROM orders").fetchone()[0])

    def close(self) -> None:
        self.flush()
        self._db.close()
        if self._folder is not None:
            self._folder.cleanup()

    # --- writing ------------------------------------------------------------------------------------------------

    def record(self, events: Iterable[Event]) -> None:
        """Buffers events that belong to history; they are written at the next flush."""
        encode = msgspec.msgpack.encode
        pending = self._pending
        for event in events:
            if isinstance(event, Execution):
                pending["executions"].append(
                    (
                        event.uid,
                        event.symbol,
                        event.time_ms,
                        event.exec_type,
                        event.order_id,
                        event.link_id,
                        encode(event),
                    )
                )
            elif isinstance(event, Order):
                if not event.open:
                    pending["orders"].append(
                        (
                            event.uid,
                            event.symbol,
                            event.created_ms,
                            _order_kind(event),
                            event.order_id,
                            event.link_id,
                            encode(event),
                        )
                    )
                    if event.link_id:
                        self._links[event.uid, event.link_id] = None
                if self.path is not None:
                    self._open[event.order_id] = encode(event) if event.open else None
            elif isinstance(event, ClosedPnl):
                pending["closed_pnl"].append(
                    (event.uid, event.symbol, event.created_ms, event.exec_type, event.order_id, "", encode(event))
                )
            elif isinstance(event, LedgerLine):
                pending["ledger"].append(
                    (
                        event.uid,
                        event.symbol,
                        event.time_ms,
                        ledger_kind(event.kind, event.coin),
                        event.order_id,
                        event.link_id,
                        encode(event),
                    )
                )
            elif isinstance(event, SessionSettled):
                pending["settlements"].append(
                    (event.uid, event.symbol, event.time_ms, "SETTLEMENT", "", "", encode(event))
                )
            elif isinstance(event, PositionView | WalletView):
                continue
            self._count += 1
        if self._count >= BUFFER_ROWS and self.path is None:
            self.flush()

    def flush(self, state: dict[str, bytes] | None = None) -> None:
        """Writes buffered rows together with the matching `state` in one transaction."""
        if not self._count and not state:
            return
        self._db.execute("BEGIN")
        for table, rows in self._pending.items():
            if rows:
                self._db.executemany(_INSERT[table], rows)
                rows.clear()
        if self._open:
            gone = [(order_id,) for order_id, data in self._open.items() if data is None]
            kept = [(order_id, data) for order_id, data in self._open.items() if data is not None]
            self._db.executemany("DELETE FROM open_orders WHERE order_id = ?", gone)
            self._db.executemany("INSERT OR REPLACE INTO open_orders (order_id, data) VALUES (?, ?)", kept)
            self._open.clear()
        if state:
            self._db.executemany("INSERT OR REPLACE INTO state (name, data) VALUES (?, ?)", list(state.items()))
        self._db.execute("COMMIT")
        self._links.clear()
        self._count = 0

    # --- state --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, bytes]:
        """The state saved by the last flush."""
        return dict(self._db.execute("SELECT name, data FROM state").fetchall())

    def open_orders(self) -> list[Order]:
        """Orders that were open at the last flush."""
        rows = self._db.execute("SELECT data FROM open_orders").fetchall()
        return [msgspec.msgpack.decode(data, type=Order) for (data,) in rows]

    # --- reading ------------------------------------------------------------------------------------------------

    def link_used(self, uid: int, link_id: str) -> bool:
        """True when a closed order of the account has this orderLinkId."""
        if (uid, link_id) in self._links:
            return True
        found = self._db.execute(
            "SELECT 1 FROM orders WHERE uid = ? AND link_id = ? AND link_id <> '' LIMIT 1", (uid, link_id)
        )
        return found.fetchone() is not None

    def before_recent(self, uid: int, count: int) -> int:
        """Row number after which the `count` newest orders lie that an account closed since this start."""
        self.flush()
        sql = "SELECT n FROM orders WHERE uid = ? AND n > ? ORDER BY n DESC LIMIT 1 OFFSET ?"
        found = self._db.execute(sql, (uid, self._first_closed, count)).fetchone()
        return int(found[0]) if found is not None else self._first_closed

    def page(self, table: str, query: Query, kind: type[T]) -> Page[T]:
        """Rows of `executions`, `orders`, `closed_pnl` or `ledger`, newest first, each row once over all pages."""
        self.flush()
        where, values = _conditions(query)
        sql = f"SELECT n, time_ms, data FROM {table} WHERE {where} ORDER BY time_ms DESC, n DESC LIMIT ?"  # noqa: S608
        rows = self._db.execute(sql, (*values, query.limit)).fetchall()
        cursor = f"{rows[-1][1]}%3A{rows[-1][0]}" if len(rows) == query.limit else ""
        decoder = msgspec.msgpack.Decoder(kind)
        return Page([decoder.decode(data) for _, _, data in rows], cursor)

    def after(self, table: str, uid: int | None, n: int, limit: int, kind: type[T]) -> list[tuple[int, T]]:
        """Rows after row number `n` in insertion order; for the ledger endpoint."""
        self.flush()
        which, values = ("uid = ? AND ", (uid,)) if uid is not None else ("", ())
        sql = f"SELECT n, data FROM {table} WHERE {which}n > ? ORDER BY n LIMIT ?"  # noqa: S608
        decoder = msgspec.msgpack.Decoder(kind)
        return [(n, decoder.decode(data)) for n, data in self._db.execute(sql, (*values, n, limit))]

    def count(self, table: str, uid: int) -> int:
        self.flush()
        return int(self._db.execute(f"SELECT count(*) FROM {table} WHERE uid = ?", (uid,)).fetchone()[0])  # noqa: S608


def ledger_kind(kind: str, coin: str) -> str:
    """The kind of a line in the ledger's index, with the coin as suffix unless it is USDT."""
    return kind if coin == "USDT" else f"{kind}/{coin}"


def _order_kind(order: Order) -> str:
    return f"{order.status}{PARTLY if order.cum_qty else ''}{WAITED if order.stop_order_type else ''}"


def order_kinds(status: str, waited: bool | None = None) -> tuple[str, ...]:
    """All kinds of orders that ended in a state: with and without fills; conditional, other, or both."""
    return tuple(
        f"{status}{partly}{mark}"
        for partly in ("", PARTLY)
        for mark in ("", WAITED)
        if waited is None or waited == bool(mark)
    )


def _conditions(query: Query) -> tuple[str, list[object]]:
    parts: list[str] = ["uid = ?"]
    values: list[object] = [query.uid]
    if query.order_id:
        parts.append("order_id = ?")
        values.append(query.order_id)
    elif query.link_id:
        parts.append("link_id = ? AND link_id <> ''")  # lets SQLite use the partial index
        values.append(query.link_id)
    if query.from_ms is not None:
        parts.append("time_ms >= ?")
        values.append(query.from_ms)
    if query.to_ms is not None:
        parts.append("time_ms <= ?")
        values.append(query.to_ms)
    for column, members in (("symbol", query.symbols), ("kind", query.kinds)):
        if members:
            parts.append(f"{column} IN ({', '.join('?' * len(members))})")
            values.extend(members)
    if query.passing_kinds:
        parts.append(f"(time_ms >= ? OR kind NOT IN ({', '.join('?' * len(query.passing_kinds))}))")
        values.extend((query.passing_ms, *query.passing_kinds))
    if query.newer_than:
        parts.append("n > ?")
        values.append(query.newer_than)
    if query.after is not None:
        parts.append("(time_ms, n) < (?, ?)")
        values.extend(query.after)
    return " AND ".join(parts), values


def read_cursor(text: str) -> tuple[int, int] | None:
    """Decodes a cursor; None for an empty one. Raises `ValueError` for one that no page returned."""
    if not text:
        return None
    found = re.fullmatch(r"([0-9]{1,18})(?::|%3[Aa])([0-9]{1,18})", text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is not a cursor")
    return int(found[1]), int(found[2])

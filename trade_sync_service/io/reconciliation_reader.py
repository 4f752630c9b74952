"""Reads our side of a reconciliation from PostgreSQL."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from alpha.model.leg import slot_of
from alpha.model.timestamp import at, ms_of
from alpha.postgres.database import Connection
from alpha.postgres.sql import queries
from trade_sync_service.domain.closed_trades import Trip
from trade_sync_service.domain.coverage import Interval
from trade_sync_service.domain.difference import Difference
from trade_sync_service.domain.fills import Key, OurFill
from trade_sync_service.domain.trade_rows import Trade
from trade_sync_service.domain.wallet import Transfer, TransferKey
from trade_sync_service.io.store import AccountStore, trades_from

SQL = queries(__file__)


class ReconciliationReader:
    """One account's records, and its list of differences."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store
        self._account = store.account_id
        self._bot = store.bot_id

    async def fills(self, span: Interval) -> dict[Key, OurFill]:
        """Our fills in a range."""
        rows = await self._rows("fills_between", self._account, self._bot, at(span.start_ms), at(span.end_ms))
        fills = [OurFill._make((*row[:12], ms_of(row[12]), row[13])) for row in rows]
        return {fill.key: fill for fill in fills}

    async def have(self, keys: Sequence[Key]) -> set[Key]:
        """The subset of these executions that is recorded by now."""
        symbols, exec_ids = [key[0] for key in keys], [key[1] for key in keys]
        return {(row[0], row[1]) for row in await self._rows("fills_of", self._account, symbols, exec_ids)}

    async def record_begins_ms(self) -> int | None:
        """When our record of the account begins; None without a record."""
        (row,) = await self._rows("record_begins", self._account, self._bot)
        return None if row[0] is None else ms_of(row[0])

    async def trades_closed(self, span: Interval) -> list[Trade]:
        """The trades closed in a range."""
        rows = await self._rows("trades_closed_between", self._account, self._bot, at(span.start_ms), at(span.end_ms))
        return trades_from(rows)

    async def trips(self, span: Interval) -> list[Trip]:
        """The final round trips that ended in a range."""
        rows = await self._rows("trips_between", self._account, at(span.start_ms), at(span.end_ms))
        return [Trip._make((row[0], ms_of(row[1]), ms_of(row[2]), *row[3:7])) for row in rows]

    async def transfers(self, span: Interval) -> dict[TransferKey, Transfer]:
        """The transfers in a range."""
        rows = await self._rows("transfers_between", self._account, at(span.start_ms), at(span.end_ms))
        found = [Transfer._make((*row[:5], ms_of(row[5]))) for row in rows]
        return {transfer.key: transfer for transfer in found}

    async def hedged_symbols(self) -> frozenset[str]:
        """The symbols that were ever traded in hedge mode."""
        return frozenset(row["symbol"] for row in await self._rows("hedged_symbols", self._account))

    async def positions(self) -> dict[str, Decimal]:
        """Signed position sizes per slot: symbol, in hedge mode with its leg."""
        rows = await self._rows("positions", self._account)
        return {slot_of(row["symbol"], row["leg"]): row["signed_size"] for row in rows}

    async def note(
        self, differences: Iterable[Difference], span: Interval, kinds: Iterable[str], now: datetime
    ) -> tuple[list[Difference], int]:
        """Store what was found; mark as settled what no longer differs within these kinds and this range.

        Returns the differences that are new or have recurred, and how many are open.
        """

        async def write(connection: Connection) -> tuple[list[Difference], int]:
            new = []
            found = set()
            for difference in differences:
                found.add((difference.kind.value, difference.subject))
                if await connection.fetchval(
                    SQL["put_issue"],
                    self._account,
                    self._bot,
                    difference.kind.value,
                    difference.subject,
                    difference.symbol,
                    _timed(difference.ours, difference.time_ms),
                    _timed(difference.theirs, difference.time_ms),
                    difference.explanation,
                    "open" if difference.open else "explained",
                    now,
                ):
                    new.append(difference)
            checked = set(kinds)
            gone = [
                row["issue_id"]
                for row in await connection.fetch(SQL["issues_not_resolved"], self._account)
                if row["kind"] in checked
                and (row["kind"], row["subject"]) not in found
                and (row["time_ms"] is None or span.start_ms <= row["time_ms"] < span.end_ms)
            ]
            await connection.execute(SQL["resolve_issues"], gone, now)
            return new, await connection.fetchval(SQL["count_open"], self._account)

        return await self._store.transaction(write)

    async def _rows(self, name: str, *values: object) -> list[Any]:
        return await self._store.transaction(lambda connection: connection.fetch(SQL[name], *values))


def _timed(shown: dict[str, str | None] | None, time_ms: int | None) -> dict[str, str | None] | None:
    if shown is None:
        return None
    return shown if time_ms is None else {**shown, "time_ms": str(time_ms)}

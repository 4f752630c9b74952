"""A first start in the middle of a position: what was held before the record begins, so that the books add up.

Opening = the exchange's position less the fills since; its entry price is the one from which those fills lead to the
exchange's average entry price. Recorded once for each account, after its history was read to the end.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from alpha.bybit.client import Gateway
from alpha.bybit.errors import Refused
from alpha.logs import logger
from alpha.model.account import Account
from alpha.model.execution import CORPORATE_ACTION, SIZE_CHANGING
from alpha.model.leg import slot_of, split_slot
from alpha.model.position import Position
from alpha.model.side import BUY, SELL
from alpha.model.timestamp import at
from alpha.postgres.database import Pool
from alpha.postgres.fills import recompute_pending
from alpha.postgres.sql import queries
from websocket_listener.legs import LINEAR
from websocket_listener.refusals import Refusals
from websocket_listener.store import (
    OnlyHolder,
    StoredFill,
    insert_opening,
    move_watermark,
    read_watermark,
    stored_fills,
)

SQL = queries(__file__)

log = logger(__name__)

#: The watermark of this name says that the openings of an account were recorded.
DONE = "openings"
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Walk:
    """Where fills lead from an unknown opening: the size now, and its cost = `factor` x opening price + `known`."""

    size: Decimal
    factor: Decimal
    known: Decimal


class Held(NamedTuple):
    """What the exchange holds of one symbol: signed size, average entry price, and the `seq` of the last fill in it."""

    signed_size: Decimal
    entry_price: Decimal
    seq: int


#: A symbol that was delivered: flat, whatever fills there are.
_DELIVERED = Held(_ZERO, _ZERO, sys.maxsize)


def walk(opening: Decimal, fills: Sequence[StoredFill]) -> Walk:
    """Follow signed fills from a signed opening by the average cost rule, keeping the opening's price unknown.

    `factor` is zero once the position was closed: then the end says nothing of the beginning.
    """
    size, factor, known = opening, abs(opening), _ZERO
    for fill in fills:
        step = fill.signed_qty
        if size == 0 or (size > 0) == (step > 0):
            known += abs(step) * fill.price
        elif abs(step) < abs(size):
            left = 1 - abs(step) / abs(size)
            factor, known = factor * left, known * left
        else:
            factor, known = _ZERO, abs(size + step) * fill.price
        size += step
    return Walk(size, factor, known)


def entry_of(end: Walk, average: Decimal) -> Decimal | None:
    """The opening's entry price that leads to this average price at the end; None when it cannot be told from it."""
    if not end.factor:
        return None
    price = (abs(end.size) * average - end.known) / end.factor
    return price if price > 0 else None


class Openings:
    """Records the opening positions of one account."""

    def __init__(
        self, account: Account, gateway: Gateway, pool: Pool, refusals: Refusals, only_holder: OnlyHolder
    ) -> None:
        self._account = account
        self._gateway = gateway
        self._pool = pool
        self._refusals = refusals
        self._only_holder = only_holder

    async def due(self) -> bool:
        """True until the openings of this account were recorded."""
        async with self._pool.acquire(timeout=5.0) as connection:
            return await read_watermark(connection, self._account.id, DONE) is None

    async def record(self, positions: Sequence[Position], read: Callable[[], Awaitable[object]]) -> None:
        """Record what `positions` hold beyond the fills. `read` stores every execution that there is by now.

        The fills must reach up to each position's last one: they are read after the positions, and once more after those
        that had to be asked for.
        """
        now_ms = await self._gateway.server_time_ms()
        rows = {row.slot: _held(row) for row in positions}
        await read()
        fills = await self._fills()
        missing = fills.keys() - rows.keys()
        for slot in missing:
            held = await self._position_of(slot)
            if held is not None:
                rows[slot] = held
        if missing:
            await read()
            fills = await self._fills()
        found = []
        split = await self._split_slots()
        for slot, row in sorted(rows.items()):
            if slot in split:
                # what is held since a corporate action is an adjustment's to say
                continue
            included = [fill for fill in fills.get(slot, []) if fill.seq <= row.seq]
            opening = row.signed_size - sum((fill.signed_qty for fill in included), _ZERO)
            if opening:
                price = await self._price(split_slot(slot)[0], row, opening, included)
                as_of_ms = included[0].exec_time_ms if included else now_ms
                found.append((slot, opening, price, as_of_ms))
        async with self._pool.acquire(timeout=5.0) as connection, connection.transaction():
            for slot, opening, price, as_of_ms in found:
                side = BUY if opening > 0 else SELL
                await insert_opening(
                    connection, self._account.id, LINEAR, slot, side, abs(opening), price, at(as_of_ms)
                )
                log.info("opening", account=str(self._account), slot=slot, qty=str(opening), price=str(price))
            await move_watermark(connection, self._account.id, DONE, at(now_ms), self._only_holder)
        if found:
            # what follows an opening is computed anew; of a long record by steps
            async with self._pool.acquire(timeout=5.0) as connection:
                await recompute_pending(connection)

    async def _fills(self) -> dict[str, list[StoredFill]]:
        async with self._pool.acquire(timeout=5.0) as connection:
            return await stored_fills(connection, self._account.id, LINEAR, sorted(SIZE_CHANGING - {CORPORATE_ACTION}))

    async def _split_slots(self) -> set[str]:
        async with self._pool.acquire(timeout=5.0) as connection:
            rows = await connection.fetch(SQL["split"], self._account.id)
        return {slot_of(row["symbol"], row["leg"]) for row in rows}

    async def _position_of(self, slot: str) -> Held | None:
        """A position that is not open; None when the exchange refuses it, and nothing says that it ended."""
        symbol = split_slot(slot)[0]
        try:
            row = next((row for row in await self._gateway.positions(symbol) if row.slot == slot), None)
        except Refused as fault:
            if await self._refusals.delivered([symbol]):
                return _DELIVERED
            self._refusals.symbol(symbol, f"what was held before the record began is not known: {fault}")
            return None
        return None if row is None else _held(row)

    async def _price(self, symbol: str, row: Held, opening: Decimal, fills: Sequence[StoredFill]) -> Decimal:
        """The opening's entry price: from the average price now, else from the first close that Bybit booked."""
        price = entry_of(walk(opening, fills), row.entry_price) if row.signed_size else None
        if price is not None:
            return price
        size = opening
        for number, fill in enumerate(fills):
            if (size > 0) != (fill.signed_qty > 0):
                average = await self._average_at_close(symbol, fill)
                price = None if average is None else entry_of(walk(opening, fills[:number]), average)
                if price is not None:
                    return price
                break
            size += fill.signed_qty
        # nothing tells: at the first price we know, the opening has neither gained nor lost
        return fills[0].price if fills else row.entry_price

    async def _average_at_close(self, symbol: str, fill: StoredFill) -> Decimal | None:
        day_ms = 24 * 3_600_000
        start_ms, end_ms = fill.exec_time_ms - 7 * day_ms, fill.exec_time_ms + day_ms
        try:
            async for page in self._gateway.closed_pnl(start_ms, end_ms, symbol=symbol):
                for closed in page.rows:
                    if closed.order_id == fill.order_id:
                        return closed.entry_price
        except Refused as fault:
            log.info("closed_pnl_refused", symbol=symbol, why=str(fault)[:300])
        return None


def _held(row: Position) -> Held:
    return Held(row.signed_size, row.entry_price, row.seq)

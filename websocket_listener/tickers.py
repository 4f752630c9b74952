"""Prices of the symbols that somebody follows: `market:<symbol>` in Redis and the marks for unrealised P&L."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from redis.exceptions import RedisError

from alpha.bybit.messages import UNREADABLE, Envelope
from alpha.clock import wall_ms
from alpha.errors import Rejected, Retry
from alpha.live_state import keys
from alpha.live_state.client import TextRedis
from alpha.model.money import amount_or_none
from websocket_listener.account_state import Mark
from websocket_listener.adl import Drawdown

#: Prices are written at most so often.
FLUSH_S = 0.1
_FIELDS = {
    "lastPrice": "last",
    "markPrice": "mark",
    "bid1Price": "bid",
    "ask1Price": "ask",
    "fundingRate": "funding_rate",
    "nextFundingTime": "next_funding_at",
}
#: Raises unless this process holds the lease of prices and candles.
MayWrite = Callable[[], Awaitable[None]]
_ticker = msgspec.json.Decoder(dict[str, object])


class _Adl(msgspec.Struct):
    """A row of `adlAlert`: drawdown ratio and trigger ratio of a symbol's insurance pool; numbers or texts."""

    s: str
    pr: float | str = ""
    i_pr: float | str = ""


_adl = msgspec.json.Decoder(list[_Adl] | _Adl)


class Tickers:
    """The newest prices by symbol."""

    def __init__(self, shared_db: TextRedis, may_write: MayWrite) -> None:
        self.marks: dict[str, Mark] = {}
        self.drawdowns: dict[str, Drawdown] = {}
        self.newest_ms = 0
        self._redis = shared_db
        self._may_write = may_write
        self._rows: dict[str, dict[str, str]] = {}
        self._changed: set[str] = set()

    def ticker(self, envelope: Envelope) -> None:
        """A snapshot or a delta of `tickers.<symbol>`: absent fields have not changed. Rejected when unreadable."""
        try:
            data = _ticker.decode(envelope.data)
        except UNREADABLE as fault:
            raise Rejected(f"A ticker cannot be read: {fault}.") from None
        symbol = envelope.topic.split(".", 1)[1]
        row = {} if envelope.type == "snapshot" else dict(self._rows.get(symbol, {}))
        if envelope.type == "snapshot" and (drawdown := self.drawdowns.get(symbol)) is not None:
            row = _adl_fields(drawdown)
        for theirs, ours in _FIELDS.items():
            value = data.get(theirs)
            if value is None:
                continue
            price = amount_or_none(value, theirs)
            if price is not None and ours in {"last", "mark", "bid", "ask"} and price <= 0:
                raise Rejected(f"{theirs} of {symbol} is {value}.")
            row[ours] = str(value)
            if ours == "mark" and price is not None:
                self.marks[symbol] = Mark(price, wall_ms())
        if symbol in self.marks:
            # a mark that is not in this message has not changed: it is as new as the message
            self.marks[symbol] = Mark(self.marks[symbol].price, wall_ms())
        row["updated_at"] = str(envelope.ts)
        self._rows[symbol] = row
        self._changed.add(symbol)
        self.newest_ms = max(self.newest_ms, envelope.ts)

    def adl(self, envelope: Envelope) -> None:
        """`adlAlert.<coin>`: how near each symbol is to auto-deleveraging. Rejected when unreadable."""
        try:
            rows = _adl.decode(envelope.data)
        except UNREADABLE as fault:
            raise Rejected(f"An ADL alert cannot be read: {fault}.") from None
        for sent in rows if isinstance(rows, list) else [rows]:
            ratio, trigger = amount_or_none(str(sent.pr), "pr"), amount_or_none(str(sent.i_pr), "i_pr")
            if ratio is None or trigger is None:
                continue
            known = self.drawdowns.get(sent.s)
            self.drawdowns[sent.s] = drawdown = Drawdown(ratio, trigger)
            if sent.s in self._rows and drawdown != known:
                self._rows[sent.s] |= _adl_fields(drawdown)
                self._changed.add(sent.s)

    def forget(self, followed: set[str]) -> None:
        """Drop prices of symbols that nobody follows any more: they become stale."""
        for symbol in set(self._rows) - followed:
            self._rows.pop(symbol, None)
            self.marks.pop(symbol, None)
            self._changed.discard(symbol)

    def lost(self) -> None:
        """Redis was emptied: write all prices again."""
        self._changed |= set(self._rows)

    async def run(self) -> None:
        """Write changed prices until cancelled; while Redis is unavailable only the newest matter."""
        while True:
            await asyncio.sleep(FLUSH_S)
            if not self._changed:
                continue
            changed, self._changed = self._changed, set()
            try:
                await self._may_write()
                async with self._redis.pipeline(transaction=False) as pipe:
                    for symbol in changed:
                        row = self._rows.get(symbol)
                        if row is not None:
                            pipe.hset(keys.market(symbol), mapping=row)
                    await pipe.execute()
            except (RedisError, OSError, TimeoutError, Retry):
                self._changed |= changed
                await asyncio.sleep(0.5)


def _adl_fields(drawdown: Drawdown) -> dict[str, str]:
    return {"adl_drawdown": str(drawdown.ratio), "adl_trigger": str(drawdown.trigger)}

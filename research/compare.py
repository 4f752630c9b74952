"""The back-test of the days that a bot really traded, compared with what it did: same signals, prices, what was missed and why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from alpha.model.timestamp import ms_of
from backtester.result import OpenAtEnd, Trade

SAME, MISSED, EXTRA = "same", "missed", "extra"


@dataclass(frozen=True, slots=True)
class LiveTrade:
    """A position that the bot has really held; `direction` is long or short, amounts in USDT."""

    symbol: str
    direction: str
    size: Decimal
    entry_ms: int
    entry_price: Decimal
    exit_ms: int
    exit_price: Decimal
    reason: str
    net: Decimal


@dataclass(frozen=True, slots=True)
class Intent:
    """An order that the bot wanted: the bar that decided, and what became of it ("" for no order on record)."""

    symbol: str
    bar_ms: int
    intent: str
    status: str
    why: str


@dataclass(frozen=True, slots=True)
class Pair:
    """One entry, in the back-test, live, or in both. Costs in basis points are above zero where live was worse.

    `words` explains the pair in a sentence.
    """

    kind: str
    symbol: str
    entry_ms: int
    tested: Trade | None
    live: LiveTrade | None
    entry_cost_bps: float | None
    exit_cost_bps: float | None
    words: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """All pairs in time, and sums: nets in USDT, mean costs in basis points over the pairs that are the same."""

    pairs: tuple[Pair, ...]
    tested_net: Decimal
    live_net: Decimal
    mean_entry_cost_bps: float | None
    mean_exit_cost_bps: float | None

    def count(self, kind: str) -> int:
        """How many pairs are of a kind."""
        return sum(pair.kind == kind for pair in self.pairs)


def compare(
    tested: Iterable[Trade],
    live: Sequence[LiveTrade],
    intents: Sequence[Intent],
    interval_ms: int,
    *,
    refused: Mapping[str, int] | None = None,
    open_at_end: Sequence[OpenAtEnd] = (),
) -> Comparison:
    """Pair entries by symbol, direction and bar; one live entry may be late by up to a bar."""
    left = list(live)
    pairs: list[Pair] = []
    for trade in tested:
        direction = "long" if trade.direction.sign > 0 else "short"
        match = next(
            (
                one
                for one in left
                if one.symbol == trade.symbol
                and one.direction == direction
                and 0 <= one.entry_ms - trade.entry_ms < 2 * interval_ms
            ),
            None,
        )
        if match is None:
            pairs.append(
                Pair(
                    MISSED,
                    trade.symbol,
                    trade.entry_ms,
                    trade,
                    None,
                    None,
                    None,
                    _why_missed(trade, intents, interval_ms),
                )
            )
            continue
        left.remove(match)
        pairs.append(_same(trade, match))
    held = {(one.symbol, one.entry_ms) for one in open_at_end}
    for one in left:
        words = _why_extra(one, intents, interval_ms, refused or {})
        if any(symbol == one.symbol and 0 <= one.entry_ms - at < 2 * interval_ms for symbol, at in held):
            words = "the back-test still holds it at the end of the data"
        pairs.append(Pair(EXTRA, one.symbol, one.entry_ms, None, one, None, None, words))
    pairs.sort(key=lambda pair: (pair.entry_ms, pair.symbol))
    same = [pair for pair in pairs if pair.kind == SAME]
    return Comparison(
        tuple(pairs),
        sum((pair.tested.net for pair in pairs if pair.tested is not None), Decimal(0)),
        sum((pair.live.net for pair in pairs if pair.live is not None), Decimal(0)),
        _mean([pair.entry_cost_bps for pair in same]),
        _mean([pair.exit_cost_bps for pair in same]),
    )


def live_trades(frame: Any) -> list[LiveTrade]:
    """The rows of `alpha.history.round_trips`."""
    return [
        LiveTrade(
            row["symbol"], row["direction"], row["size"], ms_of(row["entry_time"]), row["entry_price"],
            ms_of(row["exit_time"]), row["exit_price"], row["reason"], row["net"],
        )
        for row in frame.iter_rows(named=True)
    ]  # fmt: skip


def window(now: datetime, days: int) -> tuple[datetime, datetime]:
    """The last `days` whole UTC days before `now`, and today until now."""
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)
    return start, now


def _same(trade: Trade, live: LiveTrade) -> Pair:
    sign = trade.direction.sign
    entry = float((live.entry_price / trade.entry_price - 1) * 10_000) * sign
    leaving = float((trade.exit_price / live.exit_price - 1) * 10_000) * sign
    parts = [f"entered {entry:+.1f} bps", f"left {leaving:+.1f} bps"]
    if live.size != trade.size:
        parts.append(f"size {live.size:f} instead of {trade.size:f}, another equity")
    if live.reason != trade.reason.value:
        parts.append(f"left by {live.reason} instead of {trade.reason.value}")
    if live.exit_ms != trade.exit_ms:
        parts.append(f"left {(live.exit_ms - trade.exit_ms) / 60_000:+.1f} minutes")
    return Pair(SAME, trade.symbol, trade.entry_ms, trade, live, entry, leaving, ", ".join(parts))


def _why_missed(trade: Trade, intents: Sequence[Intent], interval_ms: int) -> str:
    bar_ms = trade.entry_ms - trade.entry_ms % interval_ms - interval_ms
    for one in intents:
        if one.symbol == trade.symbol and one.bar_ms == bar_ms and one.intent == "enter":
            if one.status in {"Filled", "PartiallyFilled"}:
                return "its order was filled; the position is not closed yet, or was joined with another"
            return f"its order ended as {one.status}" if one.status else "its order never reached the exchange"
    if not any(one.bar_ms == bar_ms for one in intents):
        return "the bot sent nothing at this bar: it was stopped or paused, a limit was in force, or it held other positions"
    return "the bot traded at this bar, and not in this symbol: its slots or its equity differed"


def _why_extra(live: LiveTrade, intents: Sequence[Intent], interval_ms: int, refused: Mapping[str, int]) -> str:
    bar_ms = live.entry_ms - live.entry_ms % interval_ms - interval_ms
    mine = [
        one
        for one in intents
        if one.symbol == live.symbol and one.intent == "enter" and 0 <= bar_ms - one.bar_ms < 2 * interval_ms
    ]
    if not mine:
        return "no order of the bot opened it: by hand, or taken over"
    most = max(refused.items(), key=lambda row: row[1])[0] if refused else ""
    reason = f"; what it refused most often: {most}" if most else ""
    return f"the bot wanted it ({mine[0].why or 'no reason on record'}), the back-test did not{reason}"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

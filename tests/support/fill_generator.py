"""Generates fills of three bots over two years from a seed: scale-ins, partial exits, reversals, funding, liquidations.

The same seed and count always give the same rows. Amounts are integers in the smallest step until written, so that ten
million rows take little more than a minute.
"""

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from alpha.postgres.fills import Fill

START = datetime(2024, 11, 1, tzinfo=UTC)
DAYS = 730
#: Bot -> (share of the fills, symbols with first prices in steps of 0.01).
BOTS: dict[str, tuple[float, dict[str, int]]] = {
    "shortseller_001": (0.5, {"BTCUSDT": 9_500_000, "ETHUSDT": 330_000, "SOLUSDT": 18_000}),
    "lxalgo_001": (0.3, {"BTCUSDT": 9_500_000, "XRPUSDT": 25_000, "DOGEUSDT": 4_000, "LINKUSDT": 1_900}),
    "momentum_001": (0.2, {"AVAXUSDT": 4_000, "ADAUSDT": 9_000, "LTCUSDT": 10_000, "DOTUSDT": 700, "NEARUSDT": 600}),
}
EXITS = ("take_profit", "stop_loss", "trailing_stop", "signal", "time_limit", "regime_change")
_FUNDING_MS = 8 * 3_600_000
#: Number of fills before the end from which the position is closed.
_LAST = 8


class Raw(NamedTuple):
    """One fill in whole steps: price in 0.01, qty in 0.001, value and fee in 0.00001."""

    time_ms: int
    seq: int
    exec_id: str
    order_id: str
    side: str
    exec_type: str
    reason: str
    price: int
    qty: int
    fee: int
    closed: int
    is_maker: bool


def raw_fills(seed: int, count: int, price: int, prefix: str, days: float = DAYS) -> Iterator[Raw]:
    """About `count` fills of one account and symbol, spread over `days`, in time order; flat at the end."""
    rng = random.Random(seed)
    base = price
    step_ms = days * 86_400_000 / count
    held = 0  # signed
    time_ms = 0.0
    made = 0
    seq = rng.randrange(1, 1000)
    next_funding = _FUNDING_MS
    while made < count or held != 0:
        opening = held == 0
        if opening and count - made <= _LAST:
            return
        if count - made <= _LAST:
            side, amount, reason = (-1 if held > 0 else 1), abs(held), "signal"
        elif opening:
            side, amount, reason = rng.choice((1, -1)), rng.randrange(10, 4000), "entry"
        else:
            kind = rng.random()
            if kind < 0.25:
                side, amount, reason = (1 if held > 0 else -1), rng.randrange(10, 2000), "entry"
            elif kind < 0.45:
                side, amount, reason = (-1 if held > 0 else 1), rng.randrange(1, abs(held) + 1), rng.choice(EXITS)
            elif kind < 0.5:
                side, amount, reason = (-1 if held > 0 else 1), abs(held) + rng.randrange(1, 3000), "signal"
            else:
                side, amount, reason = (-1 if held > 0 else 1), abs(held), rng.choice(EXITS)
        parts = min(rng.randrange(1, 5), amount)
        order_id = f"{prefix}-{seq:010d}"
        exec_type = "BustTrade" if not opening and rng.random() < 0.001 else "Trade"
        if exec_type == "BustTrade":
            reason = "liquidation"
        is_maker = rng.random() < 0.3
        for part in range(parts):
            qty = amount // parts if part < parts - 1 else amount - (amount // parts) * (parts - 1)
            price = _next(rng, price, base, held)
            seq += rng.randrange(1, 4)
            fee = price * qty * (20 if is_maker else 55) // 100_000
            before, held = held, held + side * qty
            closed = min(abs(before), qty) if before * side < 0 else 0
            yield Raw(
                int(time_ms), seq, f"{rng.getrandbits(64):016x}", order_id, "Buy" if side > 0 else "Sell", exec_type, reason,
                price, qty, fee, closed, is_maker,
            )  # fmt: skip
            made += 1
            time_ms += rng.random() * 2 * step_ms * parts if part == parts - 1 else 1
        while next_funding <= time_ms:
            if held != 0:
                seq += 1
                fee = price * abs(held) * rng.randrange(-10, 20) // 100_000
                yield Raw(
                    next_funding, seq, f"{rng.getrandbits(64):016x}", f"{prefix}-f", "Buy" if held > 0 else "Sell", "Funding",
                    "funding", price, abs(held), fee, 0, False,
                )  # fmt: skip
                made += 1
            next_funding += _FUNDING_MS


def _next(rng: random.Random, price: int, base: int, held: int) -> int:
    """A random walk with a slight drift in favour of the position, bounded to half and twice the first price."""
    up = rng.random() < (0.62 if held > 0 else 0.38 if held < 0 else 0.5)
    if not base // 2 < price < base * 2:
        up = price <= base // 2
    step = rng.randrange(1, price // 300 + 2)
    return price + step if up else price - step


def as_fill(raw: Raw, account_id: int, bot_id: str, symbol: str) -> Fill:
    """Convert to a row of `trading.fills`."""
    moment = START + timedelta(milliseconds=raw.time_ms)
    return Fill(
        account_id, bot_id, "linear", symbol, raw.exec_id, raw.order_id, None, raw.side, raw.exec_type, raw.reason,
        Decimal(raw.price).scaleb(-2), Decimal(raw.qty).scaleb(-3), Decimal(raw.price * raw.qty).scaleb(-5),
        Decimal(raw.fee).scaleb(-5), "USDT", Decimal(raw.closed).scaleb(-3), None, None, raw.is_maker, raw.seq, moment, moment,
    )  # fmt: skip


def some_fills(
    seed: int, count: int, account_id: int, symbol: str = "BTCUSDT", bot_id: str = "shortseller_001"
) -> list[Fill]:
    """Exactly `count` fills of one account and symbol."""
    rows = itertools.islice(raw_fills(seed, count + 100, 9_000_000, symbol), count)
    return [as_fill(raw, account_id, bot_id, symbol) for raw in rows]


def streams(seed: int, count: int, days: int = DAYS) -> Iterator[tuple[str, str, Iterator[Raw]]]:
    """(bot, symbol, fills) for all bots; about `count` fills in total."""
    number = 0
    for bot_id, (share, symbols) in BOTS.items():
        for symbol, price in symbols.items():
            number += 1
            yield (
                bot_id,
                symbol,
                raw_fills(seed * 1000 + number, int(count * share / len(symbols)), price, f"{number:02d}", days),
            )

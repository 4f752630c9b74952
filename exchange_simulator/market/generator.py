"""The seeded market: one-minute candles for any symbol at any time, independent of when and in which order they are
requested.

A price is a level per four hours (`random_walk`), refined to minutes by bridges between those levels, plus surges
(`pump_events`). A bridge is drawn from the conditional distribution of the minutes given the four-hour levels, so there
are no visible seams. Each day of each symbol is generated independently from (seed, symbol, day) and cached.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from exchange_simulator.market import awkward, catalogue, funding_model, sessions
from exchange_simulator.market.intervals import FIXED_MS, Rows, bucket_end, bucket_starts, join, to_bars
from exchange_simulator.market.model import DAY_MS, HOUR_MS, MINUTE_MS, Bar, Instrument, MarketError
from exchange_simulator.market.pump_events import around
from exchange_simulator.market.random_walk import (
    BLOCK_DAYS,
    FACTOR_DAILY,
    RHYTHM,
    STEPS_A_DAY,
    Block,
    Floats,
    factor_block,
    generator,
    symbol_block,
)

FIRST_MS = 1_577_836_800_000  # 2020-01-01
_FUNDING_MS = 8 * HOUR_MS
_STEP_MINUTES = 1440 // STEPS_A_DAY
_SUMMARY = "120"  # every longer interval is a multiple of two hours


class _FactorDay(NamedTuple):
    returns: Floats  # (1440), without market-wide surges
    deviation: Floats  # (1440)
    surge: Floats  # (1441): log price added by market-wide surges at each minute boundary


class GeneratedMarket:
    """A `Market` without an end. Two with the same seed agree on every bar, even with different sets of symbols."""

    base_ms = MINUTE_MS
    end_ms: int | None = None

    def __init__(
        self,
        seed: int,
        symbols: Sequence[str] = catalogue.DEFAULT_SYMBOLS,
        *,
        first_ms: int = FIRST_MS,
        days_kept: int = 600,
    ) -> None:
        """`first_ms` is the start of history (a whole UTC day).

        `days_kept` bounds memory: 70 kB per day and symbol, 35 kB per day of the market factor.
        """
        if not symbols or len(set(symbols)) != len(symbols):
            raise MarketError("The generator needs at least one symbol, each named once.")
        if unusual := [symbol for symbol in symbols if not (symbol.isalnum() and symbol.isupper())]:
            raise MarketError(f"{unusual[0]!r} is not a symbol: use capital letters and digits, such as BTCUSDT.")
        if first_ms % DAY_MS:
            raise MarketError(f"The first time of the market must be the start of a UTC day, not {first_ms}.")
        self.seed = seed
        self.first_ms = first_ms
        self._known = {symbol: catalogue.known(symbol) for symbol in symbols}
        self.instruments: Mapping[str, Instrument] = {
            symbol: awkward.filters(
                catalogue.instrument(symbol, price=Decimal(repr(row.price)), launch_ms=first_ms, tick=Decimal(row.tick))
            )
            for symbol, row in self._known.items()
        }
        self._made = dict(self.instruments)  # with the tick and step of history, unaffected by later changes
        self._factor_block: Callable[[int], Block] = lru_cache(8)(lambda number: factor_block(seed, number))
        self._block = lru_cache(4 * len(symbols))(self._make_block)
        self._factor_day = lru_cache(days_kept)(self._make_factor_day)
        self._day = lru_cache(days_kept)(self._make_day)
        self._mood_knots = lru_cache(2048)(self._make_mood_knots)
        self._summary = lru_cache(100_000)(self._make_summary)
        self._rate = lru_cache(16 * len(symbols))(self._make_rate)
        self._premium = lru_cache(4_096)(self._make_premium)

    def bar(self, symbol: str, start_ms: int) -> Bar | None:
        """See `Market.bar`."""
        day, within = divmod(start_ms, DAY_MS)
        minute, rest = divmod(within, MINUTE_MS)
        if rest or start_ms < self.first_ms or not sessions.is_open(symbol, start_ms):
            return None
        return Bar(*self._day(symbol, day)[minute].tolist())

    def bars(self, symbol: str, from_ms: int, to_ms: int) -> list[Bar]:
        """See `Market.bars`."""
        return to_bars(self._minutes(symbol, from_ms, to_ms))

    def candles(self, symbol: str, interval: str, from_ms: int, to_ms: int) -> list[Bar]:
        """See `Market.candles`."""
        starts = bucket_starts(interval, max(from_ms, self.first_ms), to_ms)
        if not starts:
            return []
        first, last = starts[0], bucket_end(interval, starts[-1])
        if interval != "M" and FIXED_MS[interval] < FIXED_MS[_SUMMARY]:
            return to_bars(join(self._minutes(symbol, first, last), interval))
        days = range(first // DAY_MS, -(-last // DAY_MS))
        rows = np.concatenate([self._summary(symbol, day) for day in days])
        return to_bars(join(rows[(rows[:, 0] >= first) & (rows[:, 0] < last)], interval))

    def build(self, symbol: str, interval: str, from_ms: int, to_ms: int) -> Iterator[None]:
        """See `BuiltMarket.build`: one day per step."""
        starts = bucket_starts(interval, max(from_ms, self.first_ms), to_ms)
        if not starts:
            return
        short = interval != "M" and FIXED_MS[interval] < FIXED_MS[_SUMMARY]
        for day in range(starts[0] // DAY_MS, -(-bucket_end(interval, starts[-1]) // DAY_MS)):
            if short:
                self._day(symbol, day)
            else:
                self._summary(symbol, day)
            yield

    def index_price(self, symbol: str, time_ms: int, last: int) -> Decimal:
        """The last price minus the current premium, to a tenth of a tick."""
        instrument = self.instruments[symbol]
        share = Decimal(f"{1 / (1 + self._premium(symbol, time_ms)):.9f}")
        return (instrument.price(last) * share).quantize(instrument.tick_size / 10)

    def funding_rate(self, symbol: str, time_ms: int) -> Decimal:
        """The rate of the next funding time at or after `time_ms` (every 8 hours), known 8 hours before it."""
        return self._rate(symbol, -(-time_ms // _FUNDING_MS))

    def open_interest(self, symbol: str, time_ms: int) -> Decimal:
        """About half a day's usual turnover."""
        row, made = self._known[symbol], self._made[symbol]
        amount = funding_model.open_interest(self.seed, made, time_ms, 0.5 * row.turnover / row.price)
        return amount * (self.instruments[symbol].qty_step / made.qty_step)

    def _minutes(self, symbol: str, from_ms: int, to_ms: int) -> Rows:
        from_ms = max(from_ms, self.first_ms)
        if to_ms <= from_ms:
            return np.empty((0, 6), dtype=np.int64)
        first = -(-from_ms // MINUTE_MS)
        last = -(-to_ms // MINUTE_MS)
        day = first // 1440
        rows = np.concatenate([self._day(symbol, each) for each in range(day, -(-last // 1440))])
        return sessions.trading_only(symbol, rows[first - day * 1440 : last - day * 1440])

    def _make_block(self, symbol: str, number: int) -> Block:
        return symbol_block(self.seed, self._known[symbol], number, self._factor_block(number))

    def _make_factor_day(self, day: int) -> _FactorDay:
        number, place = divmod(day, BLOCK_DAYS)
        block, steps = self._factor_block(number), slice(place * STEPS_A_DAY, (place + 1) * STEPS_A_DAY)
        rng = generator(self.seed, "market", "day", day)
        deviation = _deviations(rng, self._moods("market", day), block.sigma[steps])
        moves = np.diff(block.level[place * STEPS_A_DAY : (place + 1) * STEPS_A_DAY + 1])
        returns = _bridge(rng, deviation, moves)
        surge = np.zeros(1441)
        for each in around(self.seed, None, day):
            surge += each.shape(_minutes_of(day))
        return _FactorDay(returns, np.hypot(deviation, 0.5 * np.diff(surge)), surge)

    def _make_day(self, symbol: str, day: int) -> Rows:
        number, place = divmod(day, BLOCK_DAYS)
        row, block, factor = self._known[symbol], self._block(symbol, number), self._factor_day(day)
        steps = slice(place * STEPS_A_DAY, (place + 1) * STEPS_A_DAY)
        level = block.level[place * STEPS_A_DAY : (place + 1) * STEPS_A_DAY + 1]
        rng = generator(self.seed, symbol, "day", day)
        own = _deviations(rng, self._moods(symbol, day), block.sigma[steps])
        beta = np.repeat(block.beta[steps], _STEP_MINUTES)
        market = beta * factor.returns
        returns = _bridge(rng, own, np.diff(level) - market.reshape(STEPS_A_DAY, -1).sum(axis=1))
        deviation = np.hypot(own, beta * factor.deviation)

        path = np.concatenate(([level[0]], level[0] + np.cumsum(market + returns)))
        path[-1] = level[-1]
        path += row.beta * factor.surge
        heat = np.zeros(1440)
        for surge in around(self.seed, row, day):
            shape = surge.shape(_minutes_of(day))
            path += shape
            heat += surge.heat(_minutes_of(day)[1:])
            deviation = np.hypot(deviation, 0.4 * np.diff(shape))
        path[1:-1] += 0.0055 * heat[:-1] * rng.standard_normal(1439)
        deviation = np.hypot(deviation, 0.0012 * heat)
        return self._candles_of(symbol, day, rng, path, deviation, heat, block.activity[steps])

    def _candles_of(
        self,
        symbol: str,
        day: int,
        rng: np.random.Generator,
        path: Floats,
        deviation: Floats,
        heat: Floats,
        activity: Floats,
    ) -> Rows:
        """Rows from the log price at each minute boundary: Brownian-bridge extremes, and volumes."""
        row, instrument = self._known[symbol], self._made[symbol]
        opened, closed = path[:-1], path[1:]
        spread = (closed - opened) ** 2
        above, below = -2 * deviation**2 * np.log(1 - rng.random((2, 1440)))
        high = (opened + closed + np.sqrt(spread + above)) / 2
        low = (opened + closed - np.sqrt(spread + below)) / 2
        moved = np.sqrt(spread) / (deviation + 1e-12)
        usual = float(np.hypot(row.idio, row.beta * FACTOR_DAILY)) / np.sqrt(1440)
        volume = (
            row.turnover
            / 1440
            / (row.price * float(instrument.qty_step))
            * np.exp(-opened)
            * np.repeat(activity, _STEP_MINUTES)
            * (0.1 + 0.9 * deviation / usual)
            * (0.35 + 0.7 * moved)
            * (1 + 4 * heat)
            * np.exp(0.55 * rng.standard_normal(1440) - 0.15)
        )
        scale = np.log(row.price / float(instrument.tick_size))
        edges = np.maximum(np.rint(np.exp(path + scale)).astype(np.int64), 1)
        opens, closes = edges[:-1], edges[1:]
        highs = np.maximum(np.rint(np.exp(high + scale)).astype(np.int64), np.maximum(opens, closes))
        lows = np.minimum(np.rint(np.exp(low + scale)).astype(np.int64), np.minimum(opens, closes))
        rows = np.empty((1440, 6), dtype=np.int64)
        columns = (_minutes_of(day)[:-1] * MINUTE_MS, opens, highs, np.maximum(lows, 1), closes, np.rint(volume))
        for place, column in enumerate(columns):
            rows[:, place] = column
        rows.setflags(write=False)
        return rows

    def _make_summary(self, symbol: str, day: int) -> Rows:
        return join(sessions.trading_only(symbol, self._day(symbol, day)), _SUMMARY)

    def _moods(self, name: str, day: int) -> Floats:
        """Log volatility by minute: one value per hour, interpolated to the next one, across midnight as well."""
        knots = np.append(self._mood_knots(name, day), self._mood_knots(name, day + 1)[0])
        moods: Floats = np.interp(np.arange(1440) / 60, np.arange(25), knots) * 0.6
        return moods

    def _make_mood_knots(self, name: str, day: int) -> Floats:
        return generator(self.seed, name, "mood", day).standard_normal(24)

    def _day_return(self, symbol: str, time_ms: int) -> float:
        """Log return over about the previous day, from the four-hour levels."""
        step = time_ms // (DAY_MS // STEPS_A_DAY)
        now, before = (divmod(each, BLOCK_DAYS * STEPS_A_DAY) for each in (step, step - STEPS_A_DAY))
        return float(self._block(symbol, now[0]).level[now[1]] - self._block(symbol, before[0]).level[before[1]])

    def _make_premium(self, symbol: str, time_ms: int) -> float:
        return funding_model.premium(self.seed, symbol, time_ms, self._day_return(symbol, time_ms))

    def _make_rate(self, symbol: str, number: int) -> Decimal:
        until = (number - 1) * _FUNDING_MS
        average = sum(self._premium(symbol, until - hours * HOUR_MS) for hours in (0, 2, 4, 6)) / 4
        return funding_model.funding_rate(self.instruments[symbol], average)


def _minutes_of(day: int) -> Rows:
    """The 1441 minute boundaries of a day, in minutes since the epoch."""
    return np.arange(day * 1440, (day + 1) * 1440 + 1, dtype=np.int64)


def _deviations(rng: np.random.Generator, moods: Floats, sigma: Floats) -> Floats:
    """Volatility of each minute, scaled so that the variances of a step's minutes add up to the step's variance."""
    shape = RHYTHM * np.exp(moods + 0.68 * rng.standard_normal(1440))
    steps = shape.reshape(STEPS_A_DAY, -1)
    scaled: Floats = steps * (sigma / np.sqrt((steps**2).sum(axis=1)))[:, None]
    return scaled.reshape(-1)


def _bridge(rng: np.random.Generator, deviation: Floats, moves: Floats) -> Floats:
    """Minute returns that add up to each step's move: independent normals, conditioned on their sum."""
    free = (deviation * rng.standard_normal(1440)).reshape(STEPS_A_DAY, -1)
    variance = (deviation**2).reshape(STEPS_A_DAY, -1)
    missing = (moves - free.sum(axis=1)) / variance.sum(axis=1)
    bridged: Floats = free + variance * missing[:, None]
    return bridged.reshape(-1)

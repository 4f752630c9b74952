"""What a result amounts to: return, drawdown, ratios, and sums by symbol, reason, month and year."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np

from alpha.indicators import Floats
from alpha.model.money import ZERO
from alpha.model.timestamp import at
from backtester.result import Result, Trade

YEAR_MS = 365.25 * 86_400_000


@dataclass(frozen=True, slots=True)
class Metrics:
    """Figures of a whole back-test. Percentages are of 100; None where there is nothing to divide by.

    Sharpe and Sortino are of the returns from bar close to bar close, without a riskless rate, times the root of the
    bars a year; Sortino divides by the root mean square of the falling bars. The drawdown is from equity at bar closes.
    """

    return_pct: float
    yearly_pct: float | None
    drawdown_pct: float
    drawdown_days: float
    sharpe: float | None
    sortino: float | None
    exposure_pct: float
    trades: int
    winners_pct: float | None
    profit_factor: float | None
    average_win: Decimal | None
    average_loss: Decimal | None
    gross: Decimal
    fees: Decimal
    funding: Decimal
    net: Decimal
    unrealised: Decimal


@dataclass(frozen=True, slots=True)
class Group:
    """Trades that have something in common, summed up."""

    name: str
    trades: int
    winners_pct: float
    gross: Decimal
    fees: Decimal
    funding: Decimal
    net: Decimal


@dataclass(frozen=True, slots=True)
class Period:
    """A month or year: how equity moved in it, at bar closes, and the trades that ended in it."""

    name: str
    return_pct: float
    drawdown_pct: float
    trades: int
    winners_pct: float | None
    net: Decimal


def measure(result: Result) -> Metrics:
    """The figures of a result."""
    trades = result.trades
    wins = [trade.net for trade in trades if trade.net > 0]
    losses = [trade.net for trade in trades if trade.net <= 0]
    won, lost = sum(wins, ZERO), -sum(losses, ZERO)
    years = (result.to_ms - result.from_ms) / YEAR_MS
    growth = float(result.end_equity / result.cash)
    sharpe, sortino = _ratios(result)
    drawdown, days = _drawdown(result)
    return Metrics(
        return_pct=(growth - 1) * 100,
        yearly_pct=(growth ** (1 / years) - 1) * 100 if growth > 0 and years >= 0.5 else None,
        drawdown_pct=drawdown,
        drawdown_days=days,
        sharpe=sharpe,
        sortino=sortino,
        exposure_pct=float(result.exposed.mean()) * 100,
        trades=len(trades),
        winners_pct=len(wins) / len(trades) * 100 if trades else None,
        profit_factor=float(won / lost) if lost else None,
        average_win=won / len(wins) if wins else None,
        average_loss=-lost / len(losses) if losses else None,
        gross=sum((trade.gross for trade in trades), ZERO),
        fees=sum((trade.fees for trade in trades), ZERO),
        funding=sum((trade.funding for trade in trades), ZERO),
        net=sum((trade.net for trade in trades), ZERO),
        unrealised=sum((held.unrealised for held in result.open_at_end), ZERO),
    )


def by_symbol(trades: Iterable[Trade]) -> list[Group]:
    """Sums a symbol, best first."""
    return _groups(trades, lambda trade: trade.symbol)


def by_reason(trades: Iterable[Trade]) -> list[Group]:
    """Sums an exit reason, best first."""
    return _groups(trades, lambda trade: trade.reason.value)


def by_month(result: Result) -> list[Period]:
    """Calendar months, UTC, oldest first."""
    return _periods(result, "%Y-%m")


def by_year(result: Result) -> list[Period]:
    """Calendar years, UTC, oldest first."""
    return _periods(result, "%Y")


def drawdowns(equity: Floats, start: float) -> Floats:
    """How far equity is below its highest so far, in percent (0 or below)."""
    peak = np.maximum(np.maximum.accumulate(equity), start)
    return (equity / peak - 1.0) * 100.0


def _groups(trades: Iterable[Trade], key: Callable[[Trade], str]) -> list[Group]:
    found: dict[str, list[Trade]] = {}
    for trade in trades:
        found.setdefault(key(trade), []).append(trade)
    groups = [
        Group(
            name,
            len(members),
            sum(trade.net > 0 for trade in members) / len(members) * 100,
            sum((trade.gross for trade in members), ZERO),
            sum((trade.fees for trade in members), ZERO),
            sum((trade.funding for trade in members), ZERO),
            sum((trade.net for trade in members), ZERO),
        )
        for name, members in found.items()
    ]
    return sorted(groups, key=lambda group: group.net, reverse=True)


def _periods(result: Result, form: str) -> list[Period]:
    opened_ms = result.close_ms - result.interval_ms
    names: list[str] = []
    firsts: list[int] = []
    place = 0
    while place < len(opened_ms):
        start = at(int(opened_ms[place]))
        names.append(start.strftime(form))
        firsts.append(place)
        place = int(np.searchsorted(opened_ms, _next_ms(start, form)))
    ended: dict[str, list[Trade]] = {}
    for trade in result.trades:
        ended.setdefault(at(trade.exit_ms).strftime(form), []).append(trade)
    periods, before = [], float(result.cash)
    for name, first, last in zip(names, firsts, [*firsts[1:], len(opened_ms)], strict=True):
        equity = result.equity[first:last]
        trades = ended.get(name, [])
        after = float(equity[-1])
        periods.append(
            Period(
                name,
                (after / before - 1) * 100 if before else 0.0,
                float(drawdowns(equity, before).min()),
                len(trades),
                sum(trade.net > 0 for trade in trades) / len(trades) * 100 if trades else None,
                sum((trade.net for trade in trades), ZERO),
            )
        )
        before = after
    return periods


def _next_ms(start: datetime, form: str) -> int:
    following = (
        start.replace(year=start.year + 1, month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
        if form == "%Y" or start.month == 12
        else start.replace(month=start.month + 1, day=1, hour=0, minute=0, second=0, microsecond=0)
    )
    return int(following.timestamp() * 1000)


def _ratios(result: Result) -> tuple[float | None, float | None]:
    path = np.concatenate(([float(result.cash)], result.equity))
    if (path <= 0).any() or len(path) < 3:
        return None, None
    returns = np.diff(path) / path[:-1]
    scale = math.sqrt(YEAR_MS / result.interval_ms)
    spread = float(returns.std(ddof=1))
    falling = float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2)))
    mean = float(returns.mean())
    return (mean / spread * scale if spread else None, mean / falling * scale if falling else None)


def _drawdown(result: Result) -> tuple[float, float]:
    """The deepest fall in percent, and the longest time below a peak in days."""
    depth = drawdowns(result.equity, float(result.cash))
    longest = run = 0
    for below in (depth < 0).tolist():
        run = run + 1 if below else 0
        longest = max(longest, run)
    return float(depth.min()), longest * result.interval_ms / 86_400_000

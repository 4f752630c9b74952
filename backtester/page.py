"""The report as one HTML page that needs nothing else: tables, inline SVG charts, no network."""

from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from backtester.candles import moment
from backtester.charts import line_chart, price_chart
from backtester.command import Outcome
from backtester.confidence import DAY_MS, daily_returns, rolling_sharpe
from backtester.metrics import Period, by_month, by_reason, by_symbol, by_year, drawdowns, measure
from backtester.parts import sound
from backtester.result import Result, Trade
from backtester.terminal import figure_rows, money, percent, qualifying_rows

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def render(outcome: Outcome) -> str:
    """The page as text."""
    result, description = outcome.result, outcome.description
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(money=money, percent=percent, moment=moment)
    years = by_year(result)
    return environment.get_template("page.html").render(
        description=description,
        result=result,
        change=float(result.end_equity / result.cash - 1) * 100,
        figures=figure_rows(measure(result)),
        qualifying=qualifying_rows(result, outcome.data, description),
        sharpe=_sharpe(result),
        equity=Markup(line_chart("Equity", result.close_ms, result.equity, base=float(result.cash), kind="equity")),  # noqa: S704
        drawdown=Markup(  # noqa: S704
            line_chart(
                "Drawdown",
                result.close_ms,
                drawdowns(result.equity, float(result.cash)),
                height=140,
                base=0.0,
                kind="drawdown",
            )
        ),
        months=MONTHS,
        calendar=calendar(by_month(result), years),
        years=years,
        reasons=by_reason(result.trades),
        symbols=by_symbol(result.trades),
        prices=_prices(outcome),
    )


def _sharpe(result: Result) -> Markup:
    """The Sharpe ratio of the last 90 days, day by day; empty for shorter tests."""
    values = rolling_sharpe(daily_returns(result))
    known = ~np.isnan(values)
    if known.sum() < 2:
        return Markup("")
    first = int(result.from_ms // DAY_MS)
    times = (first + 1 + np.arange(len(values), dtype=np.int64)) * DAY_MS
    chart = line_chart("Rolling Sharpe ratio", times[known], values[known], height=140, base=0.0, kind="equity")
    return Markup(chart)  # noqa: S704


def calendar(months: list[Period], years: list[Period]) -> list[tuple[str, list[float | None], float]]:
    """For each year its name, the return of each of twelve months (None: not tested) and of the year, in percent."""
    known = {period.name: period.return_pct for period in months}
    return [
        (year.name, [known.get(f"{year.name}-{month:02d}") for month in range(1, 13)], year.return_pct)
        for year in years
    ]


def _span(result: Result, trades: list[Trade]) -> tuple[int, int]:
    """The time that a symbol's chart shows: its trades, and a little around them."""
    first, last = min(trade.entry_ms for trade in trades), max(trade.exit_ms for trade in trades)
    around = max((last - first) // 20, 50 * result.interval_ms)
    return max(result.from_ms, first - around), min(result.to_ms, last + around)


def _prices(outcome: Outcome) -> list[tuple[str, int, Markup]]:
    """A chart for each symbol that was traded: its name, the number of trades, the picture."""
    result, charts = outcome.result, []
    for group in by_symbol(result.trades):
        trades = [trade for trade in result.trades if trade.symbol == group.name]
        bars = sound(outcome.data.bars[group.name])
        low, high = np.searchsorted(bars.start_ms, _span(result, trades))
        times, closes = bars.start_ms[low:high] + bars.interval_ms, bars.close[low:high]
        chart = price_chart(f"{group.name} with entries and exits", times, closes, trades)
        charts.append((group.name, group.trades, Markup(chart)))  # noqa: S704
    return charts

"""The report on the terminal."""

from decimal import Decimal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backtester.candles import moment
from backtester.confidence import confidence
from backtester.description import Description
from backtester.market import MarketData
from backtester.metrics import Group, Metrics, Period, by_month, by_reason, by_symbol, by_year, measure
from backtester.regimes import SLIPPAGES_BPS, by_regime, doubled, held, with_costs
from backtester.result import Result

_YEARS_FROM_MS = 400 * 86_400_000


def show(console: Console, result: Result, description: Description, data: MarketData) -> None:
    """Print the figures, the tables and what produced them."""
    console.print(_headline(description, result))
    console.print(_figures(measure(result)))
    console.print(_qualified(qualifying_rows(result, data, description)))
    console.print(_groups("Exits by reason", "reason", by_reason(result.trades)))
    console.print(_groups("By symbol", "symbol", by_symbol(result.trades)))
    long = result.to_ms - result.from_ms > _YEARS_FROM_MS
    console.print(_periods("By year" if long else "By month", by_year(result) if long else by_month(result)))
    for position in result.open_at_end:
        console.print(
            f"Open at the end: {position.symbol} {position.size} at {position.entry_price}, "
            f"{position.unrealised:+,.2f} USDT."
        )
    if result.limit_hits:
        hits = Table(title=f"Account limits met ({len(result.limit_hits)})", title_justify="left", show_header=False)
        for hit in result.limit_hits[:12]:
            hits.add_row(moment(hit.time_ms), hit.text)
        console.print(hits)
    if result.skipped:
        entries = ", ".join(f"{why}: {count}" for why, count in sorted(result.skipped.items(), key=lambda x: -x[1])[:6])
        console.print(f"Entries not made: {entries}.")
    told = Table(title="What produced this", title_justify="left", show_header=False)
    for name, value in description.rows():
        told.add_row(name, value)
    if description.changed:
        told.add_row("Changed parameters", ", ".join(f"{k}={description.parameters[k]}" for k in description.changed))
    console.print(told)


def _headline(description: Description, result: Result) -> Text:
    change = result.end_equity - result.cash
    return Text.assemble(
        ("\n" + description.strategy, "bold"),
        f"  {result.cash:,.2f} → {result.end_equity:,.2f} USDT ",
        (f"({float(change / result.cash) * 100:+.2f} %)", "green" if change >= 0 else "red"),
    )


def _qualified(rows: list[tuple[str, str]]) -> Table:
    table = Table(title="How far to believe it", title_justify="left", show_header=False)
    for name, value in rows:
        table.add_row(name, value)
    return table


def qualifying_rows(result: Result, data: MarketData, description: Description) -> list[tuple[str, str]]:
    """What qualifies the figures: chance, the best trades, holding the coins instead, other costs."""
    found, kept, costs = confidence(result), held(result, data), description.costs
    bps = ", ".join(f"{one} bps {money_of(with_costs(result, costs, slippage_bps=one))}" for one in SLIPPAGES_BPS)
    interval = (
        "-"
        if found.mean_low_pct is None or found.mean_high_pct is None
        else f"{found.mean_low_pct:+.2f} to {found.mean_high_pct:+.2f} %"
    )
    best = "-" if found.best_five is None else money_of(found.best_five)
    if found.best_five_pct is not None:
        share = found.best_five_pct
        best += f", {share:.0f} % of the net" if share < 1_000 else ", more than ten times the net"
    hours = "-" if found.held_mean_hours is None else f"{found.held_mean_hours:.1f} h"
    middle = "-" if found.held_median_hours is None else f"{found.held_median_hours:.1f} h"
    longest = "-" if found.held_longest_hours is None else f"{found.held_longest_hours:.1f} h"
    return [
        ("t-statistic of trade returns", number(found.t_statistic)),
        ("Mean return per trade, 90 % of bootstraps", interval),
        ("Chance of a loss, by bootstrap", percent(found.chance_of_loss_pct, sign=False)),
        ("Best five trades", best),
        ("BTC held", percent(kept.bitcoin_pct)),
        (f"Equal weight of the {kept.coins} coins held", percent(kept.equal_weight_pct)),
        ("Net with all costs doubled", money_of(doubled(result, costs))),
        ("Net by slippage", bps),
        ("Turnover", f"{found.turnover:.1f} times the mean equity"),
        ("Held, mean / median / longest", f"{hours} / {middle} / {longest}"),
        *(
            (f"Entered in {regime.name}", f"{regime.trades} trades, net {money(regime.net)}")
            for regime in by_regime(result, data)
        ),
    ]


def money_of(value: float) -> str:
    """A float amount in USDT with two digits."""
    return f"{value:+,.2f}"


def _figures(figures: Metrics) -> Table:
    table = Table(show_header=False)
    for _ in range(3):
        table.add_column(style="dim")
        table.add_column(justify="right")
    cells = figure_rows(figures)
    for first in range(0, len(cells), 3):
        table.add_row(*(text for cell in cells[first : first + 3] for text in cell))
    return table


def figure_rows(figures: Metrics) -> list[tuple[str, str]]:
    """Name and value of each figure, in reading order."""
    return [
        ("Return", percent(figures.return_pct)),
        ("A year", percent(figures.yearly_pct)),
        ("Deepest drawdown", percent(figures.drawdown_pct)),
        ("Trades", str(figures.trades)),
        ("Winners", percent(figures.winners_pct, sign=False)),
        ("Profit factor", number(figures.profit_factor)),
        ("Gross", money(figures.gross)),
        ("Fees", money(-figures.fees)),
        ("Funding", money(figures.funding)),
        ("Net of trades", money(figures.net)),
        ("Average win", money(figures.average_win)),
        ("Average loss", money(figures.average_loss)),
        ("Sharpe", number(figures.sharpe)),
        ("Sortino", number(figures.sortino)),
        ("Longest below a peak", f"{figures.drawdown_days:,.0f} days"),
        ("Time in the market", percent(figures.exposure_pct, sign=False)),
        ("Unrealised at the end", money(figures.unrealised)),
    ]


def _groups(title: str, column: str, groups: list[Group]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(column)
    for name in ("trades", "winners", "gross", "fees", "funding", "net"):
        table.add_column(name, justify="right")
    for group in groups:
        table.add_row(
            group.name,
            str(group.trades),
            percent(group.winners_pct, sign=False),
            money(group.gross),
            money(-group.fees),
            money(group.funding),
            Text(money(group.net), style="green" if group.net > 0 else "red"),
        )
    return table


def _periods(title: str, periods: list[Period]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in ("return", "drawdown", "trades", "winners", "net of trades"):
        table.add_column(name, justify="right")
    for period in periods:
        table.add_row(
            period.name,
            Text(percent(period.return_pct), style="green" if period.return_pct > 0 else "red"),
            percent(period.drawdown_pct),
            str(period.trades),
            percent(period.winners_pct, sign=False),
            money(period.net),
        )
    return table


def percent(value: float | None, *, sign: bool = True) -> str:
    """A percentage with one digit, or a dash."""
    return "-" if value is None else f"{value:+.1f} %" if sign else f"{value:.1f} %"


def number(value: float | None) -> str:
    """A ratio with two digits, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def money(value: Decimal | None) -> str:
    """An amount in USDT with two digits, or a dash."""
    return "-" if value is None else f"{value:+,.2f}"

"""The report on the terminal."""

from decimal import Decimal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backtester.candles import moment
from backtester.description import Description
from backtester.metrics import Group, Metrics, Period, by_month, by_reason, by_symbol, by_year, measure
from backtester.result import Result

_YEARS_FROM_MS = 400 * 86_400_000


def show(console: Console, result: Result, description: Description) -> None:
    """Print the figures, the tables and what produced them."""
    console.print(_headline(description, result))
    console.print(_figures(measure(result)))
    console.print(_groups("Exits by reason", "reason", by_reason(result.trades)))
    console.print(_groups("By symbol", "symbol", by_symbol(result.trades)))
    long = result.to_ms - result.from_ms > _YEARS_FROM_MS
    console.print(_periods("By year" if long else "By month", by_year(result) if long else by_month(result)))
    for held in result.open_at_end:
        console.print(
            f"Open at the end: {held.symbol} {held.size} at {held.entry_price}, {held.unrealised:+,.2f} USDT."
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

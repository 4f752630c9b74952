"""Pages of what happened: round trips, figures of a period, days, weeks and months, with their pictures."""

from collections import defaultdict
from datetime import datetime, tzinfo
from decimal import Decimal

from alpha.clock import ms_of
from alpha.money import ZERO
from alpha.platform.analytics import Analytics, Performance, SpanRow, TripRow
from alpha.platform.page import Bars, Block, Cell, Column, Curve, Facts, Page, Table, Tone, Words
from alpha.platform.pages import short, symbol_cell
from alpha.platform.wording import count, moment, number, percent, ratio, span, usdt, zone_name

#: Below this many round trips a ratio says more about luck than about a strategy.
FEW_TRIPS = 30


def trips_page(rows: list[TripRow], zone: tzinfo, now: datetime) -> Page:
    """Closed round trips, newest first."""
    table = Table(
        (
            Column("closed"),
            Column("bot", phone=False),
            Column("symbol"),
            Column("side", phone=False),
            Column("entry", right=True, phone=False),
            Column("exit", right=True, phone=False),
            Column("held", right=True, phone=False),
            Column("net", right=True),
            Column("%", right=True, phone=False),
            Column("reason"),
        ),
        [
            [
                moment(row.closed_at, zone),
                Cell(short(row.bot)),
                symbol_cell(row.symbol),
                Cell(row.direction),
                number(row.entry_price),
                number(row.exit_price),
                span(row.held),
                usdt(row.net),
                percent(row.return_pct, digits=2),
                Cell(row.reason + (" *" if row.provisional else "")),
            ]
            for row in rows
        ],
        empty="No closed trades yet.",
    )
    blocks: list[Block] = [table]
    if rows:
        total = usdt(sum((row.net for row in rows), ZERO))
        wins = sum(row.net > 0 for row in rows)
        blocks.append(Words(f"{len(rows)} trades, {wins} won, net {total.text} USDT.", total.tone))
    if any(row.provisional for row in rows):
        blocks.append(Words("* is being worked out again after a late fill.", Tone.WARN))
    blocks.append(Words(f"Net of fees and funding, USDT; times in {zone_name(now, zone)}.", Tone.DIM))
    return Page("Trades", blocks, rows)


def analytics_page(seen: Analytics) -> Page:
    """The figures of a period, why trades ended, what each symbol brought, and the equity curve."""
    blocks: list[Block] = [_figures(row) for row in seen.performance]
    if any(row.trips < FEW_TRIPS for row in seen.performance):
        blocks.append(Words(f"Fewer than {FEW_TRIPS} trades: the ratios say little yet.", Tone.DIM))
    several = len({row.bot for row in seen.reasons}) > 1
    blocks.append(
        Table(
            (
                Column("bot", phone=several),
                Column("reason"),
                Column("n", right=True),
                Column("share", right=True, phone=False),
                Column("won", right=True),
                Column("avg", right=True, phone=False),
                Column("net", right=True),
                Column("held", right=True, phone=False),
                Column("PF", right=True, phone=False),
            ),
            [
                [
                    Cell(short(row.bot)[:6] if several else short(row.bot)),
                    Cell(row.reason),
                    count(row.trips),
                    percent(row.share_pct, signed=False, digits=0),
                    percent(row.win_rate_pct, signed=False, digits=0),
                    usdt(row.average_net),
                    usdt(row.net),
                    span(row.held),
                    ratio(row.profit_factor),
                ]
                for row in seen.reasons
            ],
            empty="No trade ended in this period.",
            title="By exit reason",
        )
    )
    blocks.append(
        Table(
            (
                Column("bot", phone=False),
                Column("symbol"),
                Column("n", right=True),
                Column("won", right=True),
                Column("fees", right=True, phone=False),
                Column("funding", right=True, phone=False),
                Column("net", right=True),
            ),
            [
                [
                    Cell(short(row.bot)),
                    symbol_cell(row.symbol),
                    count(row.trips),
                    percent(row.win_rate_pct, signed=False, digits=0),
                    usdt(-row.fees),
                    usdt(row.funding),
                    usdt(row.net),
                ]
                for row in seen.symbols
            ],
            empty="No symbol was traded in this period.",
            title="By symbol",
        )
    )
    picture = None
    if len(seen.equity) > 1:
        picture = Curve(
            f"Equity, {seen.period.label}",
            [ms_of(point.time) for point in seen.equity],
            [float(point.equity) for point in seen.equity],
            [float(point.drawdown_pct) for point in seen.equity],
        )
    blocks.append(Words("USDT, net of fees and funding; UTC days.", Tone.DIM))
    return Page(f"Analytics, {seen.period.label}", blocks, seen, picture)


def _figures(row: Performance) -> Facts:
    made = row.gross if row.gross > 0 else None
    return Facts(
        [
            ("net", usdt(row.net)),
            ("return", percent(row.return_pct, digits=2)),
            ("trades", Cell(f"{row.trips:,} ({row.wins} won, {row.losses} lost)")),
            ("win rate", percent(row.win_rate_pct, signed=False)),
            ("profit factor", ratio(row.profit_factor)),
            ("expectancy", usdt(row.expectancy)),
            ("max drawdown", percent(row.max_drawdown_pct, signed=False, digits=2)),
            ("Sharpe / Sortino", Cell(f"{ratio(row.sharpe).text} / {ratio(row.sortino).text}")),
            ("gross", usdt(row.gross)),
            ("fees", _part(-row.fees, made)),
            ("funding", _part(row.funding, made)),
            ("volume", usdt(row.volume, signed=False)),
        ],
        title=f"{short(row.bot)} ({row.environment})",
    )


def _part(value: Decimal, of: Decimal | None) -> Cell:
    """An amount and its share of the gross, where that is above zero."""
    shown = usdt(value)
    return Cell(f"{shown.text} ({abs(value) / of * 100:.0f} %)", shown.tone) if of else shown


def performance_page(rows: list[Performance], label: str) -> Page:
    """All bots beside each other."""
    table = Table(
        (
            Column("bot"),
            Column("n", right=True),
            Column("won", right=True),
            Column("PF", right=True),
            Column("drawdown", right=True, phone=False),
            Column("return", right=True, phone=False),
            Column("fees", right=True, phone=False),
            Column("funding", right=True, phone=False),
            Column("net", right=True),
        ),
        [
            [
                Cell(short(row.bot)),
                count(row.trips),
                percent(row.win_rate_pct, signed=False, digits=0),
                ratio(row.profit_factor),
                percent(row.max_drawdown_pct, signed=False),
                percent(row.return_pct),
                usdt(-row.fees),
                usdt(row.funding),
                usdt(row.net),
            ]
            for row in rows
        ],
        empty="Nothing was traded.",
    )
    picture = Bars(f"Net, {label} (USDT)", [short(row.bot) for row in rows], [float(row.net) for row in rows])
    words = Words("USDT, net of fees and funding.", Tone.DIM)
    return Page(f"Performance, {label}", [table, words], rows, picture if rows else None)


def spans_page(kind: str, rows: list[SpanRow]) -> Page:
    """Days, weeks or months, newest first; bots are summed in the phone's table and apart in `data`."""
    sums: dict[str, list[SpanRow]] = defaultdict(list)
    for row in rows:
        sums[f"{row.start:%Y-%m}" if kind == "monthly" else f"{row.start:%Y-%m-%d}"].append(row)
    table = Table(
        (
            Column("month" if kind == "monthly" else "week of" if kind == "weekly" else "day"),
            Column("n", right=True),
            Column("won", right=True),
            Column("gross", right=True, phone=False),
            Column("fees", right=True, phone=False),
            Column("funding", right=True, phone=False),
            Column("net", right=True),
        ),
        [
            [
                Cell(label),
                count(sum(row.trips for row in parts)),
                count(sum(row.wins for row in parts)),
                usdt(sum((row.gross for row in parts), ZERO)),
                usdt(-sum((row.fees for row in parts), ZERO)),
                usdt(sum((row.funding for row in parts), ZERO)),
                usdt(sum((row.net for row in parts), ZERO)),
            ]
            for label, parts in sorted(sums.items(), reverse=True)
        ],
        empty="Nothing was traded.",
    )
    labels = sorted(sums)
    values = [float(sum((row.net for row in sums[label]), ZERO)) for label in labels]
    title = {"daily": "Daily", "weekly": "Weekly", "monthly": "Monthly"}[kind]
    picture = Bars(f"{title} net (USDT)", [label[5:] if kind != "monthly" else label for label in labels], values)
    total = usdt(sum((row.net for row in rows), ZERO))
    blocks: list[Block] = [
        table,
        Words(f"Total {total.text} USDT.", total.tone),
        Words("USDT on cash basis, UTC days; n counts trades closed.", Tone.DIM),
    ]
    return Page(title, blocks, rows, picture if rows else None)

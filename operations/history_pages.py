"""Pages of past results: round trips, performance over a period, days, weeks and months, with their charts."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import TypeVar

from alpha.model.money import ZERO
from alpha.model.timestamp import ms_of
from operations.analytics import Analytics, EquityPoint, OtherFees, Performance, ReasonRow, SpanRow, SymbolRow, TripRow
from operations.coins import amounts, coins_of, named, of_coin, said, sums, units
from operations.formatting import NONE, count, full_moment, moment, number, percent, ratio, span, usdt, zone_name
from operations.page import BarChart, Block, Cell, Column, Curve, Facts, Page, Table, Tone, Words
from operations.pages import bot_cell, fee_cell, several, short, symbol_cell
from operations.periods import EPOCH, Period
from operations.trade import StopLevel, TradeDetail

#: Below this many round trips a ratio reflects luck more than the strategy.
FEW_TRIPS = 30
#: Equity that is on record from later on than this into a period is said to begin there.
_LATE = timedelta(minutes=5)


#: Short exit reasons for a narrow table.
_REASON_MARK = {
    "stop_loss": "stop",
    "take_profit": "target",
    "trailing_stop": "trail",
    "break_even": "even",
    "regime_change": "regime",
    "time_limit": "time",
    "liquidation": "liq",
}


def trips_page(rows: list[TripRow], zone: tzinfo, now: datetime) -> Page:
    """Closed round trips, newest first."""
    table = Table(
        (
            Column("closed"),
            Column("bot", phone=several(rows)),
            Column("symbol", brief="sym"),
            Column(""),
            Column("entry", right=True, phone=False),
            Column("exit", right=True, phone=False),
            Column("held", right=True, phone=False),
            Column("net", right=True),
            Column("%", right=True, phone=False),
            Column("reason"),
            Column("trade", phone=False),
        ),
        [
            [
                moment(row.closed_at, zone),
                bot_cell(row.bot),
                symbol_cell(row.symbol),
                Cell(row.direction, mark=row.direction[0].upper()),
                number(row.entry_price),
                number(row.exit_price),
                span(row.held),
                usdt(row.net),
                percent(row.return_pct, digits=2),
                _reason(row),
                Cell(row.trade_id),
            ]
            for row in rows
        ],
        empty="No closed trades yet.",
    )
    blocks: list[Block] = [table]
    if rows:
        total = sums(rows, lambda row: row.net)
        wins = sum(row.net > 0 for row in rows)
        blocks.append(Words(f"{len(rows)} trades, {wins} won, net {said(total)}.", amounts(total).tone, ""))
    if any(row.provisional for row in rows):
        blocks.append(Words("* is being worked out again after a late fill.", Tone.WARN))
    coins = units(coins_of(rows))
    blocks.append(Words(f"Net of fees and funding, {coins}; times in {zone_name(now, zone)}.", Tone.DIM))
    return Page("Trades", blocks, rows)


def trade_page(seen: TradeDetail, zone: tzinfo) -> Page:
    """One trade in full."""
    row = seen.trip
    facts = Facts(
        [
            ("bot", Cell(short(row.bot))),
            ("entered", Cell(full_moment(row.opened_at, zone))),
            ("left", Cell(full_moment(row.closed_at, zone))),
            ("held", span(row.held)),
            ("size", number(row.size)),
            ("entry → exit", Cell(f"{number(row.entry_price).text} → {number(row.exit_price).text}")),
            ("gross", usdt(row.gross)),
            ("fees", usdt(-row.fees)),
            ("funding", usdt(row.funding)),
            ("net", usdt(row.net)),
            ("return", percent(row.return_pct, digits=2)),
            ("left because", _reason(row)),
        ]
    )
    blocks: list[Block] = [facts]
    blocks += [
        Words(
            f"{each.intent}{f' [{each.tag}]' if each.tag else ''}: {each.why or each.reason.replace('_', ' ')}", mark=""
        )
        for each in seen.intents
    ]
    if not seen.intents:
        blocks.append(Words("No decision of a bot is on record for its orders.", Tone.DIM))
    else:
        blocks.append(
            Table(
                (
                    Column("order"),
                    Column("side"),
                    Column("decided at", right=True),
                    Column("filled at", right=True),
                    Column("slippage, bps", right=True, brief="bps"),
                ),
                [
                    [
                        Cell(each.intent),
                        Cell(each.side),
                        number(each.decision_price),
                        number(each.average_price),
                        NONE if each.slippage_bps is None else number(round(each.slippage_bps, 1)),
                    ]
                    for each in seen.intents
                ],
                empty="None.",
                title="Decisions",
            )
        )
    blocks.append(
        Table(
            (
                Column("time"),
                Column("what"),
                Column("side"),
                Column("qty", right=True),
                Column("price", right=True),
                Column("fee", right=True, phone=False),
                Column("reason", phone=False),
            ),
            [
                [
                    moment(each.time, zone),
                    Cell(each.exec_type),
                    Cell(each.side, mark=each.side[:1].upper()),
                    number(each.qty),
                    number(each.price),
                    fee_cell(each),
                    Cell(each.reason),
                ]
                for each in seen.fills
            ],
            title="Fills and funding",
        )
    )
    blocks.append(
        Table(
            (
                Column("made"),
                Column("kind"),
                Column("trigger", right=True),
                Column("qty", right=True, phone=False),
                Column("last state"),
                Column("until", phone=False),
            ),
            [
                [
                    moment(each.created_at, zone),
                    Cell(each.kind),
                    number(each.trigger_price),
                    number(each.qty),
                    Cell(each.status),
                    moment(each.updated_at, zone),
                ]
                for each in seen.stops
            ],
            empty="No stop order of it is on record.",
            title="Stops and targets",
        )
    )
    if len(seen.levels) > len({each.order_id for each in seen.levels}):
        blocks.append(_stops_as_they_moved(seen.levels, zone))
    if seen.commands:
        blocks.append(
            Table(
                (Column("time"), Column("who"), Column("command"), Column("outcome"), Column("from", phone=False)),
                [
                    [
                        moment(each.time, zone),
                        Cell(each.issuer),
                        Cell(f"{each.name} {each.words}".strip(), mark=each.name),
                        Cell(each.outcome),
                        Cell(each.source),
                    ]
                    for each in seen.commands
                ],
                title="What people asked meanwhile",
            )
        )
    blocks.append(Words(f"{row.coin}; times in {zone_name(row.closed_at, zone)}.", Tone.DIM))
    return Page(f"Trade {row.trade_id}: {row.symbol} {row.direction}", blocks, seen)


def _stops_as_they_moved(levels: list[StopLevel], zone: tzinfo) -> Table:
    before: dict[str, Decimal] = {}
    rows: list[list[Cell]] = []
    for each in levels:
        last = before.get(each.order_id)
        moved = NONE if last is None else _signed(each.trigger_price - last)
        meaning = each.reason.replace("_", " ")
        mark = _REASON_MARK.get(each.reason, meaning)
        rows.append([moment(each.since, zone), Cell(each.kind), number(each.trigger_price), moved, Cell(meaning, mark=mark)])  # fmt: skip
        before[each.order_id] = each.trigger_price
    columns = (Column("since"), Column("kind", phone=False), Column("trigger", right=True), Column("moved", right=True), Column("meant"))  # fmt: skip
    return Table(columns, rows, title="Stops as they moved")


def _signed(change: Decimal) -> Cell:
    text = number(change).text
    return Cell(f"+{text}" if change > 0 else text)


def _reason(row: TripRow) -> Cell:
    star = " *" if row.provisional else ""
    return Cell(f"{row.reason}{star}", mark=f"{_REASON_MARK.get(row.reason, row.reason)[:8]}{star}")


def analytics_page(seen: Analytics, zone: tzinfo) -> Page:
    """The figures of a period, exit reasons, results by symbol, and the equity curve.

    Several bots are shown side by side with their sums; a single bot in full.
    """
    coins = coins_of(seen.performance)
    blocks: list[Block] = []
    for coin in coins:
        rows = of_coin(seen.performance, coin)
        blocks += _together(seen, coin) if len(rows) > 1 else [_figures(row) for row in rows]
    blocks += _beside_the_chart(seen, zone)
    if any(row.trips < FEW_TRIPS for row in seen.performance):
        blocks.append(Words(f"Fewer than {FEW_TRIPS} trades: the ratios say little yet.", Tone.DIM))
    blocks.append(
        Table(
            (
                Column("reason"),
                Column("n", right=True),
                Column("share", right=True, phone=False),
                Column("won", right=True),
                Column("avg", right=True, phone=False),
                Column("net", right=True),
                Column("held", right=True, phone=False),
            ),
            [
                _reason_row(name, rows, seen.reasons)
                for name, rows in _by(seen.reasons, lambda row: named(row.reason, row.coin))
            ],
            empty="No trade ended in this period.",
            title="By exit reason",
        )
    )
    blocks.append(
        Table(
            (
                Column("symbol"),
                Column("n", right=True),
                Column("won", right=True),
                Column("fees", right=True, phone=False),
                Column("funding", right=True, phone=False),
                Column("net", right=True),
            ),
            [_symbol_row(name, rows) for name, rows in _by(seen.symbols, lambda row: row.symbol)],
            empty="No symbol was traded in this period.",
            title="By symbol",
        )
    )
    blocks += _other_fees(seen)
    blocks.append(Words(f"{units(coins)}, net of fees and funding; UTC days.", Tone.DIM))
    bots = {row.bot for row in seen.performance}
    name = f"Analytics {short(bots.pop())}" if len(bots) == 1 else "Analytics"
    return Page(f"{name}, {seen.period.label}", blocks, seen, _with_return(seen, zone))


def _beside_the_chart(seen: Analytics, zone: tzinfo) -> list[Block]:
    """Why the chart's change is not the net: open positions and transfers, and where the record of equity begins."""
    rows = of_coin(seen.performance, seen.equity_coin)
    if len(seen.equity) < 2 or not rows:
        return []
    first, last = seen.equity[0], seen.equity[-1]
    change, net = last.equity - first.equity, sum((row.net for row in rows), ZERO)
    rest = change - net
    late = first.time - seen.period.start > _LATE and seen.period.start > EPOCH
    since = f" since {full_moment(first.time, zone)}, where its record begins," if late else ""
    if abs(rest) < Decimal("0.01") and not late:
        return []
    text = (
        f"Equity changed by {usdt(change).text} {seen.equity_coin}{since}: {usdt(net).text} was booked (net), {usdt(rest).text} is "
        "the change of open positions, and transfers. The return is that of equity without transfers."
    )
    return [Words(text, Tone.DIM)]


def _with_return(seen: Analytics, zone: tzinfo) -> Curve | None:
    """The chart of the page; for a single bot it shows the same return as the figures."""
    curve = equity_picture(seen.equity, seen.period, zone)
    if curve is None or len(seen.performance) != 1 or seen.performance[0].return_pct is None:
        return curve
    return replace(curve, return_pct=float(seen.performance[0].return_pct))


def equity_picture(points: list[EquityPoint], period: Period, zone: tzinfo) -> Curve | None:
    """The equity of a period as a chart; None with fewer than two points."""
    if len(points) < 2:
        return None
    return Curve(
        f"Equity, {period.label}",
        [ms_of(point.time) for point in points],
        [float(point.equity) for point in points],
        [float(point.drawdown_pct) for point in points],
        zone,
    )


R = TypeVar("R", ReasonRow, SymbolRow)


def _by(rows: list[R], name: Callable[[R], str]) -> list[tuple[str, list[R]]]:
    """Group the rows of all bots by name, most trades first."""
    found: dict[str, list[R]] = defaultdict(list)
    for row in rows:
        found[name(row)].append(row)
    return sorted(found.items(), key=lambda item: (-sum(row.trips for row in item[1]), item[0]))


def _won(rows: Sequence[ReasonRow | SymbolRow]) -> Cell:
    """The share of winning trips, over all bots."""
    trips = sum(row.trips for row in rows)
    won = sum((row.win_rate_pct * row.trips for row in rows if row.win_rate_pct is not None), ZERO)
    return percent(won / trips if trips else None, signed=False, digits=0)


def _reason_row(name: str, rows: list[ReasonRow], every: list[ReasonRow]) -> list[Cell]:
    trips = sum(row.trips for row in rows)
    net = sum((row.net for row in rows), ZERO)
    held = sum((row.held * row.trips for row in rows if row.held is not None), timedelta())
    return [
        Cell(name),
        count(trips),
        percent(Decimal(100 * trips) / sum(row.trips for row in of_coin(every, rows[0].coin)), signed=False, digits=0),
        _won(rows),
        usdt(net / trips),
        usdt(net),
        span(held / trips),
    ]


def _symbol_row(name: str, rows: list[SymbolRow]) -> list[Cell]:
    return [
        symbol_cell(name),
        count(sum(row.trips for row in rows)),
        _won(rows),
        usdt(-sum((row.fees for row in rows), ZERO)),
        usdt(sum((row.funding for row in rows), ZERO)),
        usdt(sum((row.net for row in rows), ZERO)),
    ]


def _other_fees(seen: Analytics) -> list[Block]:
    """Fees in another coin than the settle coin: apart from every net above."""
    found: dict[str, list[OtherFees]] = defaultdict(list)
    for fee in seen.other_fees:
        found[fee.currency].append(fee)
    blocks: list[Block] = []
    for coin, fees in sorted(found.items()):
        amount, value = sum((fee.amount for fee in fees), ZERO), sum((fee.value for fee in fees), ZERO)
        missing = sum((fee.unvalued for fee in fees), ZERO)
        text = f"Besides, fees of {number(amount).text} {coin} were paid, {usdt(value, signed=False).text} USDT when they were paid"
        text += f" ({number(missing).text} {coin} have no price)" if missing else ""
        blocks.append(Words(f"{text}. They are not in fees and net."))
    return blocks


def _together(seen: Analytics, coin: str) -> list[Block]:
    """Figures in one settle coin that add up across bots, and each bot side by side."""
    rows = of_coin(seen.performance, coin)
    trips, wins = sum(row.trips for row in rows), sum(row.wins for row in rows)
    losses = sum(row.losses for row in rows)
    gross = sum((row.gross for row in rows), ZERO)
    made = gross if gross > 0 else None
    points = seen.equity if coin == seen.equity_coin else []
    worst = min((point.drawdown_pct for point in points), default=None)
    facts = Facts(
        [
            ("net", usdt(sum((row.net for row in rows), ZERO))),
            ("trades", Cell(f"{trips:,} ({wins:,} won, {losses:,} lost)")),
            ("win rate", percent(Decimal(100 * wins) / trips if trips else None, signed=False)),
            ("max drawdown", percent(None if worst is None else -worst, signed=False, digits=2)),
            ("gross", usdt(gross)),
            ("fees", _part(-sum((row.fees for row in rows), ZERO), made)),
            ("funding", _part(sum((row.funding for row in rows), ZERO), made)),
            ("volume", usdt(sum((row.volume for row in rows), ZERO), signed=False)),
        ],
        title=named("All bots", coin),
    )
    return [facts, _beside(rows, named("By bot", coin))]


def _beside(rows: list[Performance], title: str = "") -> Table:
    """Bots side by side, and their sum."""
    lines = [
        [
            Cell(named(short(row.bot), row.coin)),
            count(row.trips),
            percent(row.win_rate_pct, signed=False, digits=0),
            ratio(row.profit_factor),
            usdt(row.expectancy),
            percent(row.return_pct),
            percent(row.max_drawdown_pct, signed=False),
            ratio(row.sharpe),
            usdt(-row.fees),
            usdt(row.funding),
            usdt(row.net),
        ]
        for row in rows
    ]
    for coin in coins_of(rows):
        of_one = of_coin(rows, coin)
        if len(of_one) < 2:
            continue
        trips, wins = sum(row.trips for row in of_one), sum(row.wins for row in of_one)
        added = [sum(each, ZERO) for each in zip(*((-row.fees, row.funding, row.net) for row in of_one), strict=True)]
        won = percent(Decimal(100 * wins) / trips if trips else None, signed=False, digits=0)
        lines.append([Cell(named("all", coin)), count(trips), won, *[NONE] * 5, *(usdt(value) for value in added)])
    return Table(
        (
            Column("bot"),
            Column("n", right=True),
            Column("won", right=True),
            Column("PF", right=True),
            Column("per trade", right=True, phone=False),
            Column("return", right=True, phone=False),
            Column("drawdown", right=True, phone=False),
            Column("Sharpe", right=True, phone=False),
            Column("fees", right=True, phone=False),
            Column("funding", right=True, phone=False),
            Column("net", right=True),
        ),
        lines,
        empty="Nothing was traded.",
        title=title,
    )


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
        title=named(f"{short(row.bot)} ({row.environment})", row.coin),
    )


def _part(value: Decimal, of: Decimal | None) -> Cell:
    """An amount and its share of the gross, if that is above zero."""
    shown = usdt(value)
    return Cell(f"{shown.text} ({abs(value) / of * 100:.0f} %)", shown.tone) if of else shown


def performance_page(rows: list[Performance], label: str) -> Page:
    """All bots side by side."""
    names = [named(short(row.bot), row.coin) for row in rows]
    picture = BarChart(f"Net, {label}", names, [float(row.net) for row in rows])
    words = Words(f"{units(coins_of(rows))}, net of fees and funding; n trades, PF profit factor.", Tone.DIM)
    return Page(f"Performance, {label}", [_beside(rows), words], rows, picture if rows else None)


def spans_page(kind: str, rows: list[SpanRow], bot: str = "") -> Page:
    """Days, weeks or months, newest first, of one bot or of all; several are summed here and separate in `data`."""
    parts_of: dict[tuple[str, str], list[SpanRow]] = defaultdict(list)
    for row in rows:
        label = f"{row.start:%Y-%m}" if kind == "monthly" else f"{row.start:%Y-%m-%d}"
        parts_of[label, row.coin].append(row)
    coins = coins_of(rows)
    totals = [
        (("total", coin), of_coin(rows, coin)) for coin in coins if len({key for key in parts_of if key[1] == coin}) > 1
    ]
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
                Cell(named(*key)),
                count(sum(row.trips for row in parts)),
                count(sum(row.wins for row in parts)),
                usdt(sum((row.gross for row in parts), ZERO)),
                usdt(-sum((row.fees for row in parts), ZERO)),
                usdt(sum((row.funding for row in parts), ZERO)),
                usdt(sum((row.net for row in parts), ZERO)),
            ]
            for key, parts in [*sorted(parts_of.items(), reverse=True), *totals]
        ],
        empty="Nothing was traded.",
    )
    # one chart shows one coin
    labels = sorted(label for label, coin in parts_of if coin == coins[0])
    values = [float(sum((row.net for row in parts_of[label, coins[0]]), ZERO)) for label in labels]
    title = {"daily": "Daily", "weekly": "Weekly", "monthly": "Monthly"}[kind]
    picture = BarChart(
        named(f"{title} net", coins[0]), [label[5:] if kind != "monthly" else label for label in labels], values
    )
    blocks: list[Block] = [table, Words(f"{units(coins)} on cash basis, UTC days; n trades closed.", Tone.DIM)]
    return Page(f"{title} {short(bot)}".strip(), blocks, rows, picture if rows else None)

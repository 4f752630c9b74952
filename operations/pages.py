"""Pages of current state: status, positions, orders, balance, fills, health, issues, sync, alerts, commands, logs."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Protocol

from alpha.model.coin import SETTLE_COINS
from alpha.model.leg import BOTH
from alpha.model.timestamp import at, ms_of
from operations.coins import amounts, coins_of, named, of_coin, said, together, units
from operations.formatting import (
    NONE,
    count,
    full_moment,
    in_zone,
    moment,
    number,
    percent,
    span,
    text,
    usdt,
    zone_name,
)
from operations.health import HealthRow
from operations.history import AlertRow, CommandRow, DriftRow, FillRow, IssueRow, SyncRow
from operations.log_lines import readable
from operations.many_bots import GROUP_FROM, NAMED, grouped, is_well, page_of, states
from operations.page import Block, Cell, Column, Facts, Page, Table, Tone, Verbatim, Words
from operations.positions import BalanceRow, OrderRow, PositionRow, unrealised_by_coin
from operations.status import BotState, BotStatus, ServiceStatus, Status


class BotRow(Protocol):
    """A row that belongs to one bot."""

    @property
    def bot(self) -> str:
        """The bot's id."""


_STATE_TONE = {
    BotState.RUNNING: Tone.GOOD,
    BotState.PAUSED: Tone.WARN,
    BotState.STOPPED: Tone.DIM,
    BotState.UNHEALTHY: Tone.BAD,
    BotState.UNKNOWN: Tone.WARN,
}
_STATE_MARK = {
    BotState.RUNNING: "run",
    BotState.PAUSED: "pause",
    BotState.STOPPED: "stop",
    BotState.UNHEALTHY: "ILL!",
    BotState.UNKNOWN: "?",
}
_STATE_SIGN = {
    BotState.RUNNING: "🟢",
    BotState.PAUSED: "⏸",
    BotState.STOPPED: "⏹",
    BotState.UNHEALTHY: "🔴",
    BotState.UNKNOWN: "❔",
}
_KIND_MARK = {"StopLoss": "stop", "TakeProfit": "target", "TrailingStop": "trail", "Market": "market", "Limit": "limit"}
_LEVEL_TONE = {"critical": Tone.BAD, "error": Tone.BAD, "warning": Tone.WARN}
CROSS = "REGULAR_MARGIN"
#: From this rank on a position may be deleveraged soon.
ADL_HIGH = 4
_OLD = Words("The data of some bots may be old: the listener is not synced. See /health.", Tone.WARN)


def short(bot: str) -> str:
    """A bot's id without the number 001, for narrow tables: `shortseller_001` is `shortseller`."""
    name, _, ending = bot.rpartition("_")
    return name if ending == "001" else bot


def bot_cell(bot: str) -> Cell:
    """A bot; two letters of it in a narrow table of several bots."""
    return Cell(short(bot), mark=short(bot)[:2].upper())


def several(rows: Sequence[BotRow]) -> bool:
    """Whether the rows belong to more than one bot: a narrow table then names the bot."""
    return len({row.bot for row in rows}) > 1


def symbol_cell(symbol: str) -> Cell:
    """A symbol; narrow tables omit the quote currency that all share."""
    return Cell(symbol, mark=symbol.removesuffix("USDT"))


def status_page(seen: Status, zone: tzinfo, page: int | None = None) -> Page:
    """The status summary, on one screen: of many bots the totals, the strategies and who needs somebody; or a page of them."""
    if page is None and len(seen.bots) > GROUP_FROM:
        return Page("Status", [*_groups(seen.bots, zone), *_around(seen, zone)], seen)
    listed, pages = (seen.bots, 1) if page is None else page_of(seen.bots, page)
    bots = Table(
        (
            Column("bot"),
            Column("state"),
            Column("data", phone=False),
            Column("pos", right=True),
            Column("open", right=True),
            Column("today", right=True),
        ),
        [
            *([_status_sum(seen.bots)] if pages > 1 else []),
            *(_status_row(row) for row in listed),
            *([_status_sum(seen.bots)] if len(seen.bots) > 1 and pages == 1 else []),
        ],
        title=f"page {page} of {pages}" if pages > 1 else "",
    )
    blocks: list[Block] = [bots, *(_note(row, zone) for row in listed), *_data(listed)]
    return Page("Status", [*blocks, *_around(seen, zone)], seen)


def _groups(rows: list[BotStatus], zone: tzinfo) -> list[Block]:
    """Many bots: totals first, a row per strategy, then the bots that need somebody."""
    table = Table(
        (
            Column("strategy"),
            Column("bots", right=True),
            Column("data", phone=False),
            Column("pos", right=True),
            Column("open", right=True),
            Column("today", right=True),
        ),
        [_group_row("all", rows), *(_group_row(name, group) for name, group in grouped(rows).items())],
    )
    troubled = [row for row in rows if not is_well(row)]
    more = len(troubled) - NAMED
    pages = page_of(rows, 1)[1]
    return [
        table,
        Words(f"{states(rows)}.", mark="🟢" if not troubled else "🟠"),
        *(_note(row, zone) for row in troubled[:NAMED]),
        *([Words(f"{more} more bots need somebody: see their pages.", Tone.BAD)] if more > 0 else []),
        Words(f"/status 1 to /status {pages} list the bots; /status NAME shows one.", Tone.DIM, ""),
    ]


def _group_row(name: str, rows: list[BotStatus]) -> list[Cell]:
    synced = sum(row.data == "synced" for row in rows)
    total = _status_sum(rows)
    return [
        Cell(name),
        count(len(rows)),
        Cell(f"{synced} of {len(rows)} synced", Tone.GOOD if synced == len(rows) else Tone.WARN),
        *total[3:],
    ]


def _around(seen: Status, zone: tzinfo) -> list[Block]:
    """Halts, services, faults and the time."""
    blocks: list[Block] = []
    blocks += [
        Words(f"HALT {halt.kind} {short(halt.bot) or 'all'} {halt.symbol}: {halt.reason}", Tone.BAD)
        for halt in seen.halts
    ]
    blocks += maintenance_words(seen, zone)
    if seen.services:
        ill = [service for service in seen.services if not _serves(service)]
        well = len(seen.services) - len(ill)
        sign = "🔴" if ill else "🟢"
        tone = Tone.BAD if ill else Tone.PLAIN
        blocks.append(Words(f"Services: {well} of {len(seen.services)} healthy.", tone, sign))
        blocks += [Words(f"{service.service}: {service.detail}", Tone.BAD) for service in ill]
    blocks += [Words(fault, Tone.BAD) for fault in seen.faults]
    known = seen.business_time
    coins = units(coins_of([position for row in seen.bots for position in row.positions]))
    when = f"exchange {full_moment(known, zone)}" if known else full_moment(seen.wall_time, zone)
    blocks.append(Words(f"{coins}; {when}", Tone.DIM))
    return blocks


def maintenance_words(seen: Status, zone: tzinfo) -> list[Block]:
    """One line per announced maintenance of the exchange."""
    lines: list[Block] = []
    now_ms = None if seen.business_time is None else ms_of(seen.business_time)
    for window in seen.maintenance.windows:
        begins = full_moment(at(window.begin_ms), zone)
        ends = "an unknown end" if window.end_ms is None else full_moment(at(window.end_ms), zone)
        on = now_ms is not None and window.ongoing(now_ms)
        verb = "is in maintenance" if on else "announces maintenance"
        lines.append(Words(f"Bybit {verb} ({window.title}): {begins} to {ends}.", Tone.WARN))
    return lines


def _serves(service: ServiceStatus) -> bool:
    return service.state == "running" and service.healthy is not False


def _status_row(row: BotStatus) -> list[Cell]:
    return [
        Cell(short(row.bot)),
        _state(row),
        Cell(row.data, Tone.GOOD if row.data == "synced" else Tone.WARN),
        NONE if row.unrealised_pnl is None else count(len(row.positions)),
        amounts(row.unrealised),
        amounts(row.today),
    ]


def _unwished(row: BotStatus) -> bool:
    """Whether it should be running and is not."""
    return row.state is BotState.STOPPED and row.wish == "running"


def _state(row: BotStatus) -> Cell:
    if _unwished(row):
        return Cell(row.state.value, Tone.BAD, "DOWN!")
    return Cell(row.state.value, _STATE_TONE[row.state], _STATE_MARK[row.state])


def _status_sum(rows: list[BotStatus]) -> list[Cell]:
    return [
        Cell("all"),
        Cell(""),
        Cell(""),
        count(sum(len(row.positions) for row in rows)),
        amounts(together(row.unrealised for row in rows)),
        amounts(together(row.today for row in rows)),
    ]


def _note(row: BotStatus, zone: tzinfo) -> Words:
    """What a bot is waiting for, or what is wrong with it."""
    bad = _unwished(row) or row.state is BotState.UNHEALTHY
    sign = "🔴" if bad else _STATE_SIGN[row.state]
    return Words(
        f"{short(row.bot)}: {in_zone(row.note or row.state.value, zone)}", Tone.BAD if bad else Tone.PLAIN, sign
    )


def _data(rows: list[BotStatus]) -> list[Words]:
    """How current the live data is: one line if all of it is, else one per bot whose data is not."""
    ages = [row.data_age_s for row in rows if row.data_age_s is not None]
    if ages and len(ages) == len(rows) and all(row.data == "synced" for row in rows):
        return [Words(f"Data synced, heard {max(ages):.0f} s ago.", mark="🟢")]
    return [
        Words(
            f"{short(row.bot)}: data {row.data}, "
            + ("never heard." if row.data_age_s is None else f"heard {span(row.data_age_s).text} ago."),
            Tone.WARN,
        )
        for row in rows
        if row.data != "synced" or row.data_age_s is None
    ]


def positions_page(rows: list[PositionRow], zone: tzinfo, now: datetime) -> Page:
    """Open positions, one per line, and how each is protected."""
    table = Table(
        (
            Column("bot", phone=False),
            Column("symbol"),
            Column("side"),
            Column("size", right=True, phone=False),
            Column("value", right=True, phone=False),
            Column("entry", right=True),
            Column("mark", right=True),
            Column("P&L", right=True),
            Column("%", right=True, phone=False),
            Column("stop", right=True, phone=False),
            Column("target", right=True, phone=False),
            Column("liq", right=True, phone=False),
            Column("margin", right=True, phone=False),
            Column("lev", right=True, phone=False),
            Column("ADL", right=True, phone=False),
            Column("opened", phone=False),
        ),
        [
            [
                Cell(short(row.bot)),
                symbol_cell(row.symbol),
                Cell(row.direction, mark=row.direction[0].upper()),
                number(row.size),
                usdt(row.value, signed=False),
                number(row.entry_price),
                number(row.mark_price),
                usdt(row.unrealised_pnl),
                percent(row.pnl_pct, digits=2),
                number(row.stop_loss) if row.stop_loss else Cell("NO STOP", Tone.BAD),
                number(row.take_profit),
                number(row.liq_price),
                usdt(row.margin, signed=False),
                number(row.leverage),
                Cell(str(row.adl_rank), Tone.BAD if row.adl_rank >= ADL_HIGH else Tone.PLAIN),
                moment(row.opened_at, zone),
            ]
            for row in rows
        ],
        empty="No open positions.",
        narrow=_narrow_positions(rows),
    )
    blocks: list[Block] = [table]
    bare = [f"{short(row.bot)} {row.symbol}{_leg(row)}" for row in rows if not row.stop_loss]
    if bare:
        blocks.append(Words(f"Without a stop: {', '.join(bare)}.", Tone.BAD))
    if rows:
        total = unrealised_by_coin(rows)
        noun = "position" if len(rows) == 1 else "positions"
        blocks.append(Words(f"Open P&L {said(total)} in {len(rows)} {noun}.", amounts(total).tone, ""))
        queue = [f"{short(row.bot)} {row.symbol} {row.direction}" for row in rows if row.adl_rank >= ADL_HIGH]
        if queue:
            blocks.append(Words(f"Near the front of auto-deleveraging: {', '.join(queue)}.", Tone.BAD))
    if any(not row.true for row in rows):
        blocks.append(_OLD)
    blocks.append(Words(f"Amounts in {units(coins_of(rows))}, times in {zone_name(now, zone)}.", Tone.DIM))
    return Page("Positions", blocks, rows)


def _leg(row: PositionRow) -> str:
    """The leg of hedge mode, which a symbol alone does not tell."""
    return "" if row.leg == BOTH else f" {row.leg}"


def _narrow_positions(rows: list[PositionRow]) -> list[tuple[str, str]]:
    """Two lines per position: size and P&L; entry and mark price with the stop."""
    lines: list[tuple[str, str]] = []
    for row in rows:
        if several(rows) and (not lines or short(row.bot) not in {left for left, right in lines if not right}):
            lines.append((short(row.bot), ""))
        what = f"{symbol_cell(row.symbol).mark} {row.direction} {number(row.size).text}"
        share = "" if row.pnl_pct is None else f" {percent(row.pnl_pct, digits=2).text.replace(' ', '')}"
        stop = f"stop {number(row.stop_loss).text}" if row.stop_loss else "NO STOP"
        lines.append((what, f"{usdt(row.unrealised_pnl).text}{share}"))
        lines.append((f" {number(row.entry_price).text} → {number(row.mark_price).text}", stop))
    return lines


def orders_page(rows: list[OrderRow], zone: tzinfo, now: datetime) -> Page:
    """Open orders, including stops."""
    table = Table(
        (
            Column("bot", phone=several(rows)),
            Column("symbol"),
            Column("side"),
            Column("kind"),
            Column("qty", right=True),
            Column("price", right=True),
            Column("reduces", phone=False),
            Column("made", phone=False),
            Column("id", phone=False),
        ),
        [
            [
                bot_cell(row.bot),
                symbol_cell(row.symbol),
                Cell(row.side, mark=row.side[:1].upper()),
                Cell(row.kind, mark=_KIND_MARK.get(row.kind, row.kind)),
                number(row.qty),
                number(row.trigger_price or row.price),
                Cell("yes" if row.reduce_only else "no"),
                moment(row.created_at, zone),
                Cell(row.order_id[:13]),
            ]
            for row in rows
        ],
        empty="No open orders.",
    )
    return Page("Orders", [table, Words(f"Prices in USDT, times in {zone_name(now, zone)}.", Tone.DIM)], rows)


def balance_page(rows: list[BalanceRow], settings: Mapping[str, Mapping[str, str]] | None = None) -> Page:
    """The wallets, a line per settle coin, and the sum of each coin; what of the accounts' `settings` is unusual."""
    table = Table(
        (
            Column("bot"),
            Column("equity", right=True),
            Column("wallet", right=True, phone=False),
            Column("available", right=True),
            Column("open P&L", right=True),
        ),
        [
            [
                Cell(named(short(row.bot), row.coin)),
                usdt(row.equity, signed=False),
                usdt(row.wallet_balance, signed=False),
                usdt(row.available, signed=False),
                usdt(row.unrealised_pnl),
            ]
            for row in rows
        ],
        empty="No wallet has been seen yet.",
    )
    coins = coins_of(rows)
    for coin in coins:
        of_one = of_coin(rows, coin)
        if len(of_one) > 1:
            table.rows.append([Cell(named("all", coin)), *_wallet_sums(of_one)])
    blocks: list[Block] = [table, Words(f"{units(coins)}.", Tone.DIM)]
    if any(not row.true for row in rows):
        blocks.append(_OLD)
    for bot, of_bot in (settings or {}).items():
        if of_bot.get("fees_in_mnt") == "on":
            blocks.append(Words(f"{short(bot)} pays its fees in MNT: they are in no fees and net. See /analytics."))
        if of_bot.get("margin_mode", CROSS) != CROSS:
            mode = of_bot["margin_mode"].lower().replace("_", " ")
            blocks.append(Words(f"{short(bot)}: {mode}; what is available is per coin.", Tone.DIM))
    return Page("Balance", blocks, rows)


def _wallet_sums(rows: list[BalanceRow]) -> list[Cell]:
    nothing = Decimal(0)
    free = [row.available for row in rows if row.available is not None]
    return [
        usdt(sum((row.equity for row in rows), nothing), signed=False),
        usdt(sum((row.wallet_balance for row in rows), nothing), signed=False),
        usdt(sum(free, nothing) if len(free) == len(rows) else None, signed=False),
        usdt(sum((row.unrealised_pnl for row in rows), nothing)),
    ]


def fee_cell(row: FillRow) -> Cell:
    """A fee, with its coin where that is not the settle coin (MNT)."""
    cell = number(row.fee)
    return cell if row.fee_currency in SETTLE_COINS else Cell(f"{cell.text} {row.fee_currency}")


def fills_page(rows: list[FillRow], zone: tzinfo, now: datetime) -> Page:
    """The newest executions."""
    table = Table(
        (
            Column("time"),
            Column("bot", phone=several(rows)),
            Column("symbol"),
            Column("side"),
            Column("qty", right=True),
            Column("price", right=True),
            Column("fee", right=True, phone=False),
            Column("type", phone=False),
            Column("reason", phone=False),
        ),
        [
            [
                moment(row.time, zone),
                bot_cell(row.bot),
                symbol_cell(row.symbol),
                Cell(row.side, mark=row.side[:1].upper() if row.exec_type == "Trade" else row.exec_type[:4]),
                number(row.qty),
                number(row.price),
                fee_cell(row),
                Cell(row.exec_type),
                Cell(row.reason),
            ]
            for row in rows
        ],
        empty="No fills yet.",
    )
    return Page("Fills", [table, Words(f"Prices in USDT, times in {zone_name(now, zone)}.", Tone.DIM)], rows)


def health_page(rows: list[HealthRow]) -> Page:
    """Each part, healthy or not."""
    ill = [row for row in rows if not row.well]
    table = Table(
        (Column("part"), Column("well")),
        [[Cell(row.part), Cell("yes", Tone.GOOD) if row.well else Cell("NO", Tone.BAD)] for row in rows],
    )
    blocks: list[Block] = [table, *(Words(f"{row.part}: {row.detail}", Tone.BAD) for row in ill)]
    if not ill:
        blocks.append(Words("Everything is healthy.", Tone.GOOD))
    return Page("Health", blocks, rows)


def issues_page(rows: list[IssueRow], zone: tzinfo) -> Page:
    """Open differences between the ledger and the exchange."""
    if not rows:
        return Page("Issues", [Words("Our books and the exchange's agree: no open issue.", Tone.GOOD)], rows)
    blocks: list[Block] = [
        Facts(
            [
                ("what", Cell(f"{row.kind} {row.subject}".strip(), Tone.BAD)),
                ("bot", Cell(f"{short(row.bot)} {row.symbol}".strip())),
                ("ours", Cell(row.ours)),
                ("theirs", Cell(row.theirs)),
                ("why", text(row.explanation)),
                ("since", moment(row.first_seen, zone)),
            ],
            title=f"Issue {row.issue}",
        )
        for row in rows
    ]
    blocks.append(Words(f"Times in {zone_name(rows[0].first_seen, zone)}.", Tone.DIM))
    return Page("Issues", blocks, rows)


def sync_page(rows: list[SyncRow], zone: tzinfo, now: datetime) -> Page:
    """How far the exchange's history has been read."""
    table = Table(
        (
            Column("bot"),
            Column("what"),
            Column("last run"),
            Column("outcome"),
            Column("new", right=True, phone=False),
            Column("read to", phone=False),
        ),
        [
            [
                Cell(short(row.bot)),
                Cell(row.kind),
                moment(row.started_at, zone),
                Cell(row.outcome, Tone.BAD if row.outcome == "failed" else Tone.PLAIN),
                count(row.rows_new),
                moment(row.covered_to, zone),
            ]
            for row in rows
        ],
        empty="The sync service has not run yet.",
    )
    faults: list[Block] = [Words(f"{short(row.bot)} {row.kind}: {row.detail}", Tone.BAD) for row in rows if row.detail]
    return Page("Sync", [table, *faults, Words(f"Times in {zone_name(now, zone)}.", Tone.DIM)], rows)


def alerts_page(rows: list[AlertRow], zone: tzinfo) -> Page:
    """The latest alerts, newest first."""
    if not rows:
        return Page("Alerts", [Words("No alerts.", Tone.GOOD)], rows)
    blocks: list[Block] = [
        Words(
            f"{moment(row.time, zone).text} {row.level.upper()} {short(row.bot) or row.service}: {in_zone(row.text, zone)}",
            _LEVEL_TONE.get(row.level, Tone.PLAIN),
        )
        for row in rows
    ]
    return Page("Alerts", [*blocks, Words(f"Times in {zone_name(rows[0].time, zone)}.", Tone.DIM)], rows)


def commands_page(rows: list[CommandRow], zone: tzinfo) -> Page:
    """The latest command attempts."""
    table = Table(
        (
            Column("time"),
            Column("who"),
            Column("role", phone=False),
            Column("command"),
            Column("bot", phone=False),
            Column("outcome"),
            Column("from", phone=False),
        ),
        [
            [
                moment(row.time, zone),
                Cell(row.issuer),
                Cell(row.role),
                Cell(f"{row.name} {row.words}".strip(), mark=row.name),
                text(short(row.bot)),
                Cell(row.outcome, Tone.BAD if row.outcome in ("failed", "refused") else Tone.PLAIN),
                Cell(row.source),
            ]
            for row in rows
        ],
        empty="No commands yet.",
    )
    zones = [Words(f"Times in {zone_name(rows[0].time, zone)}.", Tone.DIM)] if rows else []
    return Page("Audit", [table, *zones], rows)


def logs_page(bot: str, output: str, zone: tzinfo) -> Page:
    """A bot's output, newest last, times in `zone`; `data` is the raw output."""
    return Page(f"Logs of {short(bot)}", [Verbatim(readable(output, zone) or "No output.")], output)


def drift_page(rows: list[DriftRow], zone: tzinfo) -> Page:
    """What the exchange sends that its documents did not know."""
    if not rows:
        return Page("Drift", [Words("Bybit sends only what it documents.", Tone.GOOD)], rows)
    table = Table(
        (
            Column("first seen"),
            Column("new"),
            Column("where"),
            Column("what"),
            Column("example", phone=False),
            Column("seen by", phone=False),
        ),
        [
            [
                moment(row.first_seen, zone),
                Cell(row.kind),
                Cell(row.place),
                Cell(row.name),
                text(row.example),
                Cell(row.service),
            ]
            for row in rows
        ],
        empty="",
    )
    words = "Nothing was refused for it: unknown fields are ignored, unknown values kept."
    return Page("Drift", [table, Words(words, Tone.DIM)], rows)

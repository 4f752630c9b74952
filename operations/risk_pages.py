"""Pages of exposure and open risk, of symbols followed or forbidden, of versions and settings."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from decimal import Decimal

from alpha.model.money import ZERO
from operations.coins import coins_of, named, of_coin, said, sums, units
from operations.formatting import NONE, full_moment, number, percent, ratio, span, text, usdt
from operations.inventory import ProcessRow, SettingRow, SymbolsRow, Versions
from operations.page import Block, Cell, Column, Facts, Page, Table, Tone, Words
from operations.pages import bot_cell, several, short, symbol_cell
from operations.risk import ExposureRow, RiskRow

#: Characters of a setting's value that fit beside its name on a phone.
_BESIDE_A_NAME = 12


def exposure_page(rows: list[ExposureRow]) -> Page:
    """What each bot holds against its equity."""
    table = Table(
        (
            Column("bot"),
            Column("equity", right=True, phone=False),
            Column("long", right=True),
            Column("short", right=True),
            Column("net", right=True, phone=False),
            Column("leverage", right=True, brief="lev"),
            Column("margin", right=True, phone=False),
            Column("open risk", right=True, brief="risk"),
        ),
        [
            [
                Cell(named(short(row.bot), row.coin)),
                usdt(row.equity, signed=False),
                usdt(row.long, signed=False),
                usdt(row.short, signed=False),
                usdt(row.net, signed=False),
                _times(row.leverage),
                usdt(row.margin_used, signed=False),
                usdt(row.open_risk, signed=False) if row.open_risk is not None else Cell("no stop", Tone.BAD),
            ]
            for row in rows
        ],
        empty="No bot.",
    )
    for coin in coins_of(rows):
        if len(of_one := of_coin(rows, coin)) > 1:
            table.rows.append(_sums(of_one))
    blocks: list[Block] = [table]
    bare = [f"{short(row.bot)} {', '.join(row.bare)}" for row in rows if row.bare]
    if bare:
        blocks.append(Words(f"Without a stop: {'; '.join(bare)}. Their risk is not bounded.", Tone.BAD))
    blocks.append(
        Words(
            f"{units(coins_of(rows))}. Open risk: what is lost from now on if every stop is hit at its price.", Tone.DIM
        )
    )
    return Page("Exposure", blocks, rows)


def _times(value: Decimal | None) -> Cell:
    return NONE if value is None else Cell(f"{ratio(value).text}x")


def _sums(rows: Sequence[ExposureRow]) -> list[Cell]:
    def total(values: list[Decimal | None]) -> Decimal | None:
        known = [value for value in values if value is not None]
        return sum(known, ZERO) if len(known) == len(values) else None

    equity, gross = total([row.equity for row in rows]), sum((row.gross for row in rows), ZERO)
    risk = total([row.open_risk for row in rows])
    return [
        Cell(named("all", rows[0].coin)),
        usdt(equity, signed=False),
        usdt(sum((row.long for row in rows), ZERO), signed=False),
        usdt(sum((row.short for row in rows), ZERO), signed=False),
        usdt(sum((row.net for row in rows), ZERO), signed=False),
        _times(gross / equity if equity else None),
        usdt(total([row.margin_used for row in rows]), signed=False),
        Cell("no stop", Tone.BAD) if risk is None else usdt(risk, signed=False),
    ]


def risk_page(rows: list[RiskRow]) -> Page:
    """How far each position's stop and liquidation are, and what the stop costs."""
    table = Table(
        (
            Column("bot", phone=several(rows)),
            Column("symbol"),
            Column("side", phone=False),
            Column("stop", right=True, phone=False),
            Column("to stop", right=True),
            Column("to liquidation", right=True, brief="to liq"),
            Column("at risk", right=True),
            Column("result at stop", right=True, phone=False),
        ),
        [
            [
                bot_cell(row.bot),
                symbol_cell(row.symbol),
                Cell(row.direction),
                number(row.stop_loss) if row.stop_loss else Cell("NO STOP", Tone.BAD),
                percent(row.to_stop_pct, signed=False, digits=2),
                percent(row.to_liquidation_pct, signed=False),
                usdt(row.at_risk, signed=False) if row.at_risk is not None else Cell("unbounded", Tone.BAD),
                usdt(row.at_stop),
            ]
            for row in rows
        ],
        empty="No open positions: nothing is at risk.",
    )
    blocks: list[Block] = [table]
    known = [row.at_risk for row in rows if row.at_risk is not None]
    if rows and len(known) == len(rows):
        blocks.append(
            Words(f"{said(sums(rows, lambda row: row.at_risk), signed=False)} are lost if every stop is hit.", mark="")
        )
    if any(not row.true for row in rows):
        blocks.append(Words("The data of some bots may be old: the listener is not synced. See /health.", Tone.WARN))
    blocks.append(Words("Distances in per cent of the mark price; slippage and fees are not included.", Tone.DIM))
    return Page("Risk", blocks, rows)


def symbols_page(title: str, rows: list[SymbolsRow]) -> Page:
    """The symbols of each bot."""
    blocks: list[Block] = [
        Words(f"{short(row.bot)} ({len(row.symbols)}): {', '.join(row.symbols) or 'none'}", mark="") for row in rows
    ]
    return Page(title, blocks or [Words("No bot.")], rows)


def version_page(seen: Versions, zone: tzinfo, now: datetime) -> Page:
    """What runs, since when, and what is behind."""
    facts = Facts(
        [
            ("Alpha", Cell(seen.version)),
            ("Python", Cell(seen.python)),
            ("database schema", text("" if seen.schema is None else str(seen.schema))),
        ]
    )
    table = Table(
        (Column("process"), Column("state", phone=False), Column("since", phone=False), Column("up", right=True)),
        [_process(row, zone, now) for row in seen.processes],
        empty="Bot control sees no process from here.",
    )
    return Page("Version", [facts, table, *(Words(fault, Tone.WARN) for fault in seen.faults)], seen)


def _process(row: ProcessRow, zone: tzinfo, now: datetime) -> list[Cell]:
    since = NONE if row.started_at is None else Cell(full_moment(row.started_at, zone))
    up = NONE if row.started_at is None else span(now - row.started_at)
    return [Cell(row.name), Cell(row.state, Tone.GOOD if row.state == "running" else Tone.BAD), since, up]


def config_page(rows: list[SettingRow]) -> Page:
    """The settings of this process; of a secret only whether it is set.

    What a phone shows beside the longest name is 12 characters; a longer value gets a line that wraps.
    """
    short = [row for row in rows if len(row.value) <= _BESIDE_A_NAME]
    long = [Words(f"{row.name}: {row.value}") for row in rows if len(row.value) > _BESIDE_A_NAME]
    return Page("Settings", [Facts([(row.name, text(row.value)) for row in short]), *long], rows)

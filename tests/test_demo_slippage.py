"""What the demo's fills cost: stored while it trades, and equal to a recomputation from the files of quotes and the record."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection, connect
from alpha.postgres.errors import POSTGRES_ERRORS
from demo.postgres import EmbeddedPostgres
from tests.test_demo import ROOT, Demo

#: However slow the machine: bots that have begun, ten fills, and the half minute of market after them.
LIMIT_S = 1_500
END_S = 240
pytestmark = [pytest.mark.long, pytest.mark.timeout(LIMIT_S + 900)]
FILLS = 10
#: Market seconds per second. The simulated exchange sends changed quotes ten times a second, so these are a minute apart besides
#: those that a fill makes.
SPEED = 500
BPS = 10_000
#: What PostgreSQL's division leaves out, in basis points.
DIVISION = Fraction(1, 10**12)
HORIZONS = (1, 5, 30)
BPS_NAMES = ("spread_bps", "slippage_bps", "delay_bps", "after_1s_bps", "after_5s_bps", "after_30s_bps")
Figures = dict[str, Fraction | None]


class Quotes:
    """The quotes of one symbol and the times without any, by the columns that docs/ticks.md names."""

    def __init__(self, folder: Path, symbol: str) -> None:
        rows = _rows(folder / "bbo" / f"symbol={symbol}")
        self._quotes = sorted(
            ((row["ts"], row["ordinal"], row["bid_price"], row["ask_price"]) for row in rows), key=lambda row: row[:2]
        )
        newest: dict[str, dict[str, Any]] = {}
        for row in sorted(_rows(folder / "gaps" / f"symbol={symbol}"), key=lambda row: row["received"]):
            newest[row["gap_id"]] = row
        self._gaps = [row for row in newest.values() if row["kind"] == "bbo" and row["state"] != "filled"]

    def at(self, moment: datetime, *, before: bool) -> tuple[Fraction, Fraction] | None:
        """Mid and spread of the last quote at a moment, or before it; None where there is none or one may be missing."""
        found = None
        for ts, _, bid, ask in self._quotes:
            if ts > moment or (ts == moment and before):
                break
            found = (ts, bid, ask)
        if found is None:
            return None
        ts, bid, ask = found
        missing = any(gap["ts"] < moment and (gap["until"] is None or gap["until"] > ts) for gap in self._gaps)
        if missing or bid is None or ask is None:
            return None
        return (Fraction(bid) + Fraction(ask)) / 2, Fraction(ask) - Fraction(bid)


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of every file: a joined file replaces what is numbered lower in its hour."""
    by_hour: dict[tuple[str, str], list[tuple[int, Path]]] = defaultdict(list)
    for path in folder.glob("date=*/*.parquet"):
        hour, digits, *_ = path.name.split(".")
        by_hour[path.parent.name, hour].append((int(digits), path))
    for files in by_hour.values():
        joined = max((number for number, path in files if ".part." not in path.name), default=0)
        for number, path in files:
            if number >= joined:
                yield from pl.read_parquet(path, hive_partitioning=False).iter_rows(named=True)


def recomputed(fill: Any, intent: Any, quotes: Quotes) -> Figures:
    """The figures of one fill, by their definitions."""
    sign = 1 if fill["side"] == "Buy" else -1
    arrival = quotes.at(fill["exec_time"], before=True)
    figures: Figures = dict.fromkeys(("mid", "spread", *BPS_NAMES))
    if arrival is None:
        return figures
    mid, spread = arrival
    figures |= {"mid": mid, "spread": spread, "spread_bps": spread / mid * BPS}
    figures["slippage_bps"] = sign * (Fraction(fill["price"]) - mid) / mid * BPS
    if intent is not None and intent["decision_price"]:
        decided = Fraction(intent["decision_price"])
        figures["delay_bps"] = sign * (mid - decided) / decided * BPS
    for seconds in HORIZONS:
        later = quotes.at(fill["exec_time"] + timedelta(seconds=seconds), before=False)
        figures[f"after_{seconds}s_bps"] = None if later is None else sign * (later[0] - mid) / mid * BPS
    return figures


def table_row(fills: Sequence[Any], figures: Sequence[Figures]) -> list[Fraction | None]:
    """A row of `alpha slippage`: fills, those measured, their value, what they cost, and the means weighted by value."""
    values = [Fraction(fill["value"]) for fill in fills]
    measured = [(value, own) for value, own in zip(values, figures, strict=True) if own["slippage_bps"] is not None]
    cost = sum((value * (own["slippage_bps"] or 0) / BPS for value, own in measured), Fraction(0))
    row: list[Fraction | None] = [Fraction(len(fills)), Fraction(len(measured)), sum(values, Fraction(0)), cost]
    for name in BPS_NAMES:
        known = [
            (value, figure) for value, own in zip(values, figures, strict=True) if (figure := own[name]) is not None
        ]
        weight = sum((value for value, _ in known), Fraction(0))
        row.append(sum((value * figure for value, figure in known), Fraction(0)) / weight if weight else None)
    return row


def said(state: Path, *words: str) -> tuple[dict[str, list[Fraction | None]], str]:
    """The table of `alpha slippage` over everything, by its first column, and what stands below it."""
    ended = subprocess.run(
        [sys.executable, "-m", "alpha_cli", "slippage", "--days", "3650", *words],
        cwd=ROOT,
        env={**os.environ, "ALPHA_ENV_FILE": str(state / "alpha.env"), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    table = {}
    for line in ended.stdout.splitlines():
        cells = [cell.strip().replace(",", "") for cell in line.strip().strip("│").split("│")]
        if line.lstrip().startswith("│"):
            table[cells[0]] = [Fraction(cell) if cell else None for cell in cells[1:]]
    return table, ended.stdout


def assert_table(found: dict[str, list[Fraction | None]], expected: dict[str, list[Fraction | None]]) -> None:
    """Counts are equal, amounts are equal after rounding to the two decimals that are shown."""
    assert found.keys() == expected.keys()
    for name, row in expected.items():
        assert found[name][:2] == row[:2], name
        for shown, value in zip(found[name][2:], row[2:], strict=True):
            assert (shown is None) == (value is None), (name, found[name], row)
            if shown is not None and value is not None:
                assert abs(shown - value) <= Fraction(5, 1_000) + Fraction(1, 10**8), (name, found[name], row)


@pytest.fixture
async def traded(tmp_path: Path) -> AsyncIterator[tuple[Path, Path, Connection]]:
    """A demo that has traded and ended, with its database started again: its state, its folder, the owner's connection."""
    state = tmp_path / "state"
    demo = Demo(
        state,
        DEMO_TICKS="true",
        DEMO_ANALYSIS="false",
        DEMO_SPEED=str(SPEED),
        TICKS_PART_S="1",
        TICKS_JOURNAL_S="1",
    )
    # its output is read, so that it never waits for a reader
    ended: list[tuple[int, str]] = []
    reader = threading.Thread(target=lambda: ended.append(demo.finish(2 * LIMIT_S)), daemon=True)
    reader.start()
    try:
        await measured(state, demo)
    finally:
        if demo.running:
            demo.send(signal.SIGINT)
        await asyncio.to_thread(reader.join, END_S)
    assert ended, "the demo does not end"
    assert ended[0][0] == 0, ended[0][1]
    (folder,) = state.glob("generated-*")
    environment = (state / "alpha.env").read_text(encoding="utf-8")
    port = re.search(r"POSTGRES_PORT=\W*(\d+)", environment)
    assert port is not None
    password = json.loads((folder / "secrets.json").read_text(encoding="utf-8"))["postgres"]
    server = EmbeddedPostgres(folder / "postgres", password, int(port[1]))
    try:
        server.start()
        connection = await connect(server.settings(), "tests")
        yield state, folder, connection
        await connection.close()
    finally:
        server.stop()


async def measured(state: Path, demo: Demo) -> None:
    """Until enough fills have the price half a minute after them."""
    deadline = time.monotonic() + LIMIT_S
    number = 0
    while number < FILLS:
        assert demo.running, "the demo has ended"
        assert time.monotonic() < deadline, f"{number} fills were measured in {LIMIT_S} s"
        await asyncio.sleep(1)
        if not (state / "alpha.env").exists():
            continue
        try:
            connection = await connect(load(DatabaseSettings, env_file=state / "alpha.env"), "tests")
        except POSTGRES_ERRORS:
            continue
        try:
            number = await connection.fetchval(
                "SELECT count(*) FROM trading.fill_costs WHERE after_30s_bps IS NOT NULL"
            )
        finally:
            await connection.close()


async def test_what_its_fills_cost_equals_a_recomputation(traded: tuple[Path, Path, Connection]) -> None:
    state, folder, connection = traded
    fills = await connection.fetch("SELECT * FROM trading.fills WHERE exec_type = 'Trade' AND category = 'linear'")
    intents = {
        (row["account_id"], row["order_link_id"]): row
        for row in await connection.fetch("SELECT * FROM trading.order_intents")
    }
    stored = {
        (row["account_id"], row["symbol"], row["exec_id"]): row
        for row in await connection.fetch("SELECT * FROM trading.fill_costs")
    }
    kept = {
        (row["account_id"], row["symbol"], row["exec_id"])
        for row in await connection.fetch("SELECT account_id, symbol, exec_id FROM trading.fill_quotes")
    }
    assert len(stored) == len(fills)
    quotes = {symbol: Quotes(folder / "ticks", symbol) for symbol in {fill["symbol"] for fill in fills}}
    everything = [
        recomputed(fill, intents.get((fill["account_id"], fill["order_link_id"])), quotes[fill["symbol"]])
        for fill in fills
    ]
    nothing: Figures = dict.fromkeys(("mid", "spread", *BPS_NAMES))
    recorded = []
    for fill, figures in zip(fills, everything, strict=True):
        place = (fill["account_id"], fill["symbol"], fill["exec_id"])
        own = figures if place in kept else nothing
        recorded.append(own)
        for name, value in own.items():
            found: Decimal | None = stored[place][name]
            assert (found is None) == (value is None), (name, dict(stored[place]), figures)
            if found is not None and value is not None:
                # the price and the spread to the digit
                limit = DIVISION if name.endswith("_bps") else Fraction(0)
                assert abs(Fraction(found) - value) <= limit, (name, dict(stored[place]), figures)
    # a market that stands still would make any computation right
    for name in BPS_NAMES:
        assert any(own[name] for own in recorded), f"no fill has a {name} other than 0"
    assert sum(own["after_30s_bps"] is not None for own in recorded) >= FILLS

    for words, known in (((), recorded), (("--dir", str(folder / "ticks")), everything)):
        for by in ("symbol", "bot_id", "reason"):
            groups: dict[str, list[int]] = defaultdict(list)
            for number, fill in enumerate(fills):
                groups[str(fill[by])].append(number)
            table, text = said(state, "--by", by, *words)
            assert_table(
                table,
                {
                    name: table_row([fills[number] for number in own], [known[number] for number in own])
                    for name, own in groups.items()
                },
            )
            taken = [number for number, fill in enumerate(fills) if not fill["is_maker"]]
            mean = table_row([fills[number] for number in taken], [known[number] for number in taken])[5]
            assert ("Market orders cost" in text) is (mean is not None and mean > 2)
            if mean is not None and mean > 2:
                paid = re.search(r"Market orders cost ([\d.]+) bps", text)
                assert paid is not None
                assert abs(Fraction(paid[1]) - mean) <= Fraction(5, 1_000) + Fraction(1, 10**8)

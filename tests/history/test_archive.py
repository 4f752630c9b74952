"""`alpha db archive`: old fills move to Parquet, what follows from them stays, and nothing brings them back."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from msgspec import structs

from alpha.config.services import DatabaseSettings
from alpha.errors import Fatal, Misconfigured
from alpha.postgres import archive as module
from alpha.postgres import ledger
from alpha.postgres.archive import Archived, floors
from alpha.postgres.database import Connection, connect, fetch_one
from alpha.postgres.fills import Fill, insert_fills
from alpha.postgres.tax import export_tax
from tests.history.build import BOT, fill, new_account
from tests.history.test_verify import alpha
from tests.support.fill_generator import START as BEGIN
from tests.support.fill_generator import as_fill, raw_fills

SYMBOLS = ("BTCUSDT", "ETHUSDT")
#: The fills are stretched over so many days: the first 270 of them may leave.
DAYS = 1_000
FLOOR = datetime(BEGIN.year, BEGIN.month, BEGIN.day, tzinfo=UTC) + timedelta(days=200)


async def archive(settings: DatabaseSettings, before: datetime, folder: Path) -> list[Archived]:
    """`alpha db archive` on a day long after the newest fill."""
    return await module.archive(settings, before, folder, quiet, now=lambda: BEGIN + timedelta(days=20 * 365))


def quiet(rows: int) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
async def rows(owner: Connection, listener: Connection) -> list[Fill]:
    """Fills of two symbols over 1,000 days, stored by the listener."""
    account = await new_account(owner)
    made = [
        as_fill(raw, account, BOT, symbol)
        for number, symbol in enumerate(SYMBOLS)
        for raw in raw_fills(40 + number, 1_500, 5_000_000, symbol, days=30)
    ]
    made.sort(key=lambda row: row.exec_time)
    stretch = timedelta(days=DAYS) / (made[-1].exec_time - BEGIN)
    made = [structs.replace(row, exec_time=BEGIN + stretch * (row.exec_time - BEGIN)) for row in made]
    await insert_fills(listener, made)
    return made


async def everything(connection: Connection) -> dict[str, list[Any]]:
    """What users see of the whole time."""
    return {
        name: await connection.fetch(f"SELECT * FROM trading.{name} ORDER BY {order}")
        for name, order in (
            ("position_summaries", "account_id, symbol, closed_at, closed_seq"),
            ("open_positions", "symbol"),
            ("bot_daily_performance", "day"),
            ("exit_reason_analysis", "exit_reason"),
        )
    }


async def test_what_is_shown_stays_and_what_was_archived_cannot_come_back(
    history_settings: DatabaseSettings, owner: Connection, listener: Connection, rows: list[Fill], tmp_path: Path
) -> None:
    shown = await everything(owner)
    old = [row for row in rows if row.exec_time < FLOOR]
    assert 300 < len(old) < len(rows) - 300
    done = await archive(history_settings, FLOOR, tmp_path)
    assert [(one.fills, one.floor) for one in done] == [(len(old), FLOOR)]
    assert await owner.fetchval("SELECT count(*) FROM trading.fills") == len(rows) - len(old)
    assert await owner.fetchval("SELECT min(exec_time) FROM trading.fills") >= FLOOR
    assert await everything(owner) == shown

    # a back-fill of everything: what is older stays out, also beside what is new
    late = structs.replace(rows[-1], exec_id="new", exec_time=rows[-1].exec_time + timedelta(hours=1))
    again = await insert_fills(listener, [*rows, late])
    assert again.inserted == 1
    assert await owner.fetchval("SELECT min(exec_time) FROM trading.fills") >= FLOOR

    found = await ledger.verify(history_settings, quiet)
    assert found.differences == []
    assert found.fills == len(rows) - len(old) + 1
    before = await everything(owner)
    assert await ledger.rebuild(history_settings, quiet) == 2
    assert await everything(owner) == before, "a rebuild begins at the floor"

    # a fill that comes late, but after the floor, is taken in as ever
    between = structs.replace(old[-1], exec_id="late", exec_time=FLOOR + timedelta(minutes=1), seq=rows[0].seq)
    assert (await insert_fills(listener, [between])).inserted == 1
    assert (await ledger.verify(history_settings, quiet)).differences == []

    assert await archive(history_settings, FLOOR, tmp_path) == [], "a second run finds nothing"
    sentences = await floors(owner, BOT, FLOOR - timedelta(days=1))
    assert len(sentences) == 1
    assert str(tmp_path) in sentences[0]
    assert await floors(owner, BOT, FLOOR) == []


async def test_the_files_hold_every_column_to_the_digit(
    history_settings: DatabaseSettings, owner: Connection, rows: list[Fill], tmp_path: Path
) -> None:
    stored = await owner.fetch(
        "SELECT * FROM trading.fills WHERE exec_time < $1 ORDER BY exec_time, seq, symbol, exec_id", FLOOR
    )
    await archive(history_settings, FLOOR, tmp_path)
    account = rows[0].account_id
    frame = pl.read_parquet(tmp_path / "fills" / f"account={account}" / "*.parquet")
    found = sorted(
        frame.to_dicts(),
        key=lambda row: (row["exec_time"], row["seq"], row["symbol"].encode(), row["exec_id"].encode()),
    )
    assert frame.schema["price"] == pl.Decimal(38, 18)
    assert [[row[name] for name in stored[0].keys()] for row in found] == [list(row.values()) for row in stored]  # noqa: SIM118


async def test_the_quotes_around_fills_go_with_them(
    history_settings: DatabaseSettings,
    owner: Connection,
    rows: list[Fill],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of every third fill they were measured; of those of a whole month there were none, and one amount is never there."""
    monkeypatch.setattr(module, "STEP", 50)
    old = [row for row in rows if row.exec_time < FLOOR]
    unquoted = old[len(old) // 2].exec_time.strftime("%Y-%m")
    for number, row in enumerate(rows[::3]):
        known = f"{row.exec_time:%Y-%m}" != unquoted
        await owner.execute(
            "INSERT INTO trading.fill_quotes (account_id, symbol, exec_id, mid, spread, mid_1s, mid_30s, measured_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            *(row.account_id, row.symbol, row.exec_id),
            *(Decimal(f"{30_000 + number}.05") if known else None, Decimal("0.1") if known else None),
            *(Decimal("30000.123456789012") if known else None, None if number % 2 else Decimal(1)),
            FLOOR + timedelta(seconds=number),
        )
    stored = await owner.fetch(
        "SELECT f.exec_time, q.* FROM trading.fill_quotes q JOIN trading.fills f USING (account_id, symbol, exec_id) "
        "WHERE f.exec_time < $1 ORDER BY f.exec_time, q.symbol, q.exec_id",
        FLOOR,
    )
    assert len(stored) > 150
    newer = await owner.fetchval("SELECT count(*) FROM trading.fill_quotes") - len(stored)
    costs = await owner.fetch(
        "SELECT * FROM trading.fill_costs WHERE exec_time >= $1 ORDER BY exec_time, exec_id", FLOOR
    )
    await archive(history_settings, FLOOR, tmp_path)
    left = await owner.fetch(
        "SELECT f.exec_id FROM trading.fill_quotes q LEFT JOIN trading.fills f USING (account_id, symbol, exec_id)"
    )
    assert len(left) == newer
    assert all(row["exec_id"] for row in left), "quotes of fills that are gone"
    assert costs == await owner.fetch("SELECT * FROM trading.fill_costs ORDER BY exec_time, exec_id")
    frame = pl.read_parquet(tmp_path / "fill_quotes" / f"account={rows[0].account_id}" / "*.parquet")
    assert frame.schema["mid_5s"] == pl.Decimal(38, 18)
    found = sorted(
        frame.to_dicts(), key=lambda row: (row["exec_time"], row["symbol"].encode(), row["exec_id"].encode())
    )
    assert [[row[name] for name in stored[0].keys()] for row in found] == [list(row.values()) for row in stored]  # noqa: SIM118


@pytest.mark.parametrize("stage", ["_write_all", "_remove"])
async def test_a_run_that_was_killed_is_continued(
    history_settings: DatabaseSettings,
    owner: Connection,
    rows: list[Fill],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    shown = await everything(owner)
    monkeypatch.setattr(module, "STEP", 50)
    work = getattr(module, stage)
    calls = 0

    def end(number: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt

    async def killed(connection: Connection, *arguments: Any) -> Any:
        return await work(connection, *arguments[:-1], end)

    monkeypatch.setattr(module, stage, killed)
    with pytest.raises(KeyboardInterrupt):
        await archive(history_settings, FLOOR, tmp_path)
    monkeypatch.setattr(module, stage, work)
    left = await owner.fetchval("SELECT count(*) FROM trading.fills")
    assert (left == len(rows)) is (stage == "_write_all"), "nothing goes before the files are whole"
    old = sum(row.exec_time < FLOOR for row in rows)
    assert [one.fills for one in await archive(history_settings, FLOOR, tmp_path)] == [old]
    assert await owner.fetchval("SELECT count(*) FROM trading.fills") == len(rows) - old
    assert pl.read_parquet(tmp_path / "fills" / "**" / "*.parquet").height == old
    assert await everything(owner) == shown
    assert (await ledger.verify(history_settings, quiet)).differences == []


async def test_nothing_goes_when_a_file_does_not_read_back(
    history_settings: DatabaseSettings,
    owner: Connection,
    rows: list[Fill],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = pl.read_parquet
    monkeypatch.setattr(pl, "read_parquet", lambda *args, **more: read(*args, **more).head(1))
    with pytest.raises(Fatal, match="does not read back"):
        await archive(history_settings, FLOOR, tmp_path)
    assert await owner.fetchval("SELECT count(*) FROM trading.fills") == len(rows)


async def test_what_the_exchange_still_keeps_and_what_waits_is_refused(
    history_settings: DatabaseSettings, owner: Connection, rows: list[Fill], tmp_path: Path
) -> None:
    with pytest.raises(Misconfigured, match="within two years"):
        await archive(history_settings, FLOOR + timedelta(days=300), tmp_path)
    with pytest.raises(Misconfigured, match="not a UTC midnight"):
        await archive(history_settings, FLOOR + timedelta(hours=1), tmp_path)
    await owner.execute("SELECT trading.mark_for_recompute($1, 'linear', 'BTCUSDT', 'both')", rows[0].account_id)
    with pytest.raises(Misconfigured, match="waits for its recomputation"):
        await archive(history_settings, FLOOR, tmp_path)
    assert await owner.fetchval("SELECT count(*) FROM trading.fill_archives") == 0
    assert await owner.fetchval("SELECT count(*) FROM trading.fills") == len(rows)


async def test_a_position_over_the_floor_and_a_second_archiving(
    history_settings: DatabaseSettings, owner: Connection, listener: Connection, tmp_path: Path
) -> None:
    account = await new_account(owner)
    day = 24 * 60
    made = [
        fill(0, "Buy", "2", "100", account_id=account, seq=1),
        fill(900 * day, "Sell", "1", "110", account_id=account, seq=2, reason="take_profit"),
        fill(1_700 * day, "Sell", "1", "120", account_id=account, seq=3, reason="take_profit"),
    ]
    await insert_fills(listener, made)
    first = made[0].exec_time.replace(hour=0, minute=0) + timedelta(days=2)
    second = first + timedelta(days=950)
    for floor in (first, second):
        assert len(await archive(history_settings, floor, tmp_path)) == 1
        assert (await ledger.verify(history_settings, quiet)).differences == []
    assert await ledger.rebuild(history_settings, quiet) == 1
    trip = await fetch_one(owner, "SELECT * FROM trading.position_summaries")
    assert (trip["net"], trip["fills"], trip["opened_at"]) == (Decimal(30), 3, made[0].exec_time)


async def test_a_tax_export_reads_the_archive_and_says_when_it_is_gone(
    history_settings: DatabaseSettings, owner: Connection, rows: list[Fill], tmp_path: Path
) -> None:
    year = FLOOR.year - 1 if FLOOR.month == 1 else FLOOR.year
    whole = await export_tax(owner, BOT, year, ZoneInfo("UTC"), tmp_path / "before", "generic")
    folder = tmp_path / "archive"
    await archive(history_settings, FLOOR, folder)
    again = await export_tax(owner, BOT, year, ZoneInfo("UTC"), tmp_path / "after", "generic")
    for before, after in zip(whole, again, strict=True):
        assert after.read_text() == before.read_text()
    (folder / "fills").rename(folder / "elsewhere")
    with pytest.raises(Misconfigured, match="cannot be read"):
        await export_tax(owner, BOT, year, ZoneInfo("UTC"), tmp_path / "third", "generic")


def test_the_command_verifies_asks_and_says_what_it_moved(history_settings: DatabaseSettings, tmp_path: Path) -> None:
    begin = datetime(2019, 3, 1, tzinfo=UTC)

    async def prepare() -> int:
        connection = await connect(history_settings, "tests")
        account = await new_account(connection)
        made = [
            structs.replace(row, exec_time=begin + timedelta(days=number))
            for number, row in enumerate(
                as_fill(raw, account, BOT, "BTCUSDT") for raw in raw_fills(5, 1_200, 5_000_000, "c")
            )
        ]
        await insert_fills(connection, made)
        await connection.close()
        return len(made)

    number = asyncio.run(prepare())
    arguments = ("db", "archive", "--before", "2020-01-01", "--output", str(tmp_path / "out"))
    refused = alpha(history_settings, *arguments)  # nobody answers
    assert refused.returncode == 1
    assert not (tmp_path / "out").exists()
    late = alpha(history_settings, *arguments[:3], f"{datetime.now(UTC):%Y-%m-%d}", *arguments[4:], "--yes")
    assert late.returncode == 2
    assert "within two years" in late.stderr
    done = alpha(history_settings, *arguments, "--yes")
    assert done.returncode == 0, done.stderr
    assert "306 fills of account" in done.stdout
    assert f"{number - 306:,} fills remain and were compared: 0 differences." in done.stdout
    assert "No account has fills" in alpha(history_settings, *arguments, "--yes").stdout

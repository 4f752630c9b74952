"""Yearly export of a bot as CSV files."""

import csv
import stat
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection
from alpha.postgres.fills import insert_fills
from tests.history.build import BOT, fill, new_account
from tests.history.test_verify import alpha


def at(text: str) -> datetime:
    """A UTC time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
async def turn_of_the_year(owner: Connection) -> Connection:
    """A round trip that ends in 2025 in Berlin but in 2024 in UTC, one after it, funding, and a transfer."""
    account = await new_account(owner)
    buy, sell = (
        fill(0, "Buy", "0.00000001", "100.10"),
        fill(1, "Sell", "0.00000001", "120.5", fee="0.000000055", reason="signal"),
    )
    rows = [
        structs.replace(buy, exec_time=at("2024-12-31T22:30")),
        structs.replace(sell, exec_time=at("2024-12-31T23:30:00.123")),
        structs.replace(fill(2, "Buy", "1", "100"), exec_time=at("2025-03-01T00:00")),
        structs.replace(
            fill(3, "Buy", "1", "100", exec_type="Funding", fee="0.25", reason="funding"),
            exec_time=at("2025-03-01T08:00"),
        ),
        structs.replace(fill(4, "Sell", "1", "90"), exec_time=at("2025-12-31T23:30")),
    ]
    await insert_fills(owner, [structs.replace(row, account_id=account) for row in rows])
    await owner.execute(
        "INSERT INTO trading.transfers VALUES ($1, 'in', '', 'TRANSFER_IN', 'USDT', 500, 500, '2025-01-05')", account
    )
    return owner


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


async def test_the_year_is_that_of_the_zone(
    turn_of_the_year: Connection, history_settings: DatabaseSettings, tmp_path: Path
) -> None:
    arguments = ("export", "--bot", BOT, "--year", "2025", "--output", str(tmp_path))
    assert alpha(history_settings, *arguments, "--tz", "Europe/Berlin").returncode == 0
    fills = read(tmp_path / "fills.csv")
    assert [row["time"] for row in fills] == ["2025-01-01T00:30:00.123+01:00", "2025-03-01T01:00:00.000+01:00"]
    assert (fills[0]["qty"], fills[0]["fee"]) == ("0.00000001", "0.000000055")
    (trip,) = read(tmp_path / "round_trips.csv")
    assert Decimal(trip["gross"]) == Decimal("0.00000001") * Decimal("20.4")
    assert [row["received"] for row in read(tmp_path / "funding.csv")] == ["-0.25"]
    assert [row["amount"] for row in read(tmp_path / "transfers.csv")] == ["500"]
    assert stat.S_IMODE((tmp_path / "fills.csv").stat().st_mode) == 0o600
    assert alpha(history_settings, *arguments).returncode == 0
    assert [row["time"] for row in read(tmp_path / "fills.csv")] == [
        "2025-03-01T00:00:00.000+00:00",
        "2025-12-31T23:30:00.000+00:00",
    ]


async def test_a_wrong_bot_or_zone_is_one_sentence(history_settings: DatabaseSettings, tmp_path: Path) -> None:
    wrong_bot = alpha(history_settings, "export", "--bot", "nobody", "--year", "2025", "--output", str(tmp_path / "x"))
    assert (wrong_bot.returncode, wrong_bot.stderr.count("\n")) == (1, 1)
    assert "The bots are: lxalgo_001, momentum_001, shortseller_001." in wrong_bot.stderr
    early = alpha(history_settings, "export", "--bot", BOT, "--year", "2100", "--output", str(tmp_path / "x"))
    assert (early.returncode, "--year 2100 has not begun." in early.stderr) == (2, True)
    assert not (tmp_path / "x").exists()
    idle = alpha(history_settings, "export", "--bot", BOT, "--year", "2019", "--output", str(tmp_path / "idle"))
    assert (idle.returncode, "has nothing on record in 2019" in idle.stdout) == (0, True)
    wrong_zone = alpha(history_settings, "export", "--bot", BOT, "--year", "2025", "--tz", "Mars/Base")
    assert (wrong_zone.returncode, wrong_zone.stderr) == (
        1,
        "There is no time zone 'Mars/Base'. Name one as Europe/Berlin or America/New_York.\n",
    )

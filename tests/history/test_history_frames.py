"""`alpha.history` and the notebook page: what happened live, as frames."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from alpha import history
from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured
from alpha.postgres.database import Connection
from alpha.postgres.fills import insert_fills
from backtester.candle_files import write_file
from tests.history.build import BOT, START, fill, new_account
from tests.support.toy_strategies import random_bars

PAGE = Path(__file__).resolve().parents[2] / "docs" / "notebook.md"
END = START + timedelta(days=2)


@pytest.fixture
async def traded(owner: Connection, history_settings: DatabaseSettings) -> DatabaseSettings:
    await new_account(owner)
    await insert_fills(
        owner,
        [
            fill(0, "Buy", "2", "100", fee="0.11"),
            fill(60, "Buy", "2", "100.5", fee="0.02", exec_type="Funding", reason="funding"),
            fill(90, "Sell", "2", "110", fee="0.121", reason="take_profit"),
        ],
    )
    await owner.execute(
        "INSERT INTO trading.equity_snapshots (account_id, taken_at, equity, wallet_balance, unrealised_pnl) "
        "VALUES (1, $1, 1019.5, 1019.5, 0)",
        START + timedelta(hours=2),
    )
    return history_settings


async def test_the_record_comes_as_frames_with_every_digit(traded: DatabaseSettings) -> None:
    fills = history.fills(BOT, START, END, settings=traded)
    assert fills["exec_type"].to_list() == ["Trade", "Funding", "Trade"]
    assert fills["fee"].sum() == Decimal("0.251")
    trips = history.round_trips(BOT, START, END, settings=traded)
    assert trips.select("symbol", "direction", "net", "reason").rows() == [
        ("BTCUSDT", "long", Decimal("19.749"), "take_profit")
    ]
    assert trips["held"].to_list() == [timedelta(minutes=90)]
    assert history.equity(BOT, START, END, settings=traded)["equity"].to_list() == [Decimal("1019.5")]


async def test_nothing_is_a_frame_without_rows_and_of_the_same_columns(traded: DatabaseSettings) -> None:
    empty = history.round_trips(BOT, END, END + timedelta(days=1), settings=traded)
    assert empty.height == 0
    assert empty.schema["net"] == pl.Decimal(38, 12)
    with pytest.raises(Misconfigured, match="no time zone"):
        history.fills(BOT, datetime(2025, 1, 1), END, settings=traded)  # noqa: DTZ001


async def test_the_notebook_page_runs_as_it_stands(
    traded: DatabaseSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "5m").mkdir(parents=True)
    for number, symbol in enumerate(("BTCUSDT", "ETHUSDT", "SOLUSDT")):
        bars = random_bars(number, 5_000, symbol, volatility=0.002, interval_ms=300_000)
        write_file(tmp_path / "data" / "5m" / f"{symbol}.parquet", bars)
    monkeypatch.chdir(tmp_path)
    cells = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(cells) >= 5
    room: dict[str, object] = {"settings": traded}
    for cell in cells:
        exec(compile(cell, str(PAGE), "exec"), room)
    said = capsys.readouterr().out
    assert "19.749" in said

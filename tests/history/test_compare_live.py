"""`alpha compare live` on a real record: fills in PostgreSQL beside the back-test of the same days."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs

from alpha.config.services import DatabaseSettings
from alpha.model.timestamp import at, ms_of
from alpha.postgres.database import Connection
from alpha.postgres.fills import Fill, insert_fills
from backtester.candle_files import write_file
from backtester.command import Request, carry_out
from research.compare import MISSED, SAME
from research.compare_live import LiveRequest, compare_live
from tests.history.build import START, fill, new_account
from tests.support.toy_strategies import random_bars

ROOT = Path(__file__).resolve().parents[2]
DAYS = 5


def executed(symbol: str, side: str, size: Decimal, price: Decimal, time: datetime, fee: Decimal, reason: str) -> Fill:
    made = fill(
        (time - START).total_seconds() / 60, side, str(size), str(price), fee=str(fee), reason=reason, symbol=symbol
    )
    return structs.replace(made, exec_time=time, exec_id=f"{symbol}{time.timestamp()}{side}")


async def test_what_a_bot_did_is_what_its_back_test_says(
    owner: Connection, history_settings: DatabaseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = START.replace(hour=0) + timedelta(days=DAYS)
    begin = ms_of(end) - 20 * 86_400_000
    for number, symbol in enumerate(("BTCUSDT", "ETHUSDT", "SOLUSDT")):
        bars = random_bars(number, 20 * 288, symbol, volatility=0.003, start_ms=begin, interval_ms=300_000)
        write_file(tmp_path / f"{symbol}.parquet", bars)
    since = end - timedelta(days=DAYS)
    tested = carry_out(
        Request(
            "shortseller", tmp_path, since.isoformat(), end.isoformat(), (), None, "10000", "0.00055", "2", "0.0001", None,
            ROOT / "bots.toml",
        )
    ).result.trades  # fmt: skip
    assert len(tested) > 5
    await new_account(owner)
    done: list[Fill] = []
    for trade in tested[:-1]:  # the last one the bot has missed
        done.append(
            executed(trade.symbol, "Sell", trade.size, trade.entry_price, at(trade.entry_ms + 700), Decimal(1), "entry")
        )
        worse = trade.exit_price * Decimal("1.001")
        done.append(
            executed(trade.symbol, "Buy", trade.size, worse, at(trade.exit_ms + 900), Decimal(1), trade.reason.value)
        )
    await insert_fills(owner, sorted(done, key=lambda one: one.exec_time))
    monkeypatch.chdir(tmp_path)
    request = LiveRequest("shortseller_001", tmp_path, DAYS, end, "10000", "2", ROOT / "bots.toml")
    found = compare_live(request, history_settings)
    assert found.count(SAME) == len(tested) - 1
    assert found.count(MISSED) == 1
    assert found.mean_entry_cost_bps == pytest.approx(0, abs=1e-6)
    assert found.mean_exit_cost_bps == pytest.approx(10, abs=0.1)
    missed = next(pair for pair in found.pairs if pair.kind == MISSED)
    assert "sent nothing at this bar" in missed.words

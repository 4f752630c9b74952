"""Momentum's trades in a back-test are its trades live, over the same candles: sizes, prices, times, reasons, balance."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exchange_simulator.market.catalogue import DEFAULT_SYMBOLS
from tests.parity.instruments import with_instruments
from tests.parity.replay import Play, generate, play_back, play_live

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "spot-4h"
DAY_BARS = 6


def _play(folder: Path, start: datetime, bars: int, warmup: int, **parameters: str) -> Play:
    symbols = sorted(path.name.split(".")[0] for path in folder.iterdir() if ".csv" in path.name)
    return Play(
        bot_id="momentum_001",
        strategy="momentum",
        prefix="MOMENTUM",
        folder=folder,
        start=start,
        bars=bars,
        bar_ms=14_400_000,
        path="low-first",
        parameters={"symbols": json.dumps(symbols), **parameters},
        warmup=warmup,
    )


@pytest.mark.slow
async def test_weeks_of_generated_candles_give_the_same_trades_live_and_in_the_back_test(tmp_path: Path) -> None:
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    generate(tmp_path / "made", DEFAULT_SYMBOLS[:10], "240", begin, begin + timedelta(days=40), seed=5)
    play = _play(
        with_instruments(tmp_path / "made", tmp_path / "candles"),
        begin + timedelta(days=20),
        20 * DAY_BARS,
        20 * DAY_BARS,
        width_lookback="20",
        max_width_percentile="0.8",
        min_relative_volume="1.0",
        stop="0.05",
        max_positions="2",
    )
    back, result = play_back(play)
    live = await play_live(play, tmp_path)
    assert len(back.trades) >= 10
    assert {trade.reason for trade in back.trades} >= {"signal", "trailing_stop", "stop_loss"}
    assert "2 positions are open" in result.skipped
    assert live == back


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded 4-hour candles are not on this machine")
async def test_a_year_of_recorded_candles_gives_the_same_trades_live_and_in_the_back_test(tmp_path: Path) -> None:
    folder = with_instruments(RECORDED, tmp_path / "candles")
    play = _play(folder, datetime(2021, 8, 10, tzinfo=UTC), 366 * DAY_BARS, 400, drawdown="0.9", month_loss="0.9")
    back, _ = play_back(play)
    live = await play_live(play, tmp_path)
    assert len(back.trades) >= 100
    assert live == back

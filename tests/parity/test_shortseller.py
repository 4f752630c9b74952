"""ShortSeller's trades in a back-test are its trades live, over the same candles: sizes, prices, times, reasons, balance."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alpha.strategy.core import DecisionCore
from backtester import engine
from tests.parity.replay import Play, generate, play_back, play_live

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "bybit-linear-5m"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def _play(folder: Path, start: datetime, bars: int, warmup: int, **parameters: str) -> Play:
    return Play(
        bot_id="shortseller_001",
        strategy="shortseller",
        prefix="SHORTSELLER",
        folder=folder,
        start=start,
        bars=bars,
        bar_ms=300_000,
        path="high-first",
        parameters=parameters,
        warmup=warmup,
    )


def _for_all(fraction: str) -> str:
    return json.dumps(dict.fromkeys(SYMBOLS, fraction))


def _half_a_day(folder: Path) -> Play:
    """Generated candles and parameters that bring every kind of exit, and entries as soon as a cooldown is over."""
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    candles = folder / "candles"
    generate(candles, SYMBOLS, "5", begin, begin + timedelta(days=4), seed=6)
    return _play(
        candles,
        begin + timedelta(days=2),
        144,
        576,
        ema_fast="12",
        ema_slow="30",
        cooldown_hours="0.5",
        regime_exit_after_hours="0.25",
        stop_loss=_for_all("0.003"),
        take_profit=_for_all("0.005"),
        trailing_distance=_for_all("0.002"),
        trailing_from=_for_all("0.002"),
        time_limit_hours="4",
    )


@pytest.mark.timeout(400)
@pytest.mark.slow
async def test_half_a_day_of_generated_candles_gives_the_same_trades_live_and_in_the_back_test(tmp_path: Path) -> None:
    play = _half_a_day(tmp_path)
    back, _ = play_back(play)
    live = await play_live(play, tmp_path)
    assert len(back.trades) >= 20
    assert {trade.reason for trade in back.trades} == {"stop_loss", "take_profit", "trailing_stop", "regime_change"}
    assert live == back


@pytest.mark.parametrize("by", ["the bot", "the exchange"])
def test_a_cooldown_that_is_one_bar_off_on_either_side_would_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    # The compiled walk, taken where another test has loaded it, does not ask the core.
    monkeypatch.setattr(engine, "_compiled", lambda strategy, data, terms: None)
    play = _half_a_day(tmp_path)
    back, _ = play_back(play)
    right = DecisionCore.closed

    def off(core: DecisionCore, symbol: str, time_ms: int, decided_ms: int | None = None) -> None:
        if decided_ms is not None and by == "the bot":
            decided_ms += core.interval_ms
        elif decided_ms is None and by == "the exchange":
            time_ms += core.interval_ms
        right(core, symbol, time_ms, decided_ms)

    monkeypatch.setattr(DecisionCore, "closed", off)
    assert play_back(play)[0] != back


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded 5-minute candles are not on this machine")
async def test_thirty_days_of_recorded_candles_give_the_same_trades_live_and_in_the_back_test(tmp_path: Path) -> None:
    play = _play(RECORDED, datetime(2025, 4, 16, tzinfo=UTC), 30 * 288, 5_000)
    back, _ = play_back(play)
    live = await play_live(play, tmp_path)
    assert len(back.trades) >= 50
    assert live == back

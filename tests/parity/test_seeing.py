"""A strategy that looks at equity, funding, open interest, another symbol and files: live and in a back-test the same trades."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from alpha.model.timestamp import at
from tests.parity.instruments import with_instruments
from tests.parity.replay import Play, _paired, generate, play_back
from tests.support.bot_harness import BotHarness, Servers, sim, trades
from tests.support.world import BOTS

BAR_MS = 300_000
BARS = 110
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
STRATEGY = "tests.support.seeing_strategy:Seeing"


def folder_of(path: Path) -> tuple[Path, int]:
    """Candles of three days with funding, open interest and two files of the user's; and when trading begins."""
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    generate(path / "made", SYMBOLS, "5", begin, begin + timedelta(days=3), seed=5)
    draw = np.random.default_rng(8)
    first, last = (int(one.timestamp() * 1000) for one in (begin, begin + timedelta(days=3)))
    candles = with_instruments(path / "made", path / "candles")
    own = candles / "columns"
    (own / "flow").mkdir(parents=True)
    for symbol in SYMBOLS:
        _write(candles / f"{symbol}.funding.csv", "rate", range(first, last, 8 * 3_600_000), draw, 1e-4)
        _write(candles / f"{symbol}.open_interest.csv", "value", range(first, last, BAR_MS), draw, 1e4)
        _write(own / "flow" / f"{symbol}.csv", "value", range(first + 61_000, last, 420_000), draw, 3.0)
    # The gap of three hours is older than the file's largest age: no value, and no entry, in a part of it.
    times = [time for time in range(first, last, 1_800_000) if not 18 <= (time - first) / 3_600_000 - 24 < 21]
    _write(own / "mood.csv", "value", times, draw, 1.0)
    # The exchange lists funding from a symbol's launch on only.
    return candles, first + 86_400_000 + 14 * 3_600_000


def _write(path: Path, name: str, times: Iterable[int], draw: np.random.Generator, scale: float) -> None:
    rows = [f"{time},{draw.normal() * scale:.8f}" for time in times]
    path.write_text("\n".join([f"time_ms,{name}", *(row.replace(",-", ",") for row in rows)]) + "\n")


@pytest.mark.timeout(300)
async def test_all_that_is_seen_beside_the_candles_is_the_same_live_and_in_the_back_test(tmp_path: Path) -> None:
    candles, start_ms = folder_of(tmp_path)
    play = Play(
        bot_id="shortseller_001",
        strategy=STRATEGY,
        prefix="SHORTSELLER",
        folder=candles,
        start=at(start_ms),
        bars=BARS,
        bar_ms=BAR_MS,
        path="low-first",
        parameters={},
    )
    expected, _ = play_back(play)
    assert len(expected.trades) >= 12
    quiet = [trade.entry_ms for trade in expected.trades if 20.2 <= (trade.entry_ms - start_ms) / 3_600_000 + 14 < 21]
    assert not quiet, "a column that is too old brings no entry"
    servers = Servers()
    servers.start()
    stage = BotHarness(
        tmp_path,
        servers=servers,
        options=(
            *("--replay", str(candles), "--step", "--path", "low-first", "--warmup", "400"),
            *("--start", at(start_ms).strftime("%Y-%m-%dT%H:%M")),
        ),
    )
    try:
        await stage.open()
        bot = stage.toy("bot", strategy=STRATEGY, ALPHA_COLUMNS_DIR=str(candles / "columns"))
        await stage.play(bot)
        state = await sim(stage, "POST", "/_sim/advance", to_ms=start_ms + BARS * BAR_MS - 1, timeout_s=200)
        assert not state["waiting_for"], bot.said()[-3000:]
        rows, account = await stage.simulator.ledger(BOTS[0].key), await stage.simulator.account(BOTS[0].key)
        live = _paired(rows, trades(bot), account)
    finally:
        stage.close()
        servers.stop()
    assert live == expected

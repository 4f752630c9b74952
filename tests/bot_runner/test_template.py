"""A strategy fresh from the template, as a bot of its own."""

import shutil
from pathlib import Path

import pytest

from alpha_cli.scaffold import scaffold
from tests.bot_runner.conftest import STEP
from tests.support.bot_harness import BotHarness, Servers, trades
from tests.support.world import BOTS, ROOT

#: A crowded machine is no fault of the bot's.
pytestmark = pytest.mark.timeout(400)


async def test_a_strategy_from_the_template_trades_on_the_simulated_exchange(tmp_path: Path, servers: Servers) -> None:
    house = tmp_path / "house"
    (house / "strategies").mkdir(parents=True)
    shutil.copy(ROOT / "bots.toml", house)
    scaffold("breakout", house)
    stage = BotHarness(tmp_path, options=STEP, servers=servers, bots_file=house / "bots.toml")
    await stage.open()
    try:
        bot = stage.process(
            "breakout",
            [str(house / "strategies/breakout/scripts/start_trading.py")],
            {
                **stage.environment("alpha_strategy"),
                "BREAKOUT_BYBIT_API_KEY": BOTS[0].key,
                "BREAKOUT_BYBIT_API_SECRET": BOTS[0].secret,
                "BREAKOUT_SYMBOLS": '["BTCUSDT"]',
                "BREAKOUT_PERIOD": "3",
                "ALPHA_STEP_URL": stage.simulator.url,
            },
        )
        await stage.play(bot, "breakout_001")
        await stage.bars(12)
        assert [row["event"] for row in trades(bot)][:2] == ["entered", "exited"]
    finally:
        stage.close()

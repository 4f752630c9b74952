"""Random strategies that want everything: live in step clock and in the back-test the same fills, fees and balance.

`python -m tests.parity --seeds 500` compares many, in one process with the exchange; three are played here by real processes.
`PARITY_SEEDS=10 pytest tests/parity/test_random_strategies.py` plays more of these, PARITY_BARS=288 over a whole day.
"""

import json
import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.parity.random_runs import SYMBOLS, Outcome, back, bots_file, by_symbol, market
from tests.support.bot_harness import ENTRIES, BotHarness, Servers, sim
from tests.support.world import BOTS, ROOT, until

SEEDS = int(os.environ.get("PARITY_SEEDS", "3"))
BARS = int(os.environ.get("PARITY_BARS", "60"))
BOT = "shortseller_001"


async def live(
    folder: Path, market: tuple[str, ...], start: datetime, seed: int, bots: Path, servers: Servers, *, bars: int = BARS
) -> Outcome:
    """As real processes, on a market that the simulated exchange is given by these options."""
    stage = BotHarness(
        folder,
        options=(
            *(*market, "--step", "--path", "low-first", "--warmup", "500"),
            *("--start", start.strftime("%Y-%m-%dT%H:%M")),
        ),
        servers=servers,
    )
    key = BOTS[0]
    try:
        await stage.open()
        variables = {
            **stage.environment("alpha_strategy"),
            **key.environment(),
            "ALPHA_BOTS_FILE": str(bots),
            "ALPHA_STEP_URL": stage.simulator.url,
            "ALPHA_MAX_ORDERS_PER_MINUTE": "100000",
            "SHORTSELLER_SEED": str(seed),
            "SHORTSELLER_SYMBOLS": json.dumps(SYMBOLS),
        }
        bot = stage.process("bot", [str(ROOT / ENTRIES[BOT])], variables)
        bot.start()

        async def joined() -> bool:
            if not bot.running:
                raise AssertionError(f"the bot ended: {bot.said()[-3000:]}")
            return BOT in (await sim(stage, "POST", "/_sim/clients", client="", remove=True))["clients"]

        await until(joined, 150, "the bot to join the step clock")
        to_ms = int(start.timestamp() * 1000) + bars * 300_000 - 1
        state = await sim(stage, "POST", "/_sim/advance", to_ms=to_ms, timeout_s=120)
        (folder / "bot.log").write_text(bot.said())
        if state["waiting_for"] or not bot.running:
            raise AssertionError(f"the bot did not report: {state['waiting_for']}; {bot.said()[-3000:]}")
        rows = await stage.simulator.ledger(key.key)
        account = await stage.simulator.account(key.key)
    finally:
        stage.close()
    fills = [
        (
            row["symbol"],
            row["side"],
            Decimal(row["execQty"]),
            Decimal(row["execPrice"]),
            Decimal(row["execFee"]),
            int(row["execTime"]),
        )
        for row in rows
        if row["execType"] != "Funding"
    ]
    held = {
        row["symbol"]: Decimal(row["size"]) * (1 if row["side"] == "Buy" else -1)
        for row in account["positions"]
        if Decimal(row["size"])
    }
    return Outcome(by_symbol(fills), Decimal(str(account["wallet_balance"])), held)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
async def test_a_random_strategy_trades_the_same_live_and_in_the_back_test(
    tmp_path: Path, seed: int, servers: Servers
) -> None:
    bots = bots_file(tmp_path)
    candles, start = market(tmp_path, seed)
    expected, _ = back(candles, start, seed, bots, bars=BARS)
    found = await live(tmp_path, ("--replay", str(candles)), start, seed, bots, servers)
    assert found.fills == expected.fills
    assert found == expected

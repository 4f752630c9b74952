"""Random strategies that want everything: live in step clock and in the back-test the same fills, fees and balance.

`PARITY_SEEDS=500 pytest tests/parity/test_random_strategies.py` runs more of them, PARITY_BARS=288 over a whole day.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from backtester.command import Request, carry_out
from backtester.result import Result
from tests.parity.instruments import with_instruments
from tests.parity.replay import CASH, generate
from tests.support.bot_harness import ENTRIES, BotHarness, Servers, sim
from tests.support.world import BOTS, ROOT, until

SEEDS = int(os.environ.get("PARITY_SEEDS", "3"))
BARS = int(os.environ.get("PARITY_BARS", "60"))
SYMBOLS = ("ETHUSDT", "SOLUSDT", "XRPUSDT")
BOT = "shortseller_001"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Fills by symbol in their order, the balance less what is open, and what is open."""

    fills: dict[str, list[tuple[str, Decimal, Decimal, Decimal, int]]]
    wallet: Decimal
    open: dict[str, Decimal]


def bots_file(folder: Path) -> Path:
    """The registry with the random strategy under ShortSeller's name."""
    path = folder / "bots.toml"
    text = (ROOT / "bots.toml").read_text()
    path.write_text(
        text.replace("strategies.shortseller.strategy:ShortSeller", "tests.parity.random_strategy:RandomStrategy")
    )
    return path


def market(folder: Path, seed: int) -> tuple[Path, datetime]:
    """Candles of four days; two are traded at most."""
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    generate(folder / "made", SYMBOLS, "5", begin, begin + timedelta(days=3), seed=seed)
    return with_instruments(folder / "made", folder / "candles"), begin + timedelta(days=2)


def back(
    folder: Path, start: datetime, seed: int, bots: Path, *, bars: int = BARS, ticks: Path | None = None
) -> tuple[Outcome, Result]:
    """In the back-test."""
    outcome = carry_out(
        Request(
            strategy="shortseller",
            data=folder,
            from_text=start.isoformat(),
            to_text=(start + timedelta(minutes=5 * bars)).isoformat(),
            overrides=[f"seed={seed}", f"symbols={json.dumps(SYMBOLS)}"],
            symbols=None,
            cash=CASH,
            taker_fee="0.00055",
            slippage_bps="0",
            funding="0.0001",
            resume_days=None,
            bots=bots,
            ticks=ticks,
        )
    )
    result = outcome.result
    wallet = result.end_equity - sum((row.unrealised for row in result.open_at_end), Decimal(0))
    held = {row.symbol: row.size * row.direction.sign for row in result.open_at_end}
    fills = [(fill.symbol, fill.side, fill.qty, fill.price, fill.fee, fill.time_ms) for fill in result.fills]
    return Outcome(_by_symbol(fills), wallet, held), result


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
    return Outcome(_by_symbol(fills), Decimal(str(account["wallet_balance"])), held)


def _by_symbol(fills: Iterable[tuple[str, Any, Any, Any, Any, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for symbol, *rest in fills:
        found.setdefault(symbol, []).append(tuple(rest))
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
async def test_a_random_strategy_trades_the_same_live_and_in_the_back_test(
    tmp_path: Path, seed: int, servers: Servers
) -> None:
    bots = bots_file(tmp_path)
    candles, start = market(tmp_path, seed)
    expected, _ = back(candles, start, seed, bots)
    found = await live(tmp_path, ("--replay", str(candles)), start, seed, bots, servers)
    assert found.fills == expected.fills
    assert found == expected

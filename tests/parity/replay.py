"""One strategy twice over the same candles: live as a real process in step clock, and in the back-test."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from alpha.model.timestamp import at
from backtester.command import Request, carry_out
from backtester.result import Result
from exchange_simulator.market.generator import GeneratedMarket
from tests.support.bot_harness import BotHarness, sim, trades
from tests.support.world import BOTS, ROOT, until

CASH = "100000"


@dataclass(frozen=True, slots=True)
class Play:
    """What is traded: the bot, the candles, from when, how many of the candles' bars, with which parameters."""

    bot_id: str
    strategy: str
    prefix: str
    folder: Path
    start: datetime
    bars: int
    bar_ms: int
    path: str
    parameters: Mapping[str, str]
    warmup: int = 5_000
    models: tuple[str, ...] = ()
    models_dir: Path = Path("models")

    @property
    def end(self) -> datetime:
        """When the last bar ends."""
        return at(int(self.start.timestamp() * 1000) + self.bars * self.bar_ms)


@dataclass(frozen=True, slots=True)
class Traded:
    """One trade, as both sides can tell it."""

    symbol: str
    side: str
    size: Decimal
    entry_ms: int
    entry_price: Decimal
    exit_ms: int
    exit_price: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class Played:
    """What came out: the trades in the order of their exits, and the balance less what is open."""

    trades: list[Traded]
    wallet: Decimal
    open_symbols: list[str]


async def play_live(play: Play, folder: Path) -> Played:
    """The real processes, in step clock. Prices, sizes and times are the exchange's own; reasons are the bot's."""
    stage = BotHarness(
        folder,
        options=(
            *("--replay", str(play.folder), "--step", "--path", play.path, "--warmup", str(play.warmup)),
            *("--start", play.start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")),
        ),
    )
    key = next(bot.key for bot in BOTS if bot.bot == play.bot_id)
    try:
        await stage.open()
        variables = {f"{play.prefix}_{name.upper()}": value for name, value in play.parameters.items()}
        bot = stage.bot(play.bot_id, ALPHA_STEP_URL=stage.simulator.url, **variables)
        bot.start()

        async def joined() -> bool:
            if not bot.running:
                raise AssertionError(f"the bot ended: {bot.said()[-3000:]}")
            return play.bot_id in (await sim(stage, "POST", "/_sim/clients", client="", remove=True))["clients"]

        await until(joined, 60, "the bot to join the step clock")
        last_ms = int(play.end.timestamp() * 1000) - 1
        now_ms = int(play.start.timestamp() * 1000)
        while now_ms < last_ms:
            now_ms = min(last_ms, now_ms + 288 * play.bar_ms)
            state = await sim(stage, "POST", "/_sim/advance", to_ms=now_ms, timeout_s=120)
            if state["waiting_for"] or not bot.running:
                raise AssertionError(f"the bot did not report: {state['waiting_for']}; {bot.said()[-3000:]}")
        rows = await stage.simulator.ledger(key)
        account = await stage.simulator.account(key)
        said = trades(bot)
        await asyncio.to_thread(bot.stop)
    finally:
        stage.close()
    return _paired(rows, said, account)


def play_back(play: Play) -> tuple[Played, Result]:
    """The back-test over the same candles."""
    outcome = carry_out(
        Request(
            strategy=play.strategy,
            data=play.folder,
            from_text=play.start.astimezone(UTC).isoformat(),
            to_text=play.end.isoformat(),
            overrides=[f"{name}={value}" for name, value in play.parameters.items()],
            symbols=None,
            cash=CASH,
            taker_fee="0.00055",
            slippage_bps="0",
            funding="0.0001",
            resume_days=None,
            bots=ROOT / "bots.toml",
            models=play.models,
            models_dir=play.models_dir,
        )
    )
    result = outcome.result
    found = [
        Traded(
            trade.symbol,
            trade.direction.value,
            trade.size,
            trade.entry_ms,
            trade.entry_price,
            trade.exit_ms,
            trade.exit_price,
            trade.reason.value,
        )
        for trade in result.trades
    ]
    wallet = result.end_equity - sum((row.unrealised for row in result.open_at_end), Decimal(0))
    return Played(_sorted(found), wallet, sorted(row.symbol for row in result.open_at_end)), result


def _paired(rows: list[dict[str, Any]], said: list[dict[str, Any]], account: dict[str, Any]) -> Played:
    """The exchange's executions as trades: one that opens, one that closes, symbol by symbol."""
    reasons: dict[str, list[str]] = {}
    for line in said:
        if line["event"] == "exited":
            reasons.setdefault(line["symbol"], []).append(line["reason"])
    opened: dict[str, dict[str, Any]] = {}
    found: list[Traded] = []
    for row in rows:
        if row["execType"] == "Funding":
            continue
        symbol = row["symbol"]
        if symbol not in opened:
            opened[symbol] = row
            continue
        entry = opened.pop(symbol)
        assert entry["execQty"] == row["execQty"], "a position is opened and closed by one execution each here"
        found.append(
            Traded(
                symbol,
                entry["side"],
                Decimal(row["execQty"]),
                int(entry["execTime"]),
                Decimal(entry["execPrice"]),
                int(row["execTime"]),
                Decimal(row["execPrice"]),
                reasons[symbol].pop(0),
            )
        )
    return Played(_sorted(found), Decimal(str(account["wallet_balance"])), sorted(opened))


def _sorted(found: list[Traded]) -> list[Traded]:
    return sorted(found, key=lambda trade: (trade.entry_ms, trade.symbol))


def generate(folder: Path, symbols: tuple[str, ...], interval: str, start: datetime, end: datetime, seed: int) -> None:
    """Write candles of the seeded market in the format of recorded ones."""
    folder.mkdir(parents=True)
    market = GeneratedMarket(seed, symbols)
    for symbol in symbols:
        instrument = market.instruments[symbol]
        bars = market.candles(symbol, interval, int(start.timestamp() * 1000), int(end.timestamp() * 1000))
        lines = ["start_ms,open,high,low,close,volume"]
        for bar in bars:
            prices = (instrument.price(value) for value in (bar.open, bar.high, bar.low, bar.close))
            lines.append(",".join([str(bar.start_ms), *map(str, prices), str(instrument.qty(bar.volume))]))
        (folder / f"{symbol}.csv").write_text("\n".join(lines) + "\n")

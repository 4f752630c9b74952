"""Reads what `compare` compares: the bot's record from PostgreSQL, and the back-test of the same days."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from alpha import history
from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.model.timestamp import ms_of
from alpha.postgres.database import connect
from alpha.postgres.sql import queries
from alpha.registry import load_registry
from alpha.strategy.parameters import load_parameters, read_environment
from backtester.api import Settings, market_of
from backtester.command import amount, cash_of, find_strategy
from backtester.engine import run
from backtester.prepared import BacktestConfig
from backtester.venue import Costs
from research.compare import Comparison, Intent, compare, live_trades, window

SQL = queries(__file__)

_CASH = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """What the command line asks for. `cash` empty: the first equity on record in the window, else 10,000 USDT."""

    bot: str
    data: Path
    days: int
    end: datetime
    cash: str
    slippage_bps: str
    bots: Path


def compare_live(request: LiveRequest, settings: DatabaseSettings | None = None) -> Comparison:
    """The comparison, with the parameters that the bot has in this environment. Misconfigured or Retry say what is wrong."""
    settings = load(DatabaseSettings) if settings is None else settings
    bot = load_registry(request.bots).find(request.bot)
    kind = find_strategy(bot.id, request.bots)
    environment = read_environment(Path(os.environ.get("ALPHA_ENV_FILE", ".env")))
    strategy = kind(load_parameters(kind.parameters_type, environment=environment, prefix=bot.prefix))
    since, until = window(request.end, request.days)
    trips = history.round_trips(bot.id, since, until, settings=settings)
    equity = history.equity(bot.id, since, until, settings=settings)
    cash = cash_of(request.cash) if request.cash else equity["equity"][0] if equity.height else _CASH
    with ThreadPoolExecutor(1) as worker:
        intents = worker.submit(asyncio.run, _intents(settings, bot.id, since, until)).result()
    given = Settings(to_ms=ms_of(until))
    data = market_of(strategy, request.data, given)
    costs = Costs(slippage_bps=amount(request.slippage_bps, "--slippage-bps", most=Decimal(500)))
    result = run(strategy, data, BacktestConfig(ms_of(since), ms_of(until), cash, costs))
    return compare(
        result.trades,
        live_trades(trips),
        intents,
        data.interval_ms,
        refused=result.skipped,
        open_at_end=result.open_at_end,
    )


async def _intents(settings: DatabaseSettings, bot: str, since: datetime, until: datetime) -> list[Intent]:
    connection = await connect(settings, "compare")
    try:
        rows = await connection.fetch(SQL["intents"], bot, since, until)
    finally:
        await connection.close()
    return [Intent(row["symbol"], ms_of(row["bar_start"]), row["intent"], row["status"], row["why"]) for row in rows]

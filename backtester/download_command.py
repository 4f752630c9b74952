"""`alpha data download`: from the command line to the folder, with a progress bar."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from alpha.bybit.client import market_gateway
from alpha.bybit.hosts import hosts_of
from alpha.bybit.rate_limiter import RateLimiter
from alpha.clock import wall_ms
from alpha.config.exchange import ExchangeSettings
from alpha.config.loader import load
from alpha.errors import Misconfigured
from alpha.strategy.auxiliary import OPEN_INTEREST
from alpha.strategy.parameters import load_parameters, parse_overrides
from backtester.candles import end_ms, fingerprint, first_ms, gaps, moment
from backtester.command import ALL, find_strategy, moment_ms
from backtester.download import download


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    """What the command line asks for, as typed."""

    symbols: Sequence[str]
    interval: str
    from_text: str
    to_text: str | None
    folder: Path
    open_interest: bool = False


def carry_out(request: DownloadRequest) -> None:
    """Download and say what the folder holds now."""
    symbols = sorted({name.strip().upper() for text in request.symbols for name in text.split(",") if name.strip()})
    if not symbols:
        raise Misconfigured("Name at least one symbol, such as BTCUSDT.")
    from_ms = moment_ms(request.from_text, "--from")
    to_ms = wall_ms() if request.to_text is None else moment_ms(request.to_text, "--to")
    settings = load(ExchangeSettings)
    asyncio.run(_download(settings, request, symbols, from_ms, to_ms))


def download_for(
    strategy: str,
    bots: Path,
    folder: Path | None,
    from_text: str | None,
    to_text: str | None,
    symbols: str | None,
    changes: Sequence[str],
) -> Path:
    """Download what a back-test of this strategy needs since `from_text`; returns the folder, data/INTERVAL unless given."""
    if from_text is None:
        raise Misconfigured("--download needs --from, the first candle to fetch: --from 2026-01-31.")
    kind = find_strategy(strategy, bots)
    chosen = kind(load_parameters(kind.parameters_type, overrides=parse_overrides(list(changes))))
    names = chosen.universe.symbols if symbols is None else tuple(symbols.split(","))
    if not names or symbols == ALL:
        raise Misconfigured(
            f"{strategy} follows no fixed symbols: name what to fetch, such as --symbols BTCUSDT,ETHUSDT."
        )
    into = folder if folder is not None else Path("data") / chosen.interval
    interest = OPEN_INTEREST in chosen.columns
    wanted = tuple(dict.fromkeys((*names, *chosen.references)))
    carry_out(DownloadRequest(wanted, chosen.interval, from_text, to_text, into, interest))
    return into


async def _download(
    settings: ExchangeSettings, request: DownloadRequest, symbols: list[str], from_ms: int, to_ms: int
) -> None:
    # Demo trading has mainnet's prices, and the market needs no key: the live address serves both.
    hosts = hosts_of(settings, demo=False)
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        tasks = {symbol: bars.add_task(symbol, total=1.0) for symbol in symbols}

        def progress(symbol: str, done: int, total: int) -> None:
            bars.update(tasks[symbol], completed=done / total)

        async with market_gateway(hosts, RateLimiter(None)) as gateway:
            found = await download(
                *(gateway, request.folder, symbols, request.interval, from_ms, to_ms, progress),
                open_interest=request.open_interest,
            )
    for symbol, candles in sorted(found.items()):
        console.print(
            f"{symbol}: {len(candles):,} candles, {moment(first_ms(candles))} to {moment(end_ms(candles))} UTC"
        )
        for before, after in gaps(candles):
            missing = (after - before) // candles.interval_ms - 1
            console.print(f"  hole: the exchange has not {missing} candles after {moment(before)}")
    whole = "No gaps. " if not any(gaps(candles) for candles in found.values()) else ""
    console.print(f"{whole}Fingerprint {fingerprint(found.values())}, in {request.folder}")

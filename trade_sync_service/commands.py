"""The commands of the trade sync, for `python main.py` and for `alpha sync`: each returns an exit code."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import TextIO

from alpha.errors import AlphaError, Misconfigured, Retry
from alpha.model.timestamp import ms_of
from alpha.registry import Bot
from trade_sync_service.account import RunResult
from trade_sync_service.context import AccountSession, ServiceContext
from trade_sync_service.domain.coverage import Interval
from trade_sync_service.progress import BarProgress, LoggedProgress, Progress
from trade_sync_service.reconciliation import Report, reconcile_account
from trade_sync_service.service import sync_of
from trade_sync_service.settings import DAY_MS, SyncSettings
from trade_sync_service.status import BotStatus, read_status

TRIES = 5
PAUSES_S = (2.0, 5.0, 10.0, 20.0)
MONTH_DAYS = 31


async def sync(settings: SyncSettings, bots: list[str], out: TextIO = sys.stdout) -> int:
    """Read what is missing now, for these bots (empty: all)."""

    async def one(house: ServiceContext, link: AccountSession, progress: Progress) -> str:
        return _sync_line(await sync_of(link, house, progress).run(history_days=settings.sync_history_days))

    return await _each(settings, bots, one, out)


async def backfill(settings: SyncSettings, bots: list[str], span: Interval, out: TextIO = sys.stdout) -> int:
    """Read what is missing from a range, for these bots (empty: all). Resumes after an interruption."""

    async def one(house: ServiceContext, link: AccountSession, progress: Progress) -> str:
        sync = sync_of(link, house, progress)
        return _sync_line(await sync.run(history_days=settings.sync_history_days, wanted=span))

    return await _each(settings, bots, one, out)


async def reconcile(settings: SyncSettings, bots: list[str], span: Interval | None, out: TextIO = sys.stdout) -> int:
    """Reconcile our records with the exchange's over a range (None: all that was read); 1 if differences are open."""
    found: list[Report] = []

    async def one(house: ServiceContext, link: AccountSession, progress: Progress) -> str:
        now_ms = await link.gateway.server_time_ms() + 1
        wanted = span or Interval(now_ms - settings.sync_history_days * DAY_MS, now_ms)
        async with sync_of(link, house, progress).locked():
            report = await reconcile_account(link, house, wanted)
        found.append(report)
        return report.line()

    code = await _each(settings, bots, one, out)
    return code or (1 if any(report.open for report in found) else 0)


async def status(settings: SyncSettings, bots: list[str], out: TextIO = sys.stdout) -> int:
    """Print how far each bot's history has been read."""
    house = ServiceContext(settings)
    try:
        names = [bot.id for bot in house.bots(bots)]
    finally:
        await house.close()
    known = await read_status(settings, names)
    for row in known:
        out.write(_status_line(row))
    for name in names:
        if not any(row.bot == name for row in known):
            out.write(f"{name}: nothing read yet.\n")
    return 0


def months_back(months: int, now: datetime | None = None) -> Interval:
    """The last `months` months of 31 days each, at most the exchange's two years."""
    if not 1 <= months <= 24:
        raise Misconfigured(f"--months is {months}; Bybit keeps two years, so give 1 to 24.")
    end = now or datetime.now(UTC)
    days = min(months * MONTH_DAYS, 730)
    return Interval(ms_of(end - timedelta(days=days)), ms_of(end) + 1)


def between(start: str | None, end: str | None, now: datetime | None = None) -> Interval:
    """The range of `--from` and `--to`, dates or times in UTC; `--to` is exclusive."""
    if start is None:
        raise Misconfigured("Give --months N, or --from DATE and perhaps --to DATE.")
    span = Interval(
        ms_of(_moment("--from", start)), ms_of(now or datetime.now(UTC)) if end is None else ms_of(_moment("--to", end))
    )
    if span.length_ms <= 0:
        raise Misconfigured(f"--from {start} is not before --to {end or 'now'}; nothing lies between them.")
    return span


def _moment(option: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Misconfigured(f"{option} is {text!r}; write a date such as 2025-01-31.") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


Work = Callable[[ServiceContext, AccountSession, Progress], Awaitable[str]]


async def _each(settings: SyncSettings, bots: list[str], work: Work, out: TextIO) -> int:
    """Run `work` for all bots concurrently; a failure prints one line, gives exit code 1 and stops no other bot."""
    house = ServiceContext(settings)
    try:
        chosen = house.bots(bots)
        with _progress() as progress:
            outcomes = await asyncio.gather(*(_one(house, bot, work, progress) for bot in chosen))
    finally:
        await house.close()
    code = 0
    for bot, outcome in zip(chosen, outcomes, strict=True):
        if isinstance(outcome, AlphaError):
            sys.stderr.write(f"{bot.id}: {outcome}\n")
            code = max(code, outcome.exit_code)
        else:
            out.write(f"{bot.id}: {outcome}\n")
    return code


async def _one(house: ServiceContext, bot: Bot, work: Work, progress: Progress) -> str | AlphaError:
    for attempt in range(TRIES):
        try:
            async with house.link(bot) as link:
                return await work(house, link, progress)
        except Retry as fault:
            last: AlphaError = fault
            if attempt < len(PAUSES_S):
                await asyncio.sleep(PAUSES_S[attempt])
        except AlphaError as fault:
            return fault
    return last


def _progress() -> AbstractContextManager[Progress]:
    return BarProgress() if sys.stdout.isatty() else nullcontext(LoggedProgress())


def _sync_line(result: RunResult) -> str:
    parts = [f"{result.rows_read} rows read, {result.rows_new} new"]
    if result.corrected:
        parts.append(f"{result.corrected} corrected")
    if result.vanished:
        parts.append(f"{result.vanished} no longer shown by Bybit")
    if result.closes_left:
        parts.append(f"{result.closes_left} closing orders still without a closed trade")
    if result.transfers:
        parts.append(f"{result.transfers} transfers")
    return ", ".join(parts) + "."


def _status_line(row: BotStatus) -> str:
    if row.covered_from is None or row.covered_to is None:
        covered = "nothing read yet"
    else:
        covered = f"read from {row.covered_from:%Y-%m-%d %H:%M} to {row.covered_to:%Y-%m-%d %H:%M} UTC"
        covered += f", {row.gaps} gaps" if row.gaps else ", no gap"
    run = "never run" if row.last_run_at is None else f"last run {row.last_run_at:%Y-%m-%d %H:%M:%S} UTC"
    run += f" ({row.last_outcome or 'under way'})" if row.last_run_at is not None else ""
    detail = f"\n    {row.last_detail}" if row.last_detail else ""
    return (
        f"{row.bot} ({row.environment}): {covered}; {row.trades} closed trades; {run}; "
        f"{row.open_differences} open differences.{detail}\n"
    )

"""Overall health, the latest alerts, and a bot's log output."""

from dataclasses import dataclass

from alpha.alerts import OVER
from alpha.errors import AlphaError, Rejected
from alpha.live_state import keys
from alpha.model.timestamp import at
from alpha.postgres.sql import queries
from alpha.registry import Bot
from bot_control.interface import Unseen
from operations import history
from operations.context import Operations, redis_faults
from operations.history import AlertRow
from operations.recovery import recovery
from operations.status import BotState, status

SQL = queries(__file__)

MOST_LINES = 2_000


@dataclass(frozen=True, slots=True)
class HealthRow:
    """One part of the system: healthy or not, and the remedy."""

    part: str
    well: bool
    detail: str


async def health(platform: Operations) -> list[HealthRow]:
    """Check every part reachable from here. Never fails: an unavailable part is an unhealthy row."""
    rows = []
    try:
        async with redis_faults(platform.live):
            await platform.live.shared.ping()
        rows.append(HealthRow("redis", True, "answers"))
    except AlphaError as fault:
        rows.append(HealthRow("redis", False, str(fault)))
    try:
        newest = await platform.history.value(SQL["schema_version"])
        rows.append(HealthRow("postgresql", True, f"answers; migration {newest}"))
    except AlphaError as fault:
        rows.append(HealthRow("postgresql", False, str(fault)))
    try:
        found = await recovery(platform)
        rows.append(HealthRow("recovery", found.well, found.sentence))
    except AlphaError:
        pass  # PostgreSQL is away, which is said above
    try:
        running = [process for process in await platform.control.list() if process.running]
        rows.append(HealthRow("bot control", True, f"answers; {len(running)} running"))
    except Unseen as sentence:
        rows.append(HealthRow("bot control", True, str(sentence)))
    except AlphaError as fault:
        rows.append(HealthRow("bot control", False, str(fault)))
    seen = await status(platform)
    for bot in seen.bots:
        well = bot.state in {BotState.RUNNING, BotState.PAUSED} and bot.data == "synced"
        well = well or (bot.state is BotState.STOPPED and bot.wish == "stopped")
        age = "never heard" if bot.data_age_s is None else f"heard {bot.data_age_s:.0f} s ago"
        rows.append(HealthRow(bot.bot, well, f"{bot.state}; data {bot.data}, {age}. {bot.note}".strip()))
    rows += [
        HealthRow(service.service, service.state == "running" and service.healthy is not False, service.detail)
        for service in seen.services
    ]
    return rows


async def alerts(platform: Operations, count: int = 20) -> list[AlertRow]:
    """Return the latest alerts, newest first: those kept in PostgreSQL, and any in Redis that are not stored yet.

    While one of the two is unavailable, the other's. Raises Retry while both are.
    """
    history.row_count(count)
    kept: list[AlertRow] = []
    stored: set[str] = set()
    away: AlphaError | None = None
    try:
        for stream_id, row in await history.alerts(platform, count):
            stored.add(stream_id)
            kept.append(row)
    except AlphaError as fault:
        away = fault
    try:
        async with redis_faults(platform.live):
            fresh = await platform.live.shared.xrevrange(keys.ALERTS, count=count)
    except AlphaError:
        if away is not None:
            raise
        return kept
    oldest = kept[-1].time if len(kept) == count else None
    waiting = [
        _streamed(fields) for stream_id, fields in fresh if stream_id not in stored and fields.get("level") != OVER
    ]
    waiting = [row for row in waiting if oldest is None or row.time > oldest]
    return sorted([*waiting, *kept], key=lambda row: row.time, reverse=True)[:count]


def _streamed(fields: dict[str, str]) -> AlertRow:
    return AlertRow(
        time=at(int(fields.get("raised_ms", "0"))),
        level=fields.get("level", ""),
        bot=fields.get("bot", ""),
        service=fields.get("service", ""),
        key=fields.get("key", ""),
        text=f"{fields.get('text', '')} {fields.get('remedy', '')}".strip(),
    )


async def logs(platform: Operations, bot: Bot, lines: int = 50) -> str:
    """Return the last lines of a bot's output. Raises Retry while bot control is unavailable."""
    if not 1 <= lines <= MOST_LINES:
        raise Rejected(f"Line count must be between 1 and {MOST_LINES}, got {lines}.")
    return await platform.control.logs(bot.container, lines)

"""The state of the system itself, from what its parts write: services, sync, backups, database, request budget, clocks.

It needs no view of containers, so that the dashboard, which has none, shows it too.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from alpha.errors import AlphaError
from alpha.live_state.read import read_heartbeat, read_status
from alpha.postgres.sql import queries
from operations import history
from operations.context import Operations, redis_faults
from operations.formatting import full_moment, span
from operations.page import Tone

SQL = queries(__file__)

#: A heartbeat, a sync run and a backup older than this are late.
_BEAT, _SYNC, _BACKUP = timedelta(seconds=60), timedelta(hours=3), timedelta(hours=26)


@dataclass(frozen=True, slots=True)
class Light:
    """One part of the system: its name, whether it is well (good, warn or bad), and one sentence."""

    name: str
    tone: Tone
    detail: str


@dataclass(frozen=True, slots=True)
class SystemFact:
    """One figure about the system."""

    name: str
    value: str


async def lights(platform: Operations) -> list[Light]:
    """Return each part's state. Never fails: what cannot be read is bad, with its fault."""
    asked = (
        ("postgresql", _postgres),
        ("redis", _redis),
        ("listener", _listener),
        ("sync", _sync),
        ("backup", _backup),
    )
    found = await asyncio.gather(*(_light(name, ask, platform) for name, ask in asked), _bots(platform))
    first, bots = found[:-1], found[-1]
    return [*first, *bots]  # type: ignore[list-item,misc]


async def _light(name: str, ask: Callable[[Operations], Awaitable[tuple[Tone, str]]], platform: Operations) -> Light:
    try:
        return Light(name, *(await ask(platform)))
    except AlphaError as fault:
        return Light(name, Tone.BAD, str(fault))


async def _postgres(platform: Operations) -> tuple[Tone, str]:
    return Tone.GOOD, f"answers; schema {await platform.history.value(SQL['schema_version'])}"


async def _redis(platform: Operations) -> tuple[Tone, str]:
    async with redis_faults(platform.live):
        await platform.live.shared.ping()
    return Tone.GOOD, "answers"


async def _listener(platform: Operations) -> tuple[Tone, str]:
    async with redis_faults(platform.live):
        seen = [await read_status(platform.live.of(bot), bot.id) for bot in platform.registry.bots]
    synced = sum(status is not None and status.state.value == "synced" for status in seen)
    tone = Tone.GOOD if synced == len(seen) else Tone.BAD if not synced else Tone.WARN
    return tone, f"{synced} of {len(seen)} accounts synced"


async def _sync(platform: Operations) -> tuple[Tone, str]:
    runs = await history.sync_runs(platform)
    if not runs:
        return Tone.WARN, "has not run yet"
    newest = max(run.started_at for run in runs)
    failed = [run for run in runs if run.outcome == "failed"]
    age = platform.wall_now() - newest
    if failed:
        return Tone.BAD, f"{failed[0].bot} {failed[0].kind} failed: {failed[0].detail}"
    return (Tone.GOOD if age < _SYNC else Tone.WARN), f"last run {span(age).text} ago"


async def _backup(platform: Operations) -> tuple[Tone, str]:
    rows = await platform.history.rows(SQL["last_jobs"])
    if not rows:
        return Tone.WARN, "none yet"
    broken = [row for row in rows if not row["ok"]]
    if broken:
        return Tone.BAD, f"the last {broken[0]['kind']} failed: {broken[0]['detail']}"
    age = platform.wall_now() - max(row["started_at"] for row in rows)
    return (Tone.GOOD if age < _BACKUP else Tone.WARN), f"last {span(age).text} ago"


async def _bots(platform: Operations) -> list[Light]:
    found = []
    for bot in platform.registry.bots:
        try:
            async with redis_faults(platform.live):
                beat = await read_heartbeat(platform.live.of(bot), bot.id)
        except AlphaError as fault:
            found.append(Light(bot.container, Tone.BAD, str(fault)))
            continue
        if beat is None:
            found.append(Light(bot.container, Tone.WARN, "has not been heard of"))
            continue
        age = beat.age(platform.wall_now())
        tone = Tone.BAD if age > _BEAT else Tone.WARN if beat.state == "paused" else Tone.GOOD
        found.append(Light(bot.container, tone, f"{beat.state}, heartbeat {span(age).text} ago"))
    return found


async def system_facts(platform: Operations) -> list[SystemFact]:
    """Return figures of sync, backups, database, request budget and clocks; what cannot be read is left out."""
    facts: list[SystemFact] = []
    for ask in (_database_facts, _backup_facts, _redis_facts):
        try:
            facts += await ask(platform)
        except AlphaError as fault:
            facts.append(SystemFact("not read", str(fault)))
    return facts


def _bytes(value: int) -> str:
    size = float(value)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


async def _database_facts(platform: Operations) -> list[SystemFact]:
    row = (await platform.history.rows(SQL["database"]))[0]
    skew = abs((row["now"] - platform.wall_now()).total_seconds())
    return [
        SystemFact("database size", _bytes(row["bytes"])),
        SystemFact("fills, about", f"{max(row['fills'], 0):,}"),
        SystemFact("clock of PostgreSQL against ours", f"{skew:.1f} s"),
    ]


async def _backup_facts(platform: Operations) -> list[SystemFact]:
    rows = await platform.history.rows(SQL["last_good_jobs"])
    return [
        SystemFact(
            f"last {row['kind']}",
            f"{full_moment(row['started_at'], platform.zone)}"
            + (f", {_bytes(row['bytes'])}" if row["bytes"] else "")
            + f". {row['detail']}",
        )
        for row in rows
    ]


async def _redis_facts(platform: Operations) -> list[SystemFact]:
    async with redis_faults(platform.live):
        info = await platform.live.shared.info("memory")
        calls = await platform.live.shared.eval("return redis.call('ZCARD', KEYS[1])", 1, "throttle:ip")
        banned = await platform.live.shared.exists("throttle:ban")
    return [
        SystemFact("memory of Redis", _bytes(int(info.get("used_memory", 0)))),
        SystemFact("requests to Bybit in the last window", str(calls)),
        SystemFact("address refused by Bybit", "yes, nothing is sent" if banned else "no"),
    ]

"""What is there: symbols that bots follow or may not enter, what runs and since when, settings without secrets."""

import os
import platform as machine
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from pydantic import SecretStr

from alpha.config.loader import Settings
from alpha.errors import AlphaError
from alpha.live_state import keys
from alpha.postgres.sql import queries
from alpha.registry import Bot
from bot_control.interface import Unseen
from operations import history
from operations.context import Operations, redis_faults

SQL = queries(__file__)


@dataclass(frozen=True, slots=True)
class SymbolsRow:
    """Symbols of one bot, sorted."""

    bot: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A container or process and when it was started; None if that is not known."""

    name: str
    state: str
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class Versions:
    """What runs. `faults` says what could not be read."""

    version: str
    python: str
    schema: int | None
    processes: list[ProcessRow]
    faults: list[str]


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting as this process read it; a secret is `set` or `not set`."""

    name: str
    value: str


async def blacklist(platform: Operations, bot: Bot | None = None) -> list[SymbolsRow]:
    """Return the symbols that each bot may not enter."""
    halts = [halt for halt in await history.halts(platform, bot) if halt.kind == history.BLACKLIST]
    return [
        SymbolsRow(each.id, tuple(sorted({halt.symbol for halt in halts if halt.bot == each.id})))
        for each in platform.bots(bot)
    ]


async def whitelist(platform: Operations, bot: Bot | None = None) -> list[SymbolsRow]:
    """Return the symbols that each bot follows and may enter. Raises Retry while Redis is unavailable."""
    forbidden = {row.bot: set(row.symbols) for row in await blacklist(platform, bot)}
    rows = []
    async with redis_faults(platform.live):
        for each in platform.bots(bot):
            followed = await platform.live.of(each).smembers(keys.symbols(each.id))
            rows.append(SymbolsRow(each.id, tuple(sorted(followed - forbidden[each.id]))))
    return rows


async def versions(platform: Operations) -> Versions:
    """Return what runs and since when; what cannot be read is among the faults."""
    faults: list[str] = []
    schema: int | None = None
    processes: list[ProcessRow] = []
    try:
        schema = await platform.history.value(SQL["schema_version"])
    except AlphaError as fault:
        faults.append(str(fault))
    try:
        found = await platform.control.list()
        processes = [ProcessRow(each.container, each.state.value, each.started_at) for each in found]
    except Unseen:
        pass  # what runs where is the swarm's knowledge
    except AlphaError as fault:
        faults.append(str(fault))
    return Versions(_own_version(), machine.python_version(), schema, processes, faults)


def _own_version() -> str:
    try:
        packaged = version("alpha-trading")
    except PackageNotFoundError:
        packaged = ""
    tag = os.environ.get("ALPHA_VERSION", "")
    return " ".join(part for part in (packaged, tag) if part) or "unknown"


def _in_words(value: object) -> str:
    """A value as it would be written in `.env`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list | set | frozenset):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def settings_of(settings: Settings | None) -> list[SettingRow]:
    """Return the settings of this process by name. Values of secrets are never among them."""
    if settings is None:
        return []
    rows = []
    for name in sorted(type(settings).model_fields):
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            shown = "set" if value.get_secret_value() else "not set"
        elif _hides(name) and value:
            shown = "set"
        else:
            shown = _in_words(value)
        rows.append(SettingRow(name.upper(), shown))
    return rows


def _hides(name: str) -> bool:
    """Whether a name says that the value may open something, whatever its type; addresses may carry a login."""
    return any(word in name for word in ("password", "secret", "token", "api_key", "webhook", "heartbeat_url", "_code"))

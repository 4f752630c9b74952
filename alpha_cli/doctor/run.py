"""Runs every check of the doctor, in the order in which a start needs them."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TypeVar

from alpha.bybit.rate_limiter import RateLimiter
from alpha.config import env_file
from alpha.config.exchange import ExchangeSettings
from alpha.config.keys import load_reading_keys
from alpha.config.loader import Settings, chosen_env_file, load
from alpha.config.services import DatabaseSettings, RedisSettings, RegistrySettings
from alpha.errors import AlphaError, Misconfigured
from alpha.influx import InfluxSettings
from alpha.registry import Registry, load_registry
from alpha_cli.doctor.budget import check_budget
from alpha_cli.doctor.egress import check_egress
from alpha_cli.doctor.exchange import KeyChecks, check_clock
from alpha_cli.doctor.finding import Finding, carried_out, fault, note, ok
from alpha_cli.doctor.stores import check_database, check_influx, check_redis
from alpha_cli.doctor.telegram import TelegramAccess, check_telegram
from bot_control.open import BotControlSettings, open_control

Kind = TypeVar("Kind", bound=Settings)


async def findings() -> AsyncIterator[Finding]:
    """Yield all findings as they are made. Never raises an AlphaError: each becomes a finding."""
    try:
        registry = load_registry(load(RegistrySettings).alpha_bots_file)
        yield ok("bots", f"bots.toml lists {registry.choices}.")
    except Misconfigured as error:
        yield fault("bots", str(error))
        registry = Registry(())
    for finding in _check_env_file():
        yield finding
    exchange, faults = _settings(ExchangeSettings)
    for finding in faults:
        yield finding
    if exchange is not None:
        throttle = RateLimiter(None)
        async for finding in carried_out("exchange", lambda: check_clock(exchange, throttle)):
            yield finding
        async for finding in carried_out("keys", KeyChecks(exchange, registry, throttle).check):
            yield finding
        accounts = _with_keys(registry)
        if accounts:
            async for finding in carried_out("request budget", lambda: check_budget(accounts, exchange.alpha_egress)):
                yield finding
    database, faults = _settings(DatabaseSettings)
    for finding in faults:
        yield finding
    if database is not None:
        async for finding in carried_out("database", lambda: check_database(database)):
            yield finding
    redis, faults = _settings(RedisSettings)
    for finding in faults:
        yield finding
    if redis is not None:
        async for finding in carried_out("redis", lambda: check_redis(redis)):
            yield finding
    telegram, faults = _settings(TelegramAccess)
    for finding in faults:
        yield finding
    if telegram is not None:
        async for finding in carried_out("telegram", lambda: check_telegram(telegram)):
            yield finding
    influx, faults = _settings(InfluxSettings)
    for finding in faults:
        yield finding
    if influx is not None and influx.influx_url is not None:
        async for finding in carried_out("influxdb", lambda: check_influx(influx)):
            yield finding
    async for finding in carried_out("way out", check_egress):
        yield finding
    async for finding in carried_out("bot control", lambda: _check_control(registry)):
        yield finding


def _check_env_file() -> list[Finding]:
    """Check that `alpha` and the containers read the settings file identically."""
    path = chosen_env_file()
    try:
        found = env_file.read(path)
    except Misconfigured as error:
        return [fault("settings", str(error))]
    return [fault("settings", sentence) for sentence in env_file.sentences(path, found)]


def _settings(kind: type[Kind]) -> tuple[Kind | None, list[Finding]]:
    try:
        return load(kind), []
    except Misconfigured as error:
        return None, [fault("settings", line) for line in str(error).splitlines()]


async def _check_control(registry: Registry) -> AsyncIterator[Finding]:
    settings = load(BotControlSettings)
    control = open_control(settings, registry)
    try:
        processes = await control.list()
    except AlphaError as error:
        yield note("bot control", str(error), "Without it, /start and /stop do not work; trading does.")
    else:
        running = sum(process.running for process in processes)
        yield ok("bot control", f"{settings.bot_control_url} answers: {running} of {len(processes)} run.")
    finally:
        await control.close()


def _with_keys(registry: Registry) -> int:
    """How many bots have a key."""
    count = 0
    for bot in registry.bots:
        with suppress(Misconfigured):
            load_reading_keys(bot)
            count += 1
    return count

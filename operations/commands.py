"""The single table of operator commands: required role, arguments and function. Used by Telegram and the terminal."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import IntEnum

from alpha.errors import AlphaError, Rejected
from alpha.registry import Bot
from operations import (
    analysis,
    analytics,
    chart,
    consequences,
    control,
    entries,
    health,
    history,
    history_pages,
    inventory,
    model_pages,
    models,
    pages,
    positions,
    risk,
    risk_pages,
)
from operations.arguments import Arguments
from operations.business_time import business_now
from operations.command_result import CommandResult
from operations.context import Operations
from operations.control_channel import Tell
from operations.page import Page, Tone, Words
from operations.periods import DEFAULT, parse_period
from operations.status import status
from operations.trade import trade


class Role(IntEnum):
    """What a person may do; each role includes the one before it."""

    STRANGER = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Query:
    """A read-only command."""

    name: str
    summary: str
    usage: str
    example: str
    ask: Callable[[Operations, Arguments], Awaitable[Page]]
    role: Role = Role.VIEWER


@dataclass(frozen=True, slots=True)
class Command:
    """A command that changes something: confirmed, audited, and announced to the other operators.

    `warn` returns the sentence shown before the confirmation.
    """

    name: str
    summary: str
    usage: str
    example: str
    run: Callable[[Operations, Arguments, str, Tell], Awaitable[CommandResult]]
    warn: Callable[[Operations, Arguments], Awaitable[str]]
    role: Role = Role.OPERATOR


def the_bot(args: Arguments) -> Bot:
    """The bot that was named; Rejected if none was."""
    if args.bot is None:
        raise Rejected("Name a bot.")
    return args.bot


def _n(args: Arguments, default: int) -> int:
    """The number given, else `default`; zero is passed on, and the query itself refuses it."""
    return default if args.n is None else args.n


async def _status(platform: Operations, args: Arguments) -> Page:
    return pages.status_page(await status(platform, args.bot), platform.zone, args.n)


async def _positions(platform: Operations, args: Arguments) -> Page:
    return pages.positions_page(await positions.positions(platform, args.bot), platform.zone, platform.wall_now())


async def _orders(platform: Operations, args: Arguments) -> Page:
    return pages.orders_page(await positions.orders(platform, args.bot), platform.zone, platform.wall_now())


async def _chart(platform: Operations, args: Arguments) -> Page:
    seen = await chart.chart(platform, args.bot, args.symbol, args.interval)
    return chart.chart_page(seen, platform.zone)


async def _balance(platform: Operations, args: Arguments) -> Page:
    rows = await positions.balance(platform, args.bot)
    try:
        settings = await history.account_settings(platform, args.bot)
    except AlphaError:
        # wallets are live state: they are shown without PostgreSQL, and before its migration, too
        settings = {}
    return pages.balance_page(rows, settings)


async def _exposure(platform: Operations, args: Arguments) -> Page:
    return risk_pages.exposure_page(await risk.exposure(platform, args.bot))


async def _risk(platform: Operations, args: Arguments) -> Page:
    return risk_pages.risk_page(await risk.risk(platform, args.bot))


async def _whitelist(platform: Operations, args: Arguments) -> Page:
    allowed = risk_pages.symbols_page("Symbols followed", await inventory.whitelist(platform, args.bot))
    forbidden = await inventory.blacklist(platform, args.bot)
    if not any(row.symbols for row in forbidden):
        return allowed
    blocks = [*allowed.blocks, Words("No new entries in:", Tone.WARN), *risk_pages.symbols_page("", forbidden).blocks]
    return replace(allowed, blocks=blocks, data={"followed": allowed.data, "forbidden": forbidden})


async def _version(platform: Operations, args: Arguments) -> Page:
    return risk_pages.version_page(await inventory.versions(platform), platform.zone, platform.wall_now())


async def _config(platform: Operations, args: Arguments) -> Page:
    return risk_pages.config_page(inventory.settings_of(platform.settings))


async def _trades(platform: Operations, args: Arguments) -> Page:
    rows = await analytics.trades(platform, args.bot, _n(args, 10))
    return history_pages.trips_page(rows, platform.zone, platform.wall_now())


async def _trade(platform: Operations, args: Arguments) -> Page:
    return history_pages.trade_page(await trade(platform, args.trade or "1", args.bot), platform.zone)


async def _fills(platform: Operations, args: Arguments) -> Page:
    rows = await history.fills(platform, args.bot, _n(args, 10))
    return pages.fills_page(rows, platform.zone, platform.wall_now())


async def _analytics(platform: Operations, args: Arguments) -> Page:
    period = parse_period(args.period or DEFAULT, await business_now(platform, args.bot))
    return history_pages.analytics_page(await analytics.analytics(platform, args.bot, period), platform.zone)


async def _performance(platform: Operations, args: Arguments) -> Page:
    period = parse_period(args.period or "all", await business_now(platform))
    return history_pages.performance_page(await analytics.performance(platform, None, period), period.label)


def _spans(kind: str, default: int) -> Callable[[Operations, Arguments], Awaitable[Page]]:
    async def ask(platform: Operations, args: Arguments) -> Page:
        now = await business_now(platform, args.bot)
        rows = await analytics.spans(platform, kind, args.bot, _n(args, default), now)
        return history_pages.spans_page(kind, rows, args.bot.id if args.bot else "")

    return ask


async def _health(platform: Operations, args: Arguments) -> Page:
    return pages.health_page(await health.health(platform))


async def _sync(platform: Operations, args: Arguments) -> Page:
    return pages.sync_page(await history.sync_runs(platform, args.bot), platform.zone, platform.wall_now())


async def _issues(platform: Operations, args: Arguments) -> Page:
    return pages.issues_page(await history.issues(platform, args.bot), platform.zone)


async def _alerts(platform: Operations, args: Arguments) -> Page:
    return pages.alerts_page(await health.alerts(platform, _n(args, 10)), platform.zone)


async def _drift(platform: Operations, args: Arguments) -> Page:
    return pages.drift_page(await history.drift(platform, _n(args, 30)), platform.zone)


async def _audit(platform: Operations, args: Arguments) -> Page:
    return pages.commands_page(await history.commands(platform, _n(args, 20)), platform.zone)


async def _entries(platform: Operations, args: Arguments) -> Page:
    period = parse_period(args.period or DEFAULT, await business_now(platform, args.bot))
    return entries.entries_page(await entries.entries(platform, args.bot, period))


async def _slippage(platform: Operations, args: Arguments) -> Page:
    period = parse_period(args.period or DEFAULT, await business_now(platform, args.bot))
    return entries.costs_page(await entries.all_costs(platform, args.bot, period), period)


async def _analysis(platform: Operations, args: Arguments) -> Page:
    if args.symbol is None:
        return analysis.overview_page(await analysis.ratings(platform), platform.zone)
    return analysis.symbol_page(await analysis.details(platform, args.symbol), args.interval, platform.zone)


async def _logs(platform: Operations, args: Arguments) -> Page:
    bot = the_bot(args)
    return pages.logs_page(bot.id, await health.logs(platform, bot, _n(args, 30)), platform.zone)


async def _start(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await control.start(platform, the_bot(args), by)


async def _stop(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await control.stop(platform, the_bot(args), by)


async def _restart(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await control.restart(platform, the_bot(args), by)


async def _pause(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await control.pause(platform, the_bot(args), by)


async def _resume(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await control.resume(platform, the_bot(args), by)


async def _adopt(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await control.adopt(platform, the_bot(args), args.symbol or "", by)


async def _flatten(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await control.flatten(platform, the_bot(args), args.symbol, by, tell)


async def _panic(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await control.panic(platform, by, tell)


async def _cancel(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await control.cancel(platform, the_bot(args), args.symbol, by)


async def _close(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await control.close(platform, the_bot(args), args.symbol or "", args.percent or 100, by, tell)


async def _move_stop(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    if args.price is None:
        raise Rejected("Say where the stop shall be.")
    return await control.move_stop(platform, the_bot(args), args.symbol or "", args.price, by)


async def _cancel_order(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await control.cancel_order(platform, the_bot(args), args.symbol or "", args.order or "", by)


async def _forbid(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await control.forbid(platform, the_bot(args), args.symbol or "", by)


async def _allow(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await control.allow(platform, the_bot(args), args.symbol or "", by)


async def _warn_close(platform: Operations, args: Arguments) -> str:
    return await consequences.of_close(platform, the_bot(args), args.symbol or "", args.percent or 100)


async def _warn_move_stop(platform: Operations, args: Arguments) -> str:
    return await consequences.of_move_stop(platform, the_bot(args), args.symbol or "", args.price)


async def _warn_cancel_order(platform: Operations, args: Arguments) -> str:
    return await consequences.of_cancel_order(platform, the_bot(args), args.order or "")


async def _warn_forbid(platform: Operations, args: Arguments) -> str:
    return f"Forbid {the_bot(args).id} to enter {args.symbol}? An open position stays managed."


async def _warn_allow(platform: Operations, args: Arguments) -> str:
    return f"Allow {the_bot(args).id} to enter {args.symbol} again?"


async def _warn_stop(platform: Operations, args: Arguments) -> str:
    return f"Stop {the_bot(args).id}? {await control.stop_warning(platform, the_bot(args))}"


async def _warn_flatten(platform: Operations, args: Arguments) -> str:
    return await consequences.of_flatten(platform, the_bot(args), args.symbol)


async def _warn_panic(platform: Operations, args: Arguments) -> str:
    asked = "PANIC: halt every bot, cancel every order, close every position of every bot at market?"
    return f"{asked} {await consequences.at_stake(platform)}".strip()


async def _warn_adopt(platform: Operations, args: Arguments) -> str:
    return await consequences.of_adopt(platform, the_bot(args), args.symbol or "")


async def _warn_cancel(platform: Operations, args: Arguments) -> str:
    return await consequences.of_cancel(the_bot(args), args.symbol)


async def _model(platform: Operations, args: Arguments) -> Page:
    words = (args.rest or "").split()
    if not words:
        return model_pages.models_page(await models.models(platform), platform.zone)
    return model_pages.model_page(await models.model_detail(platform, *_named(words)), platform.zone)


async def _model_promote(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await models.promote(platform, *_named((args.rest or "").split()), by)


async def _model_retire(platform: Operations, args: Arguments, by: str, tell: Tell) -> CommandResult:
    return await models.retire(platform, *_named((args.rest or "").split()), by)


async def _warn_promote(platform: Operations, args: Arguments) -> str:
    return await consequences.of_promote(platform, *_named((args.rest or "").split()))


async def _warn_retire(platform: Operations, args: Arguments) -> str:
    name, version = _named((args.rest or "").split())
    row = await models.find_model(platform, name, version)
    return f"Retire {name} {row.version[:12]} ({row.stage})? Bots that use it make no entries without a live version."


def _named(words: list[str]) -> tuple[str, str | None]:
    """The name of a model, and the version if one was given."""
    if not 1 <= len(words) <= 2:
        raise Rejected("Name a model, and its version if there are several: /model promote NAME [VERSION].")
    return words[0].lower(), words[1].lower() if len(words) > 1 else None


def _of(say: Callable[[Operations, Bot], Awaitable[str]]) -> Callable[[Operations, Arguments], Awaitable[str]]:
    async def warn(platform: Operations, args: Arguments) -> str:
        return await say(platform, the_bot(args))

    return warn


QUERIES = (
    Query(
        "status",
        "each bot, its data, positions and today's net",
        "[bot] [n]",
        "/status",
        _status,
    ),
    Query("positions", "open positions and their stops", "[bot]", "/positions shortseller", _positions),
    Query(
        "chart",
        "a symbol's candles with entries, stop and target",
        "[bot] [interval] [symbol]",
        "/chart BTCUSDT 15m",
        _chart,
    ),
    Query("orders", "open orders, stops among them", "[bot]", "/orders momentum", _orders),
    Query("balance", "equity and what is free of it", "[bot]", "/balance", _balance),
    Query("exposure", "what each bot holds against its equity", "[bot]", "/exposure", _exposure),
    Query("risk", "distance to stops and liquidation, what stops cost", "[bot]", "/risk", _risk),
    Query("whitelist", "the symbols that bots follow or may not enter", "[bot]", "/whitelist", _whitelist),
    Query("trades", "closed trades, newest first", "[bot] [n]", "/trades lxalgo 20", _trades),
    Query("trade", "one trade in full: why, orders, fills, stops", "[trade]", "/trade 1", _trade),
    Query("fills", "executions, newest first", "[bot] [n]", "/fills shortseller 20", _fills),
    Query(
        "analytics",
        "figures, reasons and symbols of a period",
        "[bot] [period]",
        "/analytics momentum 7d",
        _analytics,
    ),
    Query("daily", "net of each day", "[bot] [n]", "/daily 14", _spans("daily", 10)),
    Query("weekly", "net of each week", "[bot] [n]", "/weekly 8", _spans("weekly", 8)),
    Query("monthly", "net of each month", "[bot] [n]", "/monthly 12", _spans("monthly", 12)),
    Query(
        "performance",
        "all bots side by side",
        "[period]",
        "/performance this month",
        _performance,
    ),
    Query(
        "entries",
        "results by entry tag and exit",
        "[bot] [period]",
        "/entries momentum 30d",
        _entries,
    ),
    Query(
        "slippage",
        "what orders cost against decision and quotes",
        "[bot] [period]",
        "/slippage momentum 30d",
        _slippage,
    ),
    Query(
        "analysis",
        "indicators and ratings by timeframe",
        "[interval] [symbol]",
        "/analysis BTCUSDT",
        _analysis,
    ),
    Query("health", "every part of the system", "", "/health", _health),
    Query("sync", "how far the exchange's history is read", "[bot]", "/sync", _sync),
    Query("issues", "where our books and the exchange's differ", "[bot]", "/issues", _issues),
    Query("drift", "what Bybit sends beyond its documents", "[n]", "/drift", _drift),
    Query("alerts", "the latest alerts", "[n]", "/alerts 20", _alerts),
    Query("model", "models: shadow and live, and their figures", "[rest]", "/model trend", _model),
    Query("logs", "the last output of a bot", "<bot> [n]", "/logs shortseller 50", _logs, Role.OPERATOR),
    Query("version", "what runs, and since when", "", "/version", _version),
    Query("config", "settings, without secrets", "", "/config", _config, Role.ADMIN),
    Query("audit", "who asked for what", "[n]", "/audit 20", _audit, Role.ADMIN),
)
COMMANDS = (
    Command(
        "model_promote",
        "let a shadow model trade",
        "<rest>",
        "/model promote trend",
        _model_promote,
        _warn_promote,
    ),
    Command(
        "model_retire",
        "take a model out of trading",
        "<rest>",
        "/model retire trend",
        _model_retire,
        _warn_retire,
    ),
    Command("start", "start a bot", "<bot>", "/start shortseller", _start, _of(consequences.of_start)),
    Command(
        "stop",
        "stop a bot; its positions stay open",
        "<bot>",
        "/stop shortseller",
        _stop,
        _warn_stop,
    ),
    Command(
        "restart",
        "restart a bot",
        "<bot>",
        "/restart shortseller",
        _restart,
        _of(consequences.of_restart),
    ),
    Command(
        "pause",
        "no new entries; positions stay managed",
        "<bot>",
        "/pause lxalgo",
        _pause,
        _of(consequences.of_pause),
    ),
    Command(
        "resume",
        "lift a pause or a halt",
        "<bot>",
        "/resume lxalgo",
        _resume,
        _of(consequences.of_resume),
    ),
    Command(
        "adopt",
        "let a bot take over a position",
        "<bot> <symbol>",
        "/adopt lxalgo BTCUSDT",
        _adopt,
        _warn_adopt,
    ),
    Command(
        "flatten",
        "close a bot's positions at market",
        "<bot> [symbol]",
        "/flatten momentum",
        _flatten,
        _warn_flatten,
    ),
    Command(
        "close",
        "close a position at market, or a part of it; the bot goes on",
        "<bot> <symbol> [percent]",
        "/close lxalgo BTCUSDT 50",
        _close,
        _warn_close,
    ),
    Command(
        "movestop",
        "move a position's stop; it binds until it is flat",
        "<bot> <symbol> <price>",
        "/movestop lxalgo BTCUSDT 96000",
        _move_stop,
        _warn_move_stop,
    ),
    Command(
        "cancelorder",
        "cancel one open order",
        "<bot> <symbol> <order>",
        "/cancelorder momentum BTCUSDT 5f0b1c9e",
        _cancel_order,
        _warn_cancel_order,
    ),
    Command(
        "blacklist",
        "no new entries of a bot in a symbol",
        "<bot> <symbol>",
        "/blacklist momentum DOGEUSDT",
        _forbid,
        _warn_forbid,
    ),
    Command(
        "unblacklist",
        "allow a forbidden symbol again",
        "<bot> <symbol>",
        "/unblacklist momentum DOGEUSDT",
        _allow,
        _warn_allow,
    ),
    Command(
        "cancel",
        "take back a flatten or panic that is under way",
        "<bot> [symbol]",
        "/cancel momentum",
        _cancel,
        _warn_cancel,
    ),
    Command("panic", "close everything at market", "", "/panic", _panic, _warn_panic),
)
BY_NAME: dict[str, Query | Command] = {command.name: command for command in (*QUERIES, *COMMANDS)}

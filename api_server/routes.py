"""The endpoints: each is one query of `operations`. Amounts are strings, times ISO 8601 UTC, durations ISO 8601."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Generic, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from alpha.errors import Misconfigured, Rejected
from alpha.registry import Bot
from api_server.access import Needs
from api_server.parameters import known_parameters
from operations import analytics, health, history, positions, risk, search
from operations.business_time import business_now
from operations.context import Operations
from operations.periods import Period, parse_period
from operations.search import Filter
from operations.status import BotStatus, ServiceStatus, Status, status
from operations.system import Light, lights
from operations.trade import TradeDetail, trade

T = TypeVar("T")
#: Seconds between two looks of the event stream, and its longest life; a client connects again.
LOOK_S, MOST_S = 1.0, 3_600.0


class Rows(BaseModel, Generic[T]):
    """One page of rows, newest first. `next_offset` is null on the last page."""

    rows: list[T]
    next_offset: int | None


class CurrentStatus(BaseModel):
    """The overall status. `faults` says what could not be read."""

    bots: list[BotStatus]
    services: list[ServiceStatus]
    halts: list[history.HaltRow]
    faults: list[str]
    business_time: datetime | None
    wall_time: datetime


class Fault(BaseModel):
    """Why a request was not answered."""

    detail: str


FAULTS: dict[int | str, dict[str, object]] = {
    code: {"model": Fault, "description": text}
    for code, text in (
        (400, "The request cannot be answered, now or later; among them one with a parameter unknown here."),
        (401, "No valid token."),
        (403, "The token lacks the scope."),
        (429, "Too many requests; see Retry-After."),
        (503, "A store is unavailable; try again."),
    )
}
router = APIRouter(prefix="/v1", dependencies=[Depends(Needs("read")), Depends(known_parameters)], responses=FAULTS)
audit_router = APIRouter(
    prefix="/v1", dependencies=[Depends(Needs("audit")), Depends(known_parameters)], responses=FAULTS
)


def _platform(request: Request) -> Operations:
    platform: Operations = request.app.state.platform
    return platform


Platform = Annotated[Operations, Depends(_platform)]
_TEXT = {"max_length": 60, "pattern": r"^[^\x00-\x1f\x7f]*$"}
BotName = Annotated[str | None, Query(description="A bot, by its id, container or tag; all bots without it.", **_TEXT)]
PeriodText = Annotated[
    str, Query(description="7d, 4w, today, this month, 2025-06, 2025-01-01 to 2025-01-31, all.", **_TEXT)
]
Symbol = Annotated[str, Query(description="Only this symbol.", **_TEXT)]
Reason = Annotated[str, Query(description="Only this reason.", **_TEXT)]
Words = Annotated[str, Query(description="Words that a row must hold.", **_TEXT)]
Offset = Annotated[int, Query(ge=0, le=search.MOST_OFFSET, description="How many of the newest rows to leave out.")]
Limit = Annotated[int, Query(ge=1, le=1_000, description="How many rows.")]


def _bot(platform: Operations, name: str | None) -> Bot | None:
    if not name:
        return None
    try:
        return platform.registry.find(name)
    except Misconfigured:
        raise Rejected(f"There is no bot {name!r}.") from None


async def _asked(platform: Operations, bot: str | None, period: str) -> tuple[Bot | None, Period]:
    """The bot and the period that a request names, the period in the exchange's time."""
    chosen = _bot(platform, bot)
    return chosen, parse_period(period, await business_now(platform, chosen))


def _page(found: search.Rows[T], asked: Filter) -> dict[str, object]:
    return {"rows": found.rows, "next_offset": asked.offset + asked.limit if found.more else None}


@router.get("/status")
async def get_status(platform: Platform, bot: BotName = None) -> CurrentStatus:
    """Each bot, its data, positions and today's net; halts; what could not be read."""
    seen = await status(platform, _bot(platform, bot))
    return CurrentStatus(
        bots=seen.bots,
        services=seen.services,
        halts=seen.halts,
        faults=seen.faults,
        business_time=seen.business_time,
        wall_time=seen.wall_time,
    )


@router.get("/positions")
async def get_positions(platform: Platform, bot: BotName = None) -> list[positions.PositionRow]:
    """Open positions and their stops."""
    return await positions.positions(platform, _bot(platform, bot))


@router.get("/orders")
async def get_orders(platform: Platform, bot: BotName = None) -> list[positions.OrderRow]:
    """Open orders, stops among them."""
    return await positions.orders(platform, _bot(platform, bot))


@router.get("/balance")
async def get_balance(platform: Platform, bot: BotName = None) -> list[positions.BalanceRow]:
    """Equity and what is free of it."""
    return await positions.balance(platform, _bot(platform, bot))


@router.get("/exposure")
async def get_exposure(platform: Platform, bot: BotName = None) -> list[risk.ExposureRow]:
    """What each bot holds against its equity."""
    return await risk.exposure(platform, _bot(platform, bot))


@router.get("/risk")
async def get_risk(platform: Platform, bot: BotName = None) -> list[risk.RiskRow]:
    """Distance to stops and liquidation, and what the stops cost."""
    return await risk.risk(platform, _bot(platform, bot))


@router.get("/trades")
async def get_trades(
    platform: Platform,
    bot: BotName = None,
    period: PeriodText = "all",
    symbol: Symbol = "",
    reason: Reason = "",
    words: Words = "",
    offset: Offset = 0,
    limit: Limit = 50,
) -> Rows[analytics.TripRow]:
    """Closed trades, newest first."""
    chosen, span = await _asked(platform, bot, period)
    asked = Filter(chosen, span, symbol.upper(), reason, "", words, offset, limit)
    return Rows[analytics.TripRow].model_validate(_page(await search.trips(platform, asked), asked))


@router.get("/trades/{trade_id}")
async def get_trade(
    platform: Platform,
    trade_id: Annotated[
        str, Path(pattern=r"^([0-9a-f]{10}|[1-9][0-9]{0,2})$", description="The id, or 1 for the last.")
    ],
) -> TradeDetail:
    """One trade in full: decision, orders, fills, slippage, stops."""
    return await trade(platform, trade_id)


@router.get("/fills")
async def get_fills(
    platform: Platform,
    bot: BotName = None,
    period: PeriodText = "all",
    symbol: Symbol = "",
    reason: Reason = "",
    words: Words = "",
    offset: Offset = 0,
    limit: Limit = 50,
) -> Rows[history.FillRow]:
    """Executions, newest first."""
    chosen, span = await _asked(platform, bot, period)
    asked = Filter(chosen, span, symbol.upper(), reason, "", words, offset, limit)
    return Rows[history.FillRow].model_validate(_page(await search.fills(platform, asked), asked))


@router.get("/performance")
async def get_performance(
    platform: Platform, bot: BotName = None, period: PeriodText = "30d"
) -> list[analytics.Performance]:
    """Net, returns and ratios of each bot over a period."""
    return await analytics.performance(platform, *await _asked(platform, bot, period))


@router.get("/reasons")
async def get_reasons(platform: Platform, bot: BotName = None, period: PeriodText = "30d") -> list[analytics.ReasonRow]:
    """Why trades ended, over a period."""
    return await analytics.reasons(platform, *await _asked(platform, bot, period))


@router.get("/equity")
async def get_equity(
    platform: Platform, bot: BotName = None, period: PeriodText = "30d"
) -> list[analytics.EquityPoint]:
    """Equity and drawdown over a period, in at most some 400 points, one of each moment."""
    return await analytics.equity_curve(platform, *await _asked(platform, bot, period))


@router.get("/days")
async def get_days(
    platform: Platform, bot: BotName = None, days: Annotated[int, Query(ge=1, le=1_000)] = 30
) -> list[analytics.SpanRow]:
    """Net of each UTC day, oldest first."""
    chosen = _bot(platform, bot)
    return await analytics.spans(platform, "daily", chosen, days, await business_now(platform, chosen))


@router.get("/issues")
async def get_issues(platform: Platform, bot: BotName = None, limit: Limit = 50) -> list[history.IssueRow]:
    """Where our books and the exchange's differ."""
    return await history.issues(platform, _bot(platform, bot), limit)


@router.get("/sync")
async def get_sync(platform: Platform, bot: BotName = None) -> list[history.SyncRow]:
    """How far the exchange's history is read."""
    return await history.sync_runs(platform, _bot(platform, bot))


@router.get("/health")
async def get_health(platform: Platform) -> list[Light]:
    """Each part of the system."""
    return await lights(platform)


@router.get("/alerts")
async def get_alerts(platform: Platform, limit: Limit = 50) -> list[history.AlertRow]:
    """The latest alerts, newest first."""
    return await health.alerts(platform, limit)


@audit_router.get("/audit")
async def get_audit(
    platform: Platform, words: Words = "", offset: Offset = 0, limit: Limit = 50
) -> Rows[history.CommandRow]:
    """Who asked for what, newest first."""
    asked = Filter(words=words, offset=offset, limit=limit)
    return Rows[history.CommandRow].model_validate(_page(await search.commands(platform, asked), asked))


@router.get("/events", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
async def get_events(platform: Platform, once: bool = False) -> StreamingResponse:
    """Server-sent events: `positions`, `balance` and `status` whenever they change. With `once`, one of each."""
    return StreamingResponse(_events(platform, once), media_type="text/event-stream")


async def _events(platform: Operations, once: bool) -> AsyncIterator[bytes]:
    told: dict[str, bytes] = {}
    for _ in range(1 if once else int(MOST_S / LOOK_S)):
        seen, wallets = await asyncio.gather(status(platform), positions.balance(platform), return_exceptions=True)
        parts: dict[str, object] = {}
        if isinstance(seen, Status):
            parts["positions"] = [row for bot in seen.bots for row in bot.positions]
            parts["status"] = [{"bot": bot.bot, "state": bot.state, "data": bot.data} for bot in seen.bots]
        if isinstance(wallets, list):
            parts["balance"] = wallets
        for name, part in parts.items():
            text = msgspec.json.encode(part)
            if told.get(name) != text:
                told[name] = text
                yield b"event: " + name.encode() + b"\ndata: " + text + b"\n\n"
        if not once:
            await asyncio.sleep(LOOK_S)


def as_json(data: object) -> str:
    """Typed rows as JSON text in which no character can end a mark-up element."""
    text = json.dumps(msgspec.to_builtins(data, str_keys=True, enc_hook=str), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

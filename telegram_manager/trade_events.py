"""Reports new positions and closed trades as they enter the history; from a saved position on, each once."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import escape
from typing import Any

import msgspec

from alpha.alerts import Alert, Alerts, Level
from alpha.model.coin import USDT, settle_coin
from alpha.model.money import ZERO, plain
from alpha.postgres.sql import queries
from alpha.registry import Bot
from operations.accounts import CurrentAccount, current_accounts
from operations.coins import said
from operations.context import Operations
from operations.formatting import in_zone, number, percent, span, usdt
from operations.positions import unrealised_by_coin
from operations.status import BotStatus, status
from telegram_manager.state_store import StateStore

SQL = queries(__file__)

STATE = "trade_news"
#: Trades of one instant reach the history at different times: this much is read again.
OVERLAP = timedelta(minutes=2)
#: The most closed trades reported per bot and poll.
MOST = 1_000
#: How long a poll waits for the bots' channels; slower ones continue in the background.
LOOK_WAIT_S = 10.0


class TradeEventsState(msgspec.Struct):
    """Each bot's position: newest time reported, events reported within the overlap before it, the bot's state."""

    until: dict[str, datetime] = {}
    told: dict[str, dict[str, datetime]] = {}
    states: dict[str, str] = {}
    day: dict[str, str] = {}
    #: Each position's stop as last told, by bot, symbol and leg; and each account's last funding that was told.
    stops: dict[str, str] = {}
    funding: dict[str, datetime] = {}


class PositionOpened(msgspec.Struct, frozen=True):
    """A position that was opened."""

    symbol: str
    direction: str
    qty: Decimal
    price: Decimal
    time: datetime


class PositionClosed(msgspec.Struct, frozen=True):
    """A position that was closed, with its result in the symbol's settle coin, net of fees and funding."""

    symbol: str
    direction: str
    qty: Decimal
    entry: Decimal
    exit: Decimal
    net: Decimal
    return_pct: Decimal | None
    reason: str
    held: timedelta
    time: datetime


#: Receives the events of one bot: texts in Telegram's HTML, oldest first.
Tell = Callable[[Bot, list[str]], Awaitable[None]]
#: The same for people: entries, exits, stops or funding of one bot.
TellNews = Callable[[str, Bot, list[str]], Awaitable[None]]
#: A stop that trails is told at most so often.
STOP_EVERY_MS = 60_000


class TradeEvents:
    """Follows the history. A loss larger than `loss_usdt` (0 for none) and, if enabled, every trade raise an alert."""

    def __init__(
        self,
        platform: Operations,
        memory: StateStore,
        alerts: Alerts,
        tell: Tell,
        loss_usdt: int,
        *,
        every_trade: bool,
        news: TellNews | None = None,
    ) -> None:
        """`tell` posts to a bot's channel, `news` tells people, by kind."""
        self._platform = platform
        self._memory = memory
        self._alerts = alerts
        self._tell = tell
        self._loss_usdt = loss_usdt
        self._every_trade = every_trade
        self._news = news
        self._state = TradeEventsState()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._stops_told: dict[str, int] = {}

    async def load(self) -> None:
        """Load the saved position."""
        self._state = await self._memory.load(STATE, TradeEventsState, TradeEventsState)

    async def look(self) -> None:
        """Report what is new since the last poll. Bots are independent: one whose channel hangs delays no other."""
        seen = await status(self._platform)
        accounts = {account.bot: account for account in await current_accounts(self._platform)}
        for row in seen.bots:
            if row.bot not in self._under_way:
                look = self._look_at_bot(row, seen.business_time, accounts.get(row.bot))
                self._under_way[row.bot] = asyncio.create_task(look, name=f"news of {row.bot}")
        done, _ = await asyncio.wait(self._under_way.values(), timeout=LOOK_WAIT_S)
        self._under_way = {bot: task for bot, task in self._under_way.items() if task not in done}
        for task in done:
            task.result()

    async def _look_at_bot(self, row: BotStatus, moment: datetime | None, account: CurrentAccount | None) -> None:
        changed = False if account is None else await self._look_at(account)
        if self._news is not None:
            changed = await self._stops_of(row) or changed
            changed = (account is not None and await self._funding_of(account)) or changed
        if await self._change_of(row, moment) or changed:
            await self._memory.save(STATE, self._state)

    async def _stops_of(self, row: BotStatus) -> bool:
        """Tell of stops that moved since the last time they were told; True if anything is to be saved."""
        if row.unrealised_pnl is None or self._news is None:
            return False  # its positions are not known now
        now_ms, lines = self._platform.wall_ms(), []
        found: dict[str, str] = {}
        for held in row.positions:
            name = f"{row.bot}:{held.symbol}:{held.leg}:{held.direction}"
            stop = "" if held.stop_loss is None else plain(held.stop_loss)
            before = self._state.stops.get(name)
            if not before or before == stop:
                # its first stop is part of the entry
                found[name] = stop
            elif now_ms - self._stops_told.get(name, -STOP_EVERY_MS) < STOP_EVERY_MS:
                found[name] = before
            else:
                self._stops_told[name] = now_ms
                found[name] = stop
                lines.append(
                    f"🛡 {escape(row.bot)}: stop of {escape(held.symbol)} {held.direction} moved from "
                    f"{_level(before)} to {_level(stop)}; mark {number(held.mark_price).text}."
                )
        others = {name: stop for name, stop in self._state.stops.items() if not name.startswith(f"{row.bot}:")}
        changed = {**others, **found} != self._state.stops
        self._state.stops = {**others, **found}
        if lines:
            await self._news("stops", self._platform.registry.find(row.bot), lines)
        return changed

    async def _funding_of(self, account: CurrentAccount) -> bool:
        """Tell of funding since the last that was told; True if anything is to be saved."""
        name = f"{account.bot}:{account.account_id}"
        since = self._state.funding.get(name)
        rows = await self._platform.history.rows(
            SQL["funding"],
            account.bot,
            account.account_id,
            since or datetime(1970, 1, 1, tzinfo=UTC),
            # the first time only the newest: earlier ones are history, not news
            1 if since is None else MOST,
        )
        if not rows:
            return False
        self._state.funding[name] = max(row["exec_time"] for row in rows)
        if since is not None and self._news is not None:
            lines = [
                f"💸 {escape(account.bot)}: funding of {escape(row['symbol'])} {usdt(-row['fee']).text} {settle_coin(row['symbol'])}."
                for row in reversed(rows[:20])
            ]
            await self._news("funding", self._platform.registry.find(account.bot), lines)
        return True

    async def _look_at(self, account: CurrentAccount) -> bool:
        """Report the trades of one account; True if there is state that has not been saved yet."""
        bot = self._platform.registry.find(account.bot)
        name = f"{account.bot}:{account.account_id}"
        since = self._state.until.get(name)
        if since is None:
            # the very first poll: earlier trades are history, not news
            since = await self._platform.history.value(
                SQL["newest_fill"],
                account.bot,
                account.account_id,
            ) or datetime(1970, 1, 1, tzinfo=UTC)
            self._state.until[name] = since
            events = await self._events(account.account_id, account.bot, since)
            self._state.told[name] = {_id(event): event.time for event in events}
            return True
        events = await self._events(account.account_id, account.bot, since)
        told = self._state.told.setdefault(name, {})
        news = [event for event in events if _id(event) not in told]
        if news:
            await self._alert(bot, news)
            await self._tell(bot, [line_of(event) for event in news])
            if self._news is not None:
                for kind, what in (("entries", PositionOpened), ("exits", PositionClosed)):
                    lines = [f"{line_of(event)} <i>{escape(bot.name)}</i>" for event in news if isinstance(event, what)]
                    if lines:
                        await self._news(kind, bot, lines)
            until = max([since, *(event.time for event in news)])
            told |= {_id(event): event.time for event in news}
            self._state.told[name] = {key: moment for key, moment in told.items() if moment >= until - OVERLAP}
            self._state.until[name] = until
            await self._memory.save(STATE, self._state)
        return False

    async def _events(self, account: int, bot: str, since: datetime) -> list[PositionOpened | PositionClosed]:
        """Entries and exits from `since` on, less the overlap, in order; if there are too many, the oldest part."""
        first = max(since, datetime(1970, 1, 2, tzinfo=UTC)) - OVERLAP
        left = await self._platform.history.rows(
            SQL["closed"],
            bot,
            account,
            first,
            MOST,
        )
        entered = await self._platform.history.rows(
            SQL["opened"],
            account,
            first,
        )
        last = left[-1]["closed_at"] if len(left) == MOST else datetime.max.replace(tzinfo=UTC)
        # an entry sorts after an exit of the same instant, but before its own exit
        found: list[tuple[datetime, int, PositionOpened | PositionClosed]] = []
        for row in left:
            found.append((row["closed_at"], 1, _left(row)))
            if row["opened_at"] >= first and not row["from_opening"]:
                # it may have closed before it was ever seen open
                rank = 0 if row["opened_at"] == row["closed_at"] else 2
                found.append((row["opened_at"], rank, _entered(row, row["max_qty"])))
        found += [(row["opened_at"], 2, _entered(row, row["qty"])) for row in entered if row["opened_at"] <= last]
        return [event for _, _, event in sorted(found, key=lambda each: each[:2])]

    async def _alert(self, bot: Bot, news: list[PositionOpened | PositionClosed]) -> None:
        now_ms = self._platform.wall_ms()
        for event in news:
            text = plain_of(event)
            if isinstance(event, PositionClosed) and self._loss_usdt and event.net <= -self._loss_usdt:
                key = f"large-loss:{bot.id}:{event.symbol}:{event.time:%Y%m%d%H%M%S}"
                await self._alerts.raise_alert(Alert(Level.WARNING, key, text, "Look at /trades.", bot.id), now_ms)
            elif self._every_trade:
                key = f"trade:{bot.id}:{event.symbol}:{type(event).__name__}:{event.time:%Y%m%d%H%M%S%f}"
                await self._alerts.raise_alert(Alert(Level.INFO, key, text, "", bot.id), now_ms)

    async def _change_of(self, row: BotStatus, moment: datetime | None) -> bool:
        """Report a bot's pauses, stops and starts, and the result of a finished day; True if anything changed."""
        bot = self._platform.registry.find(row.bot)
        changed = False
        before = self._state.states.get(row.bot)
        if before is not None and before != row.state.value:
            await self._tell(
                bot, [f"{bot.name} is now <b>{row.state.value}</b>. {escape(in_zone(row.note, self._platform.zone))}"]
            )
        if before != row.state.value:
            self._state.states[row.bot] = row.state.value
            changed = True
        day = f"{moment:%Y-%m-%d}" if moment is not None else ""
        ended = self._state.day.get(row.bot, "")
        if day and ended and day > ended:
            await self._tell(bot, [await self._day_result(row.bot, ended, unrealised_by_coin(row.positions))])
        if day and day > ended:
            self._state.day[row.bot] = day
            changed = True
        return changed

    async def _day_result(self, bot: str, day: str, unrealised: dict[str, Decimal]) -> str:
        rows = await self._platform.history.rows(
            SQL["day"],
            bot,
            datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).date(),
            [
                account.account_id
                for account in await current_accounts(self._platform, self._platform.registry.find(bot))
            ],
        )
        net: dict[str, Decimal] = {}
        for row in rows:
            coin = row.get("settle_coin", USDT)
            net[coin] = net.get(coin, ZERO) + row["net"]
        trips, wins = sum(row["round_trips"] for row in rows), sum(row["wins"] for row in rows)
        return f"📅 <b>{day}</b>: net <b>{said(net)}</b>, {trips} trades, {wins} won; open {said(unrealised)}."


def _level(stop: str) -> str:
    return number(Decimal(stop)).text if stop else "none"


def _entered(row: Any, qty: Decimal) -> PositionOpened:
    return PositionOpened(row["symbol"], row["direction"], qty, row["entry_price"], row["opened_at"])


def _left(row: Any) -> PositionClosed:
    return PositionClosed(
        row["symbol"],
        row["direction"],
        row["qty"],
        row["entry_price"],
        row["exit_price"],
        row["net"],
        row["return_pct"],
        row["exit_reason"],
        row["holding_time"],
        row["closed_at"],
    )


def _id(event: PositionOpened | PositionClosed) -> str:
    return f"{event.symbol}:{type(event).__name__}:{event.time.isoformat()}"


def plain_of(event: PositionOpened | PositionClosed) -> str:
    """One line about an entry or an exit."""
    if isinstance(event, PositionOpened):
        return f"Entered {event.symbol} {event.direction} {number(event.qty).text} at {number(event.price).text}."
    share = f" ({percent(event.return_pct, digits=2).text})" if event.return_pct is not None else ""
    return (
        f"Left {event.symbol} {event.direction} {number(event.qty).text}: {usdt(event.net).text} {settle_coin(event.symbol)}{share}, "
        f"{event.reason.replace('_', ' ')}, held {span(event.held).text}, "
        f"{number(event.entry).text} to {number(event.exit).text}."
    )


def line_of(event: PositionOpened | PositionClosed) -> str:
    """The same with an emoji, in Telegram's HTML."""
    mark = "🔵" if isinstance(event, PositionOpened) else "🟢" if event.net >= 0 else "🔴"
    return f"{mark} {escape(plain_of(event))}"

"""The daily summary: yesterday's result, open positions, and a chart of thirty days of equity."""

from datetime import time, timedelta

import msgspec

from alpha.errors import Rejected, Retry
from operations import analytics, history, history_pages, positions
from operations.business_time import business_now
from operations.coins import said
from operations.context import Operations
from operations.page import Curve, Page, Words
from operations.periods import parse_period
from operations.positions import unrealised_by_coin
from telegram_manager import layout
from telegram_manager.audience import Audience
from telegram_manager.chart_worker import ChartWorker
from telegram_manager.chat_ref import ChatRef
from telegram_manager.sender import TelegramSender
from telegram_manager.state_store import StateStore

STATE = "daily_summary"
MONDAY = 0


class SummaryState(msgspec.Struct):
    """The last day whose summary was due, and who has received it."""

    day: str = ""
    told: list[int] = []


class DailySummary:
    """Sends the summary once a day at `when`, in the operator's zone; a missed one is sent late, once per person."""

    def __init__(
        self,
        platform: Operations,
        memory: StateStore,
        audience: Audience,
        letters: TelegramSender,
        painter: ChartWorker,
        when: time,
    ) -> None:
        self._platform = platform
        self._memory = memory
        self._audience = audience
        self._letters = letters
        self._painter = painter
        self._when = when

    async def look(self) -> None:
        """Send the summary if it is due. While Telegram is unavailable it waits; delivery is recorded per person."""
        now = self._platform.wall_now().astimezone(self._platform.zone)
        state = await self._memory.load(STATE, SummaryState, SummaryState)
        today = now.date().isoformat()
        if not state.day:
            # the very first run: start with the next due time
            first = now.date() if now.time() >= self._when else now.date() - timedelta(days=1)
            await self._memory.save(STATE, SummaryState(first.isoformat(), self._people()))
            return
        if now.time() >= self._when and state.day < today:
            state = SummaryState(today)
            await self._memory.save(STATE, state)
        if state.day == today:
            await self.send(state)

    async def send(self, state: SummaryState) -> None:
        """Send it to everyone with alerts on who has not received it yet."""
        missing = [person for person in self._people() if person not in state.told]
        if not missing:
            return
        page, picture = await summary(self._platform)
        drawn = await self._painter.draw(picture) if picture is not None else None
        for person in missing:
            try:
                for text in layout.pages_of(page):
                    await self._letters.say(ChatRef(person), text, silent=True, life_s=None)
                if drawn is not None:
                    await self._letters.photo(ChatRef(person), drawn, page.title, silent=True, life_s=None)
            except Rejected as fault:
                await self._audience.unreachable(person, str(fault))
            state.told.append(person)
            await self._memory.save(STATE, state)

    def _people(self) -> list[int]:
        return self._audience.listening(self._platform.wall_ms())


async def summary(platform: Operations) -> tuple[Page, Curve | None]:
    """Return yesterday's page, and thirty days of equity if there are any."""
    now = await business_now(platform)
    yesterday = parse_period("yesterday", now)
    page = history_pages.performance_page(
        await analytics.performance(platform, None, yesterday), f"{yesterday.start:%Y-%m-%d}"
    )
    open_now = await positions.positions(platform)
    words = f"Open now: {len(open_now)} positions, {said(unrealised_by_coin(open_now))}."
    news = await _new_from_bybit(platform) if platform.wall_now().astimezone(platform.zone).weekday() == MONDAY else []
    month = parse_period("30d", now)
    picture = history_pages.equity_picture(await analytics.equity_curve(platform, None, month), month, platform.zone)
    shown = Page(f"Daily summary, {yesterday.start:%Y-%m-%d}", [*page.blocks, Words(words), *news], page.data)
    return shown, picture


async def _new_from_bybit(platform: Operations) -> list[Words]:
    """A sentence on what Bybit sent within the last week that its documents did not know; none where there is nothing."""
    try:
        rows = await history.drift(platform, 1_000, platform.wall_now() - timedelta(days=7))
    except Retry:
        # an older schema, or PostgreSQL is away: the summary does not wait for it
        return []
    if not rows:
        return []
    named = ", ".join(f"{row.kind} {row.name} ({row.place})" for row in rows[:5])
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return [Words(f"New from Bybit this week: {named}{more}. /drift lists it; nothing depends on it.")]

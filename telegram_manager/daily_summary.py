"""The daily summary with its chart, on Mondays the week's and on the first of a month the month's; and a quiet daily digest."""

from datetime import date, datetime, time, timedelta

import msgspec

from alpha.errors import Rejected, Retry
from operations import analytics, health, history, history_pages, pages, positions
from operations.business_time import business_now
from operations.coins import said
from operations.context import Operations
from operations.page import Block, Page, Picture, Tone, Words
from operations.periods import parse_period
from operations.positions import unrealised_by_coin
from telegram_manager import layout
from telegram_manager.audience import Audience
from telegram_manager.chart_worker import ChartWorker
from telegram_manager.chat_ref import ChatRef
from telegram_manager.sender import TelegramSender
from telegram_manager.state_store import StateStore

MONDAY = 0
KINDS = ("daily", "weekly", "monthly")


class SummaryState(msgspec.Struct):
    """The last day whose summary was due, and who has received it."""

    day: str = ""
    told: list[int] = []


class DailySummary:
    """Sends the summary once a day at `when`, in the operator's zone; a missed one is sent late, once per person."""

    state_name = "daily_summary"

    def __init__(
        self,
        platform: Operations,
        memory: StateStore,
        audience: Audience,
        letters: TelegramSender,
        painter: ChartWorker,
        when: time,
        kinds: tuple[str, ...] = ("daily",),
    ) -> None:
        """`kinds` are those of KINDS that are sent, each on its days."""
        self._platform = platform
        self._memory = memory
        self._audience = audience
        self._letters = letters
        self._painter = painter
        self._when = when
        self._kinds = kinds

    async def look(self) -> None:
        """Send the summary if it is due. While Telegram is unavailable it waits; delivery is recorded per person."""
        now = self._platform.wall_now().astimezone(self._platform.zone)
        state = await self._memory.load(self.state_name, SummaryState, SummaryState)
        today = now.date().isoformat()
        if not state.day:
            # the very first run: start with the next due time
            first = now.date() if now.time() >= self._when else now.date() - timedelta(days=1)
            await self._memory.save(self.state_name, SummaryState(first.isoformat(), self._people()))
            return
        if now.time() >= self._when and state.day < today:
            state = SummaryState(today)
            await self._memory.save(self.state_name, state)
        if state.day == today:
            await self.send(state)

    async def send(self, state: SummaryState) -> None:
        """Send it to everyone with alerts on who has not received it yet."""
        missing = [person for person in self._people() if person not in state.told]
        if not missing:
            return
        told = []
        for page, picture in await self.pages(date.fromisoformat(state.day)):
            told.append((page, await self._painter.draw(picture) if picture is not None else None))
        for person in missing:
            try:
                for page, drawn in told:
                    for text in layout.pages_of(page):
                        await self._letters.say(ChatRef(person), text, silent=True, life_s=None)
                    if drawn is not None:
                        await self._letters.photo(ChatRef(person), drawn, page.title, silent=True, life_s=None)
            except Rejected as fault:
                await self._audience.unreachable(person, str(fault))
            state.told.append(person)
            await self._memory.save(self.state_name, state)

    async def pages(self, day: date) -> list[tuple[Page, Picture | None]]:
        """Return what is due on this day."""
        due = [kind for kind in self._kinds if kind == "daily" or _begins(kind, day)]
        return [await summary(self._platform, kind) for kind in due]

    def _people(self) -> list[int]:
        return self._audience.listening(self._platform.wall_ms())


class Digest(DailySummary):
    """A quiet word once a day: that all is well, or what is not."""

    state_name = "digest"

    async def pages(self, day: date) -> list[tuple[Page, Picture | None]]:
        """Return one short page."""
        return [(await digest(self._platform), None)]


async def digest(platform: Operations) -> Page:
    """Return whether all is well: parts of the system, positions with stops, open issues, alerts of a day."""
    rows = await health.health(platform)
    ill = [row for row in rows if not row.well]
    held = await positions.positions(platform)
    bare = [f"{pages.short(row.bot)} {row.symbol}" for row in held if not row.stop_loss]
    open_issues = await history.issues(platform)
    since = platform.wall_now() - timedelta(days=1)
    urgent = [
        row for row in await health.alerts(platform, 100) if row.level in ("critical", "error") and row.time > since
    ]
    blocks: list[Block] = [Words(f"{row.part}: {row.detail}", Tone.BAD) for row in ill]
    if bare:
        blocks.append(Words(f"Without a stop: {', '.join(bare)}.", Tone.BAD))
    if open_issues:
        blocks.append(
            Words(f"{len(open_issues)} open differences between our books and the exchange's: /issues", Tone.WARN)
        )
    if urgent:
        blocks.append(Words(f"{len(urgent)} critical alerts within a day: /alerts", Tone.WARN))
    title = "All is well" if not blocks else "Not all is well"
    noun = "position" if len(held) == 1 else "positions"
    blocks.append(
        Words(f"{len(rows)} parts looked at, {len(held)} open {noun}, {said(unrealised_by_coin(held))}.", mark="")
    )
    return Page(title, blocks)


def _begins(kind: str, day: date) -> bool:
    return day.weekday() == 0 if kind == "weekly" else day.day == 1


async def summary(platform: Operations, kind: str = "daily") -> tuple[Page, Picture | None]:
    """Return the page of the last whole day, week or month, and a picture of it if there is something to draw."""
    now = await business_now(platform)
    if kind != "daily":
        return await _longer(platform, kind, now)
    yesterday = parse_period("yesterday", now)
    page = history_pages.performance_page(
        await analytics.performance(platform, None, yesterday), f"{yesterday.start:%Y-%m-%d}"
    )
    open_now = await positions.positions(platform)
    words = f"Open now: {len(open_now)} positions, {said(unrealised_by_coin(open_now))}."
    news = await _new_from_bybit(platform) if platform.wall_now().astimezone(platform.zone).weekday() == MONDAY else []
    # the chart begins where the text does
    curve = await analytics.equity_curve(platform, None, yesterday)
    picture = history_pages.equity_picture(curve, yesterday, platform.zone)
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


async def _longer(platform: Operations, kind: str, now: datetime) -> tuple[Page, Picture | None]:
    """The last whole week or month: bots side by side, and the net of each of its days."""
    period = parse_period("last week" if kind == "weekly" else "last month", now)
    found = history_pages.performance_page(await analytics.performance(platform, None, period), period.label)
    title = f"{kind.capitalize()} summary, {period.start:%Y-%m-%d} to {period.end - timedelta(days=1):%Y-%m-%d}"
    picture = history_pages.equity_picture(await analytics.equity_curve(platform, None, period), period, platform.zone)
    return Page(title, found.blocks, found.data), picture

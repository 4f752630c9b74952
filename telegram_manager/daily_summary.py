"""The daily summary: what yesterday brought, what is open, and the equity of thirty days as a picture."""

from datetime import time, timedelta

from alpha.errors import AlphaError
from alpha.logs import logger
from alpha.platform import analytics, history_pages, live
from alpha.platform.business_time import business_now
from alpha.platform.context import Platform
from alpha.platform.live import total_unrealised
from alpha.platform.page import Curve, Page, Words
from alpha.platform.periods import parse_period
from alpha.platform.wording import usdt
from telegram_manager import layout
from telegram_manager.audience import Audience
from telegram_manager.charts import Painter
from telegram_manager.letters import Letters
from telegram_manager.memory import Memory
from telegram_manager.place import Place

log = logger(__name__)
STATE = "daily_summary"


class DailySummary:
    """Sends the summary once a day at `when`, in the operator's zone; a missed one comes late, once."""

    def __init__(
        self, platform: Platform, memory: Memory, audience: Audience, letters: Letters, painter: Painter, when: time
    ) -> None:
        self._platform = platform
        self._memory = memory
        self._audience = audience
        self._letters = letters
        self._painter = painter
        self._when = when

    async def look(self) -> None:
        """Send it when it is due."""
        now = self._platform.wall_now().astimezone(self._platform.zone)
        due = now.date() if now.time() >= self._when else now.date() - timedelta(days=1)
        last = await self._memory.load(STATE, str, str)
        if last >= due.isoformat():
            return
        await self._memory.save(STATE, due.isoformat())
        # the very first day, and one that is long past, send nothing
        if last and now.date() == due:
            await self.send()

    async def send(self) -> None:
        """Send it now to everyone with alerts on."""
        page, picture = await summary(self._platform)
        drawn = await self._painter.draw(picture) if picture is not None else None
        for person in self._audience.wanting("info", self._platform.wall_ms()):
            try:
                for text in layout.pages_of(page):
                    await self._letters.say(Place(person), text, silent=True)
                if drawn is not None:
                    await self._letters.photo(Place(person), drawn, page.title)
            except AlphaError as fault:
                log.warning("summary_not_delivered", person=person, fault=str(fault))


async def summary(platform: Platform) -> tuple[Page, Curve | None]:
    """The page of yesterday, and the equity of thirty days when there is any."""
    now = await business_now(platform)
    yesterday = parse_period("yesterday", now)
    page = history_pages.performance_page(
        await analytics.performance(platform, None, yesterday), f"{yesterday.start:%Y-%m-%d}"
    )
    open_now = await live.positions(platform)
    words = f"Open now: {len(open_now)} positions, {usdt(total_unrealised(open_now)).text} USDT."
    month = parse_period("30d", now)
    points = history_pages.analytics_page(
        analytics.Analytics(month, [], [], [], await analytics.equity_curve(platform, None, month))
    ).picture
    shown = Page(f"Daily summary, {yesterday.start:%Y-%m-%d}", [*page.blocks, Words(words)], page.data)
    return shown, points if isinstance(points, Curve) else None

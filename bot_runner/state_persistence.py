"""The bot's state in memory, and its way to PostgreSQL."""

from collections import deque

from alpha.alerts import Alert, Alerts, Level
from alpha.clock import wall_ms
from alpha.errors import Retry
from alpha.lease import Lease
from alpha.logs import logger
from alpha.model.account import Account
from alpha.registry import Bot
from bot_runner.fenced_alerts import raise_under_lease
from bot_runner.order_intents import OrderIntent
from bot_runner.state import BotState, RuntimeState
from bot_runner.store import Store

log = logger(__name__)
SENT_KEPT = 20_000
INTENTS_KEPT = 1_000
#: Reasons of orders that are written again after PostgreSQL was away.
INTENTS_AGAIN = 200


class StatePersistence:
    """Saves what must outlive the process. While PostgreSQL is unavailable nothing is saved and no entry is sent."""

    def __init__(self, bot: Bot, store: Store, account: Account, lease: Lease, state: BotState, alerts: Alerts) -> None:
        self.bot = bot
        self.store = store
        self.account = account
        self.lease = lease
        self.state = state
        self.alerts = alerts
        self.durable = True
        self._sent = dict.fromkeys(state.runtime.sent)
        self._intents: list[OrderIntent] = []
        self._newest: deque[OrderIntent] = deque(maxlen=INTENTS_AGAIN)
        self._outages = lease.outages

    @property
    def runtime(self) -> RuntimeState:
        """The runtime's own part of the state."""
        return self.state.runtime

    def note_sent(self, link_id: str) -> None:
        """Remember the id of an order that is about to be sent."""
        self.runtime.note_sent(link_id)
        self._sent[link_id] = None
        if len(self._sent) > SENT_KEPT:
            del self._sent[next(iter(self._sent))]

    def note_intent(self, intent: OrderIntent) -> None:
        """Why an order is about to be sent: written with the next save. While PostgreSQL is unavailable the newest are kept."""
        self._intents = [*self._intents[-INTENTS_KEPT:], intent]
        self._newest.append(intent)

    def has_sent(self, link_id: str) -> bool:
        """True for an order of this process, and for the newest of earlier ones."""
        return link_id in self._sent

    async def save(self) -> bool:
        """Make the state durable. False while PostgreSQL is unavailable; LeaseLost when another process has taken over."""
        try:
            await self.store.save(self.account, self.lease.token, self.state.rows())
            if self._intents:
                await self.store.record(self.account, self._intents)
                self._intents = []
        except Retry as fault:
            if self.durable:
                await self.warn(
                    "state_not_saved",
                    f"{self.bot.name} cannot save its state: {fault}",
                    "Exits continue. Entries wait until PostgreSQL is back.",
                    lasting=True,
                )
            self.durable = False
            return False
        if not self.durable:
            log.info("state_saved_again")
        self.durable = True
        await self.over("state_not_saved")
        return True

    async def keep_up(self) -> None:
        """Rewrite everything after an outage of PostgreSQL: restored or failed over, it may have lost confirmed writes."""
        if self.lease.outages != self._outages:
            self._outages = self.lease.outages
            self.store.forget()
            self._intents = [*self._newest]
            await self.save()

    async def pause(self, why: str, remedy: str = "Look at it, then /resume the bot.") -> None:
        """Let no entry through until resumed; durable."""
        self.runtime.paused = why
        await self.save()
        await self.warn("paused", f"{self.bot.name} is paused: {why}", remedy, lasting=True)

    async def warn(
        self, key: str, text: str, remedy: str = "", level: Level = Level.WARNING, *, lasting: bool = False
    ) -> None:
        """An alert of this bot; the same one at most once a minute. LeaseLost when another process has taken over."""
        alert = Alert(level, f"{self.bot.id}:{key}", text, remedy, self.bot.id, lasting)
        await raise_under_lease(self.alerts, self.lease, alert)

    async def over(self, key: str) -> None:
        """What `warn` has told under this key, in this process or in one before it, has ended."""
        await self.alerts.resolve(f"{self.bot.id}:{key}", wall_ms(), bot=self.bot.id)

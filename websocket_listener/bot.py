"""One bot of the list: whose account its key is, the lease on that account, and recording it while the lease is held."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping

import asyncpg
from redis.exceptions import RedisError

from alpha.alerts import Alert, Level
from alpha.bybit.client import Gateway
from alpha.bybit.errors import KeyRefused
from alpha.bybit.hosts import Hosts
from alpha.bybit.session import Credentials
from alpha.clock import wall_ms
from alpha.config.keys import BotKeys, read_only_advice
from alpha.errors import AlphaError, Misconfigured
from alpha.lease import LeaseLost
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.logs import logger
from alpha.model.account import Account
from alpha.postgres.database import POSTGRES_ERRORS
from alpha.registry import Bot
from websocket_listener.account_recorder import AccountRecorder, BotAccess, GivenUp, Shared
from websocket_listener.lease import take
from websocket_listener.redis_writer import Change
from websocket_listener.refusals import refused_key
from websocket_listener.restarted import first_line, restarted
from websocket_listener.status import BotStatus
from websocket_listener.store import register_account

log = logger(__name__)

#: SQLSTATE of trading.register_account for an account that belongs to another bot.
_ACCOUNT_TAKEN = "AL001"
_IDENTIFY_AGAIN_S = 10.0
#: An identification that fails for so long is an alert.
_UNIDENTIFIED_S = 60.0
#: A pause before an account begins anew after a fault that nobody foresaw.
_BEGIN_AGAIN_S = 5.0


class AccountTaken(Misconfigured):
    """The keys of two bots belong to one account."""


class BotListener:
    """Identifies one bot's account, takes its lease and has it recorded, again and again until cancelled.

    What an account has only while it is recorded is in its `AccountRecorder`, in `Shared.recorders`.
    """

    def __init__(
        self, bot: Bot, bot_keys: BotKeys, hosts: Hosts, links: RedisClients, shared: Shared, place: int
    ) -> None:
        """`place` is the bot's among all of the list."""
        self.bot = bot
        credentials = Credentials(
            bot_keys.bybit_api_key.get_secret_value(), bot_keys.bybit_api_secret.get_secret_value()
        )
        self.gateway = Gateway(hosts, credentials, shared.throttle, account=bot.id)
        self._access = BotAccess(place, hosts, credentials, self.gateway, links.of(bot), links.writer(bot.redis_db))
        self._shared = shared
        self._forget()

    def _forget(self) -> None:
        """Know nothing of the account: another listener may have recorded it meanwhile."""
        self._shared.recorders.pop(self.bot.id, None)
        self._unidentified_status = BotStatus(_not_written, valid_s=self._shared.audits.valid_s)
        self._unannounced: deque[Change] = deque(maxlen=keys.EVENTS_KEPT)

    # -- in either phase ----------------------------------------------------------------------------------------

    @property
    def status(self) -> BotStatus:
        """The bot's status: the recorded account's, or that nothing is recorded and why."""
        recorder = self._shared.recorders.get(self.bot.id)
        return self._unidentified_status if recorder is None else recorder.status

    @property
    def recorded_here(self) -> bool:
        """Whether this listener holds the account's lease."""
        recorder = self._shared.recorders.get(self.bot.id)
        return recorder is not None and recorder.holds_lease

    @property
    def holds(self) -> bool:
        """Whether the account has positions, as far as this listener knows."""
        recorder = self._shared.recorders.get(self.bot.id)
        return recorder is not None and recorder.holds

    def release(self) -> None:
        """Stop recording the account and give its lease back, so that another listener takes it at once."""
        recorder = self._shared.recorders.get(self.bot.id)
        if recorder is not None:
            recorder.release()

    def announce(self, event: Change) -> None:
        """Publish this event to the bot, once the account is recorded."""
        recorder = self._shared.recorders.get(self.bot.id)
        if recorder is None:
            self._unannounced.append(event)
        else:
            recorder.live.put(event)

    # -- recording ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Listen until cancelled. A fault that nobody foresaw is this account's, and so is a lease that another listener
        has taken: it begins anew, the others go on."""
        await restarted(self._attempt, self._fault, _BEGIN_AGAIN_S)

    async def _attempt(self) -> None:
        """Identify the account, take its lease, then record it until cancelled, given up or failed."""
        self._forget()
        shared = self._shared
        held = await self._held_positions(otherwise=False)
        account = await self._identified(held=held)
        lease = shared.leases.of_account(account.id, f"the account {account}")
        await take(lease, shared.attempt)
        held = await self._held_positions(otherwise=held)
        recorder = AccountRecorder(
            *(account, lease, self._access, shared), held_before=held, unannounced=self._unannounced
        )
        shared.recorders[self.bot.id] = recorder
        try:
            await recorder.run()
        finally:
            # every task of the account has ended: nothing renews the lease any more
            if recorder.given_up:
                shared.recorders.pop(self.bot.id, None)
                await lease.give_back()

    def _fault(self, fault: Exception) -> None:
        """Say that this account is not listened to for a moment, and why."""
        bot = self.bot.id
        if first_line(fault).startswith(GivenUp.__name__):
            log.info("account_given_up", bot=bot)
            return
        if first_line(fault).startswith(LeaseLost.__name__):
            log.warning("account_taken_over", bot=bot)
            return
        log.error("account_fault", bot=bot, exc_info=fault)
        self.status.gap("fault", "internal error of the listener; restarting")
        text = f"Listening to {bot} failed with an internal error and restarts: {first_line(fault)}"

        def alert(count: int, about: list[str]) -> Alert:
            return Alert(Level.CRITICAL, f"fault:{bot}", text, "Look at the listener's log and report it.", bot)

        self._shared.grouped.note(f"fault:{bot}", alert)

    async def _held_positions(self, *, otherwise: bool) -> bool:
        """Whether the account had positions when it was last heard of: such accounts are connected and audited first.
        `otherwise` while Redis does not answer."""
        try:
            return bool(await self._access.redis.smembers(keys.positions(self.bot.id)))
        except (RedisError, OSError, TimeoutError):
            return otherwise

    # -- whose account it is ------------------------------------------------------------------------------------

    async def identify(self) -> Account:
        """Ask the exchange whose key this is and PostgreSQL which number that account has.

        Raises AccountTaken when the account belongs to another bot, KeyRefused when the key is not accepted, and the
        passing errors of both.
        """
        info = await self.gateway.key_info()
        environment = self._access.hosts.environment
        if info.can_trade:
            log.warning("key_may_trade", bot=self.bot.id, remedy=read_only_advice(self.bot))
        try:
            async with self._shared.pool.acquire(timeout=5.0) as connection:
                number = await register_account(connection, environment, info.user_id, self.bot.id)
        except asyncpg.PostgresError as fault:
            if getattr(fault, "sqlstate", "") == _ACCOUNT_TAKEN:
                raise AccountTaken(str(fault)) from None
            raise
        return Account(number, self.bot.id, environment, info.user_id)

    async def _identified(self, *, held: bool) -> Account:
        """The account, once it is known. A refused key is tried again: it may be restored."""
        began_s, alerted = time.monotonic(), False
        while True:
            try:
                async with self._shared.audits.turn(holds=held):
                    account = await self.identify()
            except AccountTaken as fault:
                await self._refuse(str(fault))
                # nothing but another key helps, and that needs a restart
                await asyncio.Event().wait()
            except KeyRefused as fault:
                await self._refuse(str(fault))
            except (AlphaError, *POSTGRES_ERRORS) as fault:
                log.warning("not_identified", bot=self.bot.id, why=f"{type(fault).__name__}: {fault}"[:300])
                if not alerted and time.monotonic() - began_s >= _UNIDENTIFIED_S:
                    alerted = True
                    await self._alert_unidentified(fault)
            else:
                self.status.refused = ""
                for key in (f"key:{self.bot.id}", f"unidentified:{self.bot.id}"):
                    await self._shared.alerts.resolve(key, wall_ms(), bot=self.bot.id)
                return account
            await asyncio.sleep(_IDENTIFY_AGAIN_S)

    async def _alert_unidentified(self, fault: Exception) -> None:
        """The account behind the key could not be learnt for a while: nothing of it is recorded meanwhile."""
        text = f"{self.bot.id} is not listened to: its account is not known, because {first_line(fault)}"
        remedy = "It is tried again. Nothing of it is recorded meanwhile; what happens is read afterwards."
        alert = Alert(Level.CRITICAL, f"unidentified:{self.bot.id}", text, remedy, self.bot.id, lasting=True)
        await self._shared.alerts.raise_alert(alert, wall_ms())

    async def _refuse(self, why: str) -> None:
        """This bot cannot be listened to: say so in its status and to the operator."""
        news = not self.status.refused
        self.status.refused = why
        self.status.beat()
        # nobody's live state: no listener can hold an account that is not known
        await self._write_status(self.status.fields())
        if news:
            await self._shared.alerts.raise_alert(refused_key(self.bot.id, why), wall_ms())

    async def _write_status(self, fields: Mapping[str, str]) -> None:
        """Write these fields of the status by themselves, while no live state is written."""
        try:
            await self._shared.leases.may_write_public()
            await self._access.redis.hset(keys.status(self.bot.id), mapping=fields)
        except (RedisError, OSError, TimeoutError, AlphaError) as fault:
            log.info("status_not_written", bot=self.bot.id, why=type(fault).__name__)


def _not_written(change: Change) -> None:
    """Live state is written under a lease only."""

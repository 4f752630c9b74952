"""Settings of an account that change what its figures mean: read at the start and daily, an alert when one changes."""

import asyncio

import asyncpg

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alert, Level
from alpha.bybit.client import Gateway
from alpha.errors import AlphaError, Rejected
from alpha.logs import logger
from alpha.model.account import Account
from alpha.postgres.database import POSTGRES_ERRORS, Pool
from alpha.postgres.sql import queries

SQL = queries(__file__)

log = logger(__name__)

_EVERY_S = 86_400.0
_AGAIN_S = 60.0
FEES_IN_MNT, MARGIN_MODE = "fees_in_mnt", "margin_mode"
_MEANS = {
    (
        FEES_IN_MNT,
        "on",
    ): "trading fees are paid in MNT from now on: they are booked in MNT and are not in fees and net.",
    (FEES_IN_MNT, "off"): "trading fees are paid in the settle coin from now on.",
}


class AccountSettingsWatch:
    """Watches one account's settings."""

    def __init__(self, account: Account, gateway: Gateway, pool: Pool, alerts: AlertBatcher) -> None:
        self._account = account
        self._gateway = gateway
        self._pool = pool
        self._alerts = alerts

    async def run(self) -> None:
        """Read until cancelled; a read that fails is repeated a minute later."""
        while True:
            pause_s = _EVERY_S
            try:
                await self.read()
            except asyncpg.UndefinedTableError:
                log.info("settings_not_kept", why="the database waits for its migration")
            except (AlphaError, *POSTGRES_ERRORS) as fault:
                log.info("settings_not_read", bot=self._account.bot_id, why=f"{type(fault).__name__}: {fault}"[:300])
                pause_s = _AGAIN_S
            await asyncio.sleep(pause_s)

    async def read(self) -> None:
        """Read and keep them once. Raises the gateway's and asyncpg's errors."""
        found = {MARGIN_MODE: (await self._gateway.account_info()).margin_mode}
        try:
            found[FEES_IN_MNT] = "on" if await self._gateway.fees_in_mnt() else "off"
        except Rejected as fault:
            # demo trading does not have the call
            log.info("fees_in_mnt_not_told", bot=self._account.bot_id, why=str(fault)[:200])
        for name, value in found.items():
            async with self._pool.acquire(timeout=5.0) as connection:
                before = await connection.fetchval(SQL["keep"], self._account.id, name, value)
            if before is not None and before != value:
                self._tell(name, before, value)

    def _tell(self, name: str, before: str, value: str) -> None:
        bot = self._account.bot_id
        means = _MEANS.get((name, value), f"{name} was {before} and is {value} now.")

        def alert(count: int, about: list[str]) -> Alert:
            remedy = "If nobody changed it on purpose, look at the account's settings on the exchange."
            return Alert(Level.WARNING, f"account_setting:{name}:{bot}", f"{bot}: {means}", remedy, bot)

        self._alerts.note(f"account_setting:{name}:{bot}", alert)

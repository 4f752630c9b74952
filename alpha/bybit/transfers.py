"""Detects transfers: reads an account's ledger whenever its balance has moved, before equity is judged."""

from decimal import Decimal

from alpha.bybit.client import Gateway
from alpha.bybit.models import TransactionLogRow
from alpha.bybit.rate_limiter import Priority
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.errors import Retry
from alpha.logs import logger
from alpha.model.coin import USDT
from alpha.model.money import ZERO, plain

log = logger(__name__)
#: How long the ledger may take to show a balance change, in milliseconds of wall time.
EXPLAINED_MS = 5_000
#: Rounding tolerance between a balance and its ledger, in USDT.
_ROUNDING = Decimal("0.01")
_TYPES = frozenset({"TRANSFER_IN", "TRANSFER_OUT"})
_FOUR_WEEKS_MS = 28 * 86_400_000


class TransferWatch:
    """Watches one account's balance. A transfer is neither profit nor loss, so equity references move with it."""

    def __init__(
        self,
        gateway: Gateway,
        since_ms: int = 0,
        *,
        rank: Priority,
        coin: str = USDT,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Watch one settle coin. `since_ms` is up to when the previous process read the ledger; 0 for never."""
        self._coin = coin
        #: Time up to which the ledger was read, in exchange time; the caller persists it. 0 before the first read.
        self.since_ms = since_ms
        self._gateway = gateway
        self._rank = rank
        self._clock = clock
        self._balance: Decimal | None = None
        #: The newest rows that this process has read: others of the same millisecond may still come.
        self._known: set[TransactionLogRow] | None = None
        self._unexplained_ms: int | None = None

    async def see(self, wallet_balance: Decimal, now_ms: int, *, small: Decimal = ZERO) -> Decimal:
        """Record the balance at exchange time `now_ms`; returns the transfers since the last call, deposits positive.

        A change of at most `small` is left for a later call. Raises Retry (do not judge equity) while the ledger
        cannot be read or does not explain the balance yet: a transfer it does not show would be judged as profit
        or loss. After EXPLAINED_MS the balance is accepted as it is.
        """
        if self._balance is not None and abs(wallet_balance - self._balance) <= small:
            return ZERO
        if not self.since_ms:
            # The balance before the first call is the starting point.
            self._known = set(await self._read(now_ms, now_ms))
            self.since_ms, self._balance = now_ms, wallet_balance
            return ZERO
        known = self._known
        rows = await self._read(self.since_ms if known is not None else self.since_ms + 1, now_ms)
        fresh = [row for row in rows if known is None or row not in known]
        changed = sum((row.change for row in fresh), ZERO)
        unexplained = ZERO if self._balance is None else wallet_balance - self._balance - changed
        if abs(unexplained) > max(_ROUNDING, small):
            self._wait(unexplained)
        newest_ms = max((row.time_ms for row in rows), default=self.since_ms)
        self._known = {row for row in rows if row.time_ms == newest_ms}
        self.since_ms, self._balance = newest_ms, wallet_balance
        self._unexplained_ms = None
        moved = sum((row.change for row in fresh if row.type in _TYPES), ZERO)
        if moved:
            log.info("transfer_seen", account=self._gateway.account, usdt=plain(moved))
        return moved

    async def _read(self, begin_ms: int, now_ms: int) -> list[TransactionLogRow]:
        """The ledger since `begin_ms`, at most four weeks of it."""
        begin_ms = max(begin_ms, now_ms - _FOUR_WEEKS_MS)
        rows: list[TransactionLogRow] = []
        if begin_ms <= now_ms:
            async for page in self._gateway.transaction_log(begin_ms, now_ms + 1, currency=self._coin, rank=self._rank):
                rows.extend(page.rows)
        return rows

    def _wait(self, unexplained: Decimal) -> None:
        """Raise Retry until the ledger has had EXPLAINED_MS."""
        now_ms = self._clock.monotonic_ms()
        if self._unexplained_ms is None:
            self._unexplained_ms = now_ms
        if now_ms - self._unexplained_ms < EXPLAINED_MS:
            raise Retry(f"The ledger does not explain {plain(unexplained)} {self._coin} of the balance yet.")
        log.warning("balance_not_explained", account=self._gateway.account, usdt=plain(unexplained))

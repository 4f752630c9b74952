"""Money in or out of the account: neither profit nor loss, so the limits' references move with it."""

from collections.abc import Callable
from decimal import Decimal

from alpha.bybit.gateway import Gateway
from alpha.bybit.rows import TransactionLogRow
from alpha.bybit.throttle import Rank
from alpha.clock import monotonic_ms
from alpha.errors import Retry
from alpha.logs import logger
from alpha.money import ZERO, plain
from alpha.runtime.state import RuntimeState
from alpha.strategy.limits import LimitBook

log = logger(__name__)
#: How long the ledger may take to show what has changed a balance, in milliseconds of wall time.
EXPLAINED_MS = 5_000
#: What rounding may leave between a balance and its ledger, in USDT.
_ROUNDING = Decimal("0.01")
_TYPES = frozenset({"TRANSFER_IN", "TRANSFER_OUT"})
_WEEK_MS = 7 * 86_400_000


class Transfers:
    """Reads the account's ledger whenever its balance has changed, before equity is judged."""

    def __init__(
        self,
        gateway: Gateway,
        runtime: RuntimeState,
        limits: LimitBook,
        monotonic: Callable[[], int] = monotonic_ms,
    ) -> None:
        self._gateway = gateway
        self._runtime = runtime
        self._limits = limits
        self._monotonic = monotonic
        self._balance: Decimal | None = None
        #: The newest lines that this process has read: others of the same millisecond may still come.
        self._known: set[TransactionLogRow] | None = None
        self._unexplained_ms: int | None = None

    async def see(self, wallet_balance: Decimal, now_ms: int) -> bool:
        """Note the balance at business time `now_ms`. True when money was moved: equity is to be read anew then.

        Retry, and equity is not judged, while the ledger cannot be read, or does not explain the balance yet: a transfer
        that it does not show would be judged as profit or loss.
        """
        if wallet_balance == self._balance:
            return False
        since_ms = self._runtime.transfers_ms
        if not since_ms:
            # Where the account was before this bot began is its starting point.
            self._known = set(await self._read(now_ms, now_ms))
            self._runtime.transfers_ms = now_ms
            self._balance = wallet_balance
            return False
        known = self._known
        rows = await self._read(since_ms if known is not None else since_ms + 1, now_ms)
        fresh = [row for row in rows if known is None or row not in known]
        moved = sum((row.change for row in fresh if row.type in _TYPES), ZERO)
        changed = sum((row.change for row in fresh), ZERO)
        unexplained = ZERO if self._balance is None else wallet_balance - self._balance - changed
        if abs(unexplained) > _ROUNDING:
            self._wait(unexplained)
        if moved:
            self._limits.transfer(moved)
            log.info("transfer_seen", usdt=plain(moved))
        newest_ms = max((row.time_ms for row in rows), default=since_ms)
        self._known = {row for row in rows if row.time_ms == newest_ms}
        self._runtime.transfers_ms = newest_ms
        self._balance = wallet_balance
        self._unexplained_ms = None
        return moved != 0

    async def _read(self, begin_ms: int, now_ms: int) -> list[TransactionLogRow]:
        """The ledger from `begin_ms` on; at most four weeks of it."""
        begin_ms = max(begin_ms, now_ms - 4 * _WEEK_MS)
        rows: list[TransactionLogRow] = []
        if begin_ms <= now_ms:
            async for page in self._gateway.transaction_log(begin_ms, now_ms + 1, rank=Rank.ENTRY):
                rows.extend(page.rows)
        return rows

    def _wait(self, unexplained: Decimal) -> None:
        """Retry, until the ledger has had its time."""
        now_ms = self._monotonic()
        if self._unexplained_ms is None:
            self._unexplained_ms = now_ms
        if now_ms - self._unexplained_ms < EXPLAINED_MS:
            raise Retry(f"The ledger does not explain {plain(unexplained)} USDT of the balance yet.")
        log.warning("balance_not_explained", usdt=plain(unexplained))

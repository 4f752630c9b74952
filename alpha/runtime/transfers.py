"""Money in or out of the account: neither profit nor loss, so the limits' references move with it."""

from decimal import Decimal

from alpha.bybit.gateway import Gateway
from alpha.bybit.throttle import Rank
from alpha.logs import logger
from alpha.money import ZERO, plain
from alpha.runtime.state import RuntimeState
from alpha.strategy.limits import LimitBook

log = logger(__name__)
_TYPES = frozenset({"TRANSFER_IN", "TRANSFER_OUT"})
_WEEK_MS = 7 * 86_400_000


class Transfers:
    """Reads the account's ledger whenever its balance has changed, before equity is judged."""

    def __init__(self, gateway: Gateway, runtime: RuntimeState, limits: LimitBook) -> None:
        self._gateway = gateway
        self._runtime = runtime
        self._limits = limits
        self._balance: Decimal | None = None

    async def see(self, wallet_balance: Decimal, now_ms: int) -> None:
        """Note the balance at business time `now_ms`. Retry when the ledger cannot be read: equity is not judged then."""
        if wallet_balance == self._balance:
            return
        since_ms = self._runtime.transfers_ms
        if not since_ms:
            self._runtime.transfers_ms = now_ms
            self._balance = wallet_balance
            return
        total = ZERO
        newest_ms = since_ms
        begin_ms = max(since_ms + 1, now_ms - 4 * _WEEK_MS)
        if begin_ms <= now_ms:
            async for page in self._gateway.transaction_log(begin_ms, now_ms + 1, rank=Rank.ENTRY):
                for row in page.rows:
                    newest_ms = max(newest_ms, row.time_ms)
                    if row.type in _TYPES:
                        total += row.change
        if total:
            self._limits.transfer(total)
            log.info("transfer_seen", usdt=plain(total))
        self._runtime.transfers_ms = newest_ms
        self._balance = wallet_balance

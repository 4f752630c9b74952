"""Money in or out of the account: neither profit nor loss, so the limits' references move with it."""

from decimal import Decimal

from alpha.bybit.client import Gateway
from alpha.bybit.rate_limiter import Priority
from alpha.bybit.transfers import TransferWatch
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.strategy.risk_limits import RiskLimits
from bot_runner.state import RuntimeState


class Transfers:
    """Reads the account's ledger whenever its balance has changed, before equity is judged."""

    def __init__(
        self,
        gateway: Gateway,
        runtime: RuntimeState,
        limits: RiskLimits,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._runtime = runtime
        self._limits = limits
        self._watch = TransferWatch(gateway, runtime.transfers_ms, rank=Priority.ENTRY, clock=clock)

    async def see(self, wallet_balance: Decimal, now_ms: int) -> bool:
        """Note the balance at business time `now_ms`. True when money was moved: equity is to be read anew then.

        Raises Retry, and equity is not judged, while the ledger does not explain the balance.
        """
        moved = await self._watch.see(wallet_balance, now_ms)
        self._runtime.transfers_ms = self._watch.since_ms
        if moved:
            self._limits.transfer(moved)
        return moved != 0

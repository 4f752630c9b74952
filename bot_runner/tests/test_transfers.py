"""Money in or out, seen before or after the ledger shows it; the simulated exchange's ledger never lags, so it is scripted."""

from decimal import Decimal

import pytest

from alpha.bybit.transfers import EXPLAINED_MS
from alpha.clock import Clock
from alpha.errors import Retry
from alpha.strategy.risk_limits import RiskLimits
from alpha.strategy.risk_rules import Action, LossLimit, Until, Window
from bot_runner.state import RuntimeState
from bot_runner.transfers import Transfers
from tests.support import bybit_samples
from tests.support.clocks import HandClock
from tests.support.faulty_exchange import FaultyExchange, Reply, faulty_exchange, gateway_to, ok

D = Decimal
NOW = 1_700_000_000_000
LIMIT = LossLimit(Window.DRAWDOWN, D("0.1"), Action.NO_ENTRIES, Until.RESUMED)


def ledger(*rows: tuple[str, str]) -> Reply:
    """Lines of this type and change, a second apart."""
    return timed(*((kind, change, number) for number, (kind, change) in enumerate(rows, 1)))


def timed(*rows: tuple[str, str, int]) -> Reply:
    """Lines of this type and change, so many seconds after the beginning."""
    lines = [
        {**bybit_samples.TRANSACTION, "type": kind, "change": change, "transactionTime": str(NOW + 1_000 * second)}
        for kind, change, second in rows
    ]
    return ok({"list": lines, "nextPageCursor": ""})


class Account:
    """An account with 1,000 USDT whose limits have seen it."""

    def __init__(self, exchange: FaultyExchange) -> None:
        self.book = RiskLimits((LIMIT,), None)
        self.book.see(NOW, D(1000), D(0))
        self.runtime = RuntimeState(transfers_ms=NOW)
        self.clock: HandClock = exchange.clock
        self.gateway = gateway_to(exchange)
        self.transfers = Transfers(self.gateway, self.runtime, self.book, Clock(monotonic_ms=self.clock.now_ms))

    async def see(self, balance: str) -> bool:
        return await self.transfers.see(D(balance), NOW + 60_000)

    @property
    def peak(self) -> Decimal:
        return self.book.state.references[Window.DRAWDOWN]


async def test_a_withdrawal_moves_the_references_and_asks_for_equity_anew() -> None:
    async with faulty_exchange() as exchange:
        exchange.script("account/transaction-log", ledger(), ledger(("TRANSFER_OUT", "-400"), ("TRADE", "-1")))
        account = Account(exchange)
        assert not await account.see("1000")
        assert await account.see("599")
        assert account.peak == D(600)
        assert account.book.see(NOW, D(599), D(0)) == []
        await account.gateway.close()


async def test_equity_is_not_judged_while_the_ledger_does_not_show_what_moved_the_balance() -> None:
    async with faulty_exchange() as exchange:
        exchange.script("account/transaction-log", ledger(), ledger(), ledger(("TRANSFER_OUT", "-400")))
        account = Account(exchange)
        await account.see("1000")
        with pytest.raises(Retry, match="-400 USDT"):
            await account.see("600")
        assert account.peak == D(1000)
        assert await account.see("600")
        assert account.peak == D(600)
        await account.gateway.close()


async def test_a_line_of_the_same_millisecond_as_one_that_was_read_counts_once() -> None:
    first, second = ("TRADE", "-1", 5), ("TRANSFER_OUT", "-400", 5)
    async with faulty_exchange() as exchange:
        exchange.script("account/transaction-log", ledger(), timed(first), timed(first, second))
        account = Account(exchange)
        await account.see("1000")
        assert not await account.see("999")
        assert await account.see("599")
        assert account.peak == D(600)
        assert account.runtime.transfers_ms == NOW + 5_000
        await account.gateway.close()


async def test_a_balance_that_stays_unexplained_is_judged_after_all() -> None:
    async with faulty_exchange() as exchange:
        exchange.script("account/transaction-log", ledger())
        account = Account(exchange)
        await account.see("1000")
        with pytest.raises(Retry):
            await account.see("600")
        account.clock.ms += EXPLAINED_MS
        assert not await account.see("600")
        assert account.book.see(NOW, D(600), D(0)) != []
        await account.gateway.close()


async def test_a_trade_alone_is_profit_or_loss() -> None:
    async with faulty_exchange() as exchange:
        exchange.script("account/transaction-log", ledger(), ledger(("TRADE", "-150"), ("SETTLEMENT", "0.5")))
        account = Account(exchange)
        await account.see("1000")
        assert not await account.see("850.5")
        assert account.peak == D(1000)
        await account.gateway.close()

"""What is written anew after PostgreSQL was away, and what a bot says that was replaced."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

import pytest

from alpha.alerts import Alert, Alerts
from alpha.clock import Clock
from alpha.errors import Retry
from alpha.lease import Grant, Lease, LeaseLost
from alpha.model.account import Account, Environment
from alpha.registry import Bot, load_registry
from alpha.strategy.base import StrategyState
from bot_runner.order_intents import OrderIntent
from bot_runner.state import new_state
from bot_runner.state_persistence import StatePersistence
from bot_runner.store import Store
from tests.support.world import ROOT


class Row:
    """A lease's row that answers, or does not."""

    away = False
    ours = True

    async def acquire(self, _holder: str, _seconds: float) -> Grant | None:
        return Grant(7, handed_over=True)

    async def renew(self, _holder: str, _token: int, _seconds: float) -> bool:
        if self.away:
            raise Retry("away")
        return self.ours

    async def release(self, _holder: str, _token: int) -> None:
        return None

    async def holder(self) -> str:
        return ""


class Told(Alerts):
    """Alerts that are kept here."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.lasting: list[bool] = []
        self.over: list[str] = []

    async def raise_alert(self, alert: Alert, now_ms: int, *, again_after_ms: int = 0) -> None:
        self.texts.append(alert.text)
        self.lasting.append(alert.lasting)

    async def resolve(self, key: str, now_ms: int, *, bot: str = "") -> None:
        self.over.append(key)


class Rows(Store):
    """A store whose rows are here."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._saved = {}
        self._served = True
        self.rows_there: dict[str, object] = {}
        self.intents_there: list[str] = []
        self.away = False

    async def _fetch(self, sql: str, *arguments: object) -> Any:
        if self.away:
            raise Retry("PostgreSQL is away.")
        if "strategy_state" in sql:
            names, states = cast(Sequence[Any], arguments[3]), cast(Sequence[Any], arguments[4])
            self.rows_there |= dict(zip(names, states, strict=True))
        else:
            self.intents_there += cast(list[str], arguments[2])
        return []


async def test_what_postgres_lost_while_it_was_away_is_written_anew() -> None:
    bot = load_registry(ROOT / "bots.toml").find("shortseller_001")
    row, store = Row(), Rows(bot)
    lease = Lease(row, 10.0, what="an account")
    assert await lease.try_take()
    journal = StatePersistence(
        bot, store, Account(1, bot.id, Environment.SIMULATED, "1"), lease, new_state(StrategyState), Told()
    )
    intent = OrderIntent(
        *("ss-en-x", "BTCUSDT", 0, "enter", "market", "Buy", Decimal(1), None, "", "entry", "", None, 0)
    )
    journal.note_intent(intent)
    await journal.save()
    kept = dict(store.rows_there)
    await journal.keep_up()
    assert store.intents_there == ["ss-en-x"], "nothing is written twice while PostgreSQL answers"

    row.away = True
    await lease.renew()
    store.rows_there.clear()  # it is restored from an older backup
    store.intents_there.clear()
    await journal.keep_up()
    assert store.rows_there == {}
    row.away = False
    await lease.renew()
    await journal.keep_up()
    assert store.rows_there == kept
    assert store.intents_there == ["ss-en-x"]


async def test_a_bot_that_was_replaced_says_nothing_of_what_is_its_successors() -> None:
    """Frozen and thawed, it sees a position that it does not know: the successor's."""
    bot = load_registry(ROOT / "bots.toml").find("shortseller_001")
    row, told, now_ms = Row(), Told(), [1_000]
    lease = Lease(row, 10.0, what="an account", clock=Clock(boottime_ms=lambda: now_ms[0]))
    assert await lease.try_take()
    account = Account(1, bot.id, Environment.SIMULATED, "1")
    journal = StatePersistence(bot, Rows(bot), account, lease, new_state(StrategyState), told)
    await journal.warn("unknown_position:BTCUSDT", "ours")
    row.away = True
    now_ms[0] += 10_000
    await journal.warn("unknown_position:BTCUSDT", "PostgreSQL is away: nobody can have taken over")
    row.away, row.ours = False, False
    now_ms[0] += 10_000
    with pytest.raises(LeaseLost):
        await journal.warn("unknown_position:BTCUSDT", "the successor's")
    assert told.texts == ["ours", "PostgreSQL is away: nobody can have taken over"]


async def test_a_state_that_could_not_be_saved_is_over_when_it_is() -> None:
    bot = load_registry(ROOT / "bots.toml").find("shortseller_001")
    store, told = Rows(bot), Told()
    lease = Lease(Row(), 10.0, what="an account")
    assert await lease.try_take()
    account = Account(1, bot.id, Environment.SIMULATED, "1")
    journal = StatePersistence(bot, store, account, lease, new_state(StrategyState), told)
    store.away = True
    assert not await journal.save()
    assert not await journal.save()
    assert told.lasting == [True]
    assert told.over == []
    store.away = False
    assert await journal.save()
    assert set(told.over) == {f"{bot.id}:state_not_saved"}
    await journal.pause("somebody wants it")
    assert told.lasting == [True, True]

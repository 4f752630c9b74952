"""What is written anew after PostgreSQL was away."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

from alpha.alerts import Alerts
from alpha.errors import Retry
from alpha.lease import Grant, Lease
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

    async def acquire(self, _holder: str, _seconds: float) -> Grant | None:
        return Grant(7, handed_over=True)

    async def renew(self, _holder: str, _token: int, _seconds: float) -> bool:
        if self.away:
            raise Retry("away")
        return True

    async def release(self, _holder: str, _token: int) -> None:
        return None

    async def holder(self) -> str:
        return ""


class Rows(Store):
    """A store whose rows are here."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._saved = {}
        self._served = True
        self.rows_there: dict[str, object] = {}
        self.intents_there: list[str] = []

    async def _fetch(self, sql: str, *arguments: object) -> Any:
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
        bot, store, Account(1, bot.id, Environment.SIMULATED, "1"), lease, new_state(StrategyState), cast(Alerts, None)
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

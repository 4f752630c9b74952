"""The end of a bot's own limit is told: when its window ends, when it is resumed, and by the process after a restart."""

from decimal import Decimal
from unittest.mock import AsyncMock, MagicMock

from alpha.strategy.risk_limits import DAY_MS, LimitState, RiskLimits
from alpha.strategy.risk_rules import Action, LossLimit, Until, Window
from bot_runner.state_persistence import StatePersistence
from bot_runner.trader import Trader

D = Decimal
LIMITS = (
    LossLimit(Window.DAY, D("0.05"), Action.NO_ENTRIES, Until.WINDOW_END),
    LossLimit(Window.DRAWDOWN, D("0.20"), Action.CLOSE_ALL, Until.RESUMED),
)


class Stage:
    """A trader whose account is these figures."""

    def __init__(self, state: LimitState) -> None:
        self.limits = RiskLimits(LIMITS, None, state)
        self.journal = MagicMock(spec=StatePersistence, bot=MagicMock())
        self.business = MagicMock()
        core = MagicMock(limits=self.limits, interval_ms=300_000)
        core.see = lambda now_ms, equity, profit: ([], self.limits.see(now_ms, equity, profit))
        parts = MagicMock(core=core, journal=self.journal, scorer=None)
        parts.transfers.see = AsyncMock(return_value=False)
        self.trader = Trader(parts, self.business, grace_ms=0, needs_live_state=False)

    async def sees(self, equity: int, now_ms: int) -> list[str]:
        """One look at the account; returns what was told to be over by it."""
        self.business.now_ms.return_value = now_ms
        self.journal.over.reset_mock()
        await self.trader._limits(MagicMock(equity=D(equity), open_profit=D(0)))
        told = [call.args[0] for call in self.journal.over.await_args_list]
        return [key for key in told if key.startswith("limit:")]


async def test_a_days_limit_is_over_when_the_day_is() -> None:
    stage = Stage(LimitState())
    assert await stage.sees(100, 0) == []
    assert await stage.sees(94, 1_000) == []
    assert stage.journal.warn.await_args.args[0] == "limit:day_no_entries"
    assert stage.journal.warn.await_args.kwargs == {"lasting": True}
    assert await stage.sees(99, 2_000) == [], "it lasts as long as the day, whatever the equity is"
    after = Stage(stage.limits.state)  # the next process
    assert await after.sees(99, 3_000) == []
    assert await after.sees(99, DAY_MS) == ["limit:day_no_entries"]
    assert await after.sees(99, DAY_MS + 1_000) == []


async def test_a_fall_from_the_peak_is_over_when_the_operator_resumes() -> None:
    stage = Stage(LimitState())
    for day, equity in enumerate((100, 96, 92, 88, 84)):
        await stage.sees(equity, day * DAY_MS)
    await stage.sees(80, 5 * DAY_MS)
    assert stage.journal.warn.await_args.args[0] == "limit:drawdown_close_all"
    assert await stage.sees(80, 5 * DAY_MS + 1) == []
    stage.limits.resume()
    assert await stage.sees(80, 5 * DAY_MS + 2) == ["limit:drawdown_close_all"]
    assert await stage.sees(80, 5 * DAY_MS + 3) == []

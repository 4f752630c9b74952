"""The guard's limits on a real PostgreSQL: breaches are durable, references survive, a transfer is not a loss."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import pytest

from alpha.alerts import OVER, Alerts
from alpha.bybit.rate_limiter import RateLimiter
from alpha.clock import Clock
from alpha.config.loader import load
from alpha.errors import Retry
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import LivePosition, Side
from alpha.model.account import Account
from alpha.model.money import ZERO
from alpha.registry import Registry
from bot_runner.store import Store
from risk_guard.account import GuardedAccount, open_account
from risk_guard.limits import BotLimits, PortfolioLimits, Seen
from risk_guard.settings import GuardSettings
from risk_guard.store import GuardStore
from tests.support import bybit_samples
from tests.support.alerts import raised_alerts
from tests.support.bot_harness import BotHarness, sim
from tests.support.faulty_exchange import faulty_exchange, gateway_to, ok
from tests.support.guard_harness import BOT, halts
from tests.support.world import BOTS, Trader

D = Decimal
DAY_MS = 86_400_000
#: A Monday, and the first of a month.
MONDAY_MS = 1_780_272_000_000
LIMITS = {
    "guard_max_gross": "2", "guard_max_net": "1", "guard_max_positions": "3", "guard_max_orders_per_minute": "10",
}  # fmt: skip


@dataclass
class Judged:
    """All accounts and their limits, without the guard's process around them."""

    stage: BotHarness
    settings: GuardSettings
    accounts: list[GuardedAccount]
    links: RedisClients
    store: GuardStore
    closed: list[tuple[str, str]] = field(default_factory=list)

    async def _close_all(self, account: GuardedAccount, _why: str, by: str) -> None:
        self.closed.append((account.bot.id, by))

    async def bot(self, number: int = 0) -> BotLimits:
        """The limits of one bot, as in a guard that has just started."""
        limits = BotLimits(
            self.accounts[number], self.settings, self.store, Alerts(self.links.shared, "risk_guard"), self._close_all
        )
        await limits.load()
        return limits

    def portfolio(self) -> PortfolioLimits:
        """The portfolio limits, as in a guard that has just started."""
        return PortfolioLimits(self.settings, self.store, Alerts(self.links.shared, "risk_guard"), self._close_all)

    async def alerts(self) -> list[str]:
        """The alerts raised so far; every urgent one must say what to do."""
        rows = await raised_alerts(self.links.shared)
        assert all(row["remedy"] for row in rows if row["level"] == "critical"), rows
        return [row["text"] for row in rows]

    async def over(self) -> list[str]:
        """The keys whose end was told."""
        rows = [fields for _, fields in await self.links.shared.xrange(keys.ALERTS)]
        return [fields["key"] for fields in rows if fields["level"] == OVER]


@pytest.fixture
async def judged(stage: BotHarness, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Judged]:
    for bot in BOTS:
        for name, value in bot.environment().items():
            monkeypatch.setenv(name, value)
    variables = {name.lower(): value for name, value in stage.environment("alpha_guard").items()}
    settings = load(GuardSettings, env_file=None, **variables, **LIMITS)
    links, store = RedisClients(settings), GuardStore(settings)
    accounts = [open_account(settings, bot, RateLimiter(None)) for bot in registry.bots]
    for account in accounts:
        await account.identify(store, observe=False)
    yield Judged(stage, settings, accounts, links, store)
    for account in accounts:
        await account.gateway.close()
    await store.close()
    await links.close()


def held(symbol: str, size: str, mark: str = "100") -> LivePosition:
    qty = D(size)
    return LivePosition(
        symbol=f"{symbol}USDT", side=Side.LONG if qty > 0 else Side.SHORT, size=abs(qty), entry_price=D(90), mark_price=D(mark),
        unrealised_pnl=ZERO, leverage=None, liq_price=None, stop_loss=None, take_profit=None, trailing_stop=None,
        opened_at=None, updated_at=None, seq=1,
    )  # fmt: skip


def seen(equity: str, *positions: LivePosition, now_ms: int = MONDAY_MS, orders: int = 0) -> Seen:
    return Seen(now_ms, D(equity), D(100_000), list(positions), orders)


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        (seen("1000", held("A", "10"), held("B", "-10")), seen("1000", held("A", "10.1"), held("B", "-10"))),
        (seen("1000", held("A", "10")), seen("1000", held("A", "10.1"))),
        (
            seen("100000", *(held(name, "1") for name in "ABC")),
            seen("100000", *(held(name, "1") for name in "ABCD")),
        ),
        (seen("1000", orders=10), seen("1000", orders=11)),
    ],
    ids=["gross", "net", "positions", "orders"],
)
async def test_a_measure_beyond_its_limit_keeps_entries_out_until_it_is_back(
    judged: Judged, within: Seen, beyond: Seen
) -> None:
    limits = await judged.bot()
    await limits.see(within)
    assert await halts(judged.stage) == []
    await limits.see(beyond)
    await limits.see(beyond)
    assert await halts(judged.stage) == [("no_entries", BOT.bot)]
    # The next guard loads it and lifts it.
    limits = await judged.bot()
    await limits.see(within)
    assert await halts(judged.stage) == []
    (row,) = await raised_alerts(judged.links.shared)
    assert row["lasting"] == "1"
    assert await judged.over() == [row["key"]]
    await limits.see(within)
    assert len(await judged.over()) == 1
    assert judged.closed == []


@pytest.mark.parametrize(
    ("later_days", "equity", "halted"),
    [(0, "92.01", False), (0, "92", True), (2, "88.01", False), (2, "88", True), (8, "80.01", False), (8, "80", True)],
    ids=["day-within", "day", "week-within", "week", "month-within", "month"],
)
async def test_a_loss_of_the_day_the_week_or_the_month_keeps_entries_out_until_its_end(
    judged: Judged, later_days: int, equity: str, halted: bool
) -> None:
    # By small steps, so that no shorter window is breached on the way.
    way = ("100", "94") if later_days <= 2 else ("100", "98", "96", "94", "92", "90", "88.6", "86")
    for day, before in enumerate(way[: max(1, later_days)]):
        await (await judged.bot()).see(seen(before, now_ms=MONDAY_MS + day * DAY_MS))
    limits, now_ms = await judged.bot(), MONDAY_MS + later_days * DAY_MS
    await limits.see(seen(equity, now_ms=now_ms))
    assert bool(await halts(judged.stage)) == halted
    assert judged.closed == []
    if halted:
        account = judged.accounts[0]
        assert account.id is not None
        store = Store(judged.stage.database(), account.bot)
        ends = {0: MONDAY_MS + DAY_MS, 2: MONDAY_MS + 7 * DAY_MS, 8: 1_782_864_000_000}[later_days]
        ours = Account(account.id, account.bot.id, account.environment, account.key.user_id if account.key else "")
        assert await store.halt(ours, "BTCUSDT", ends - 1) is not None, "every gateway of the bot reads this"
        assert await store.halt(ours, "BTCUSDT", ends) is None
        await store.close()


async def test_a_fall_from_the_peak_closes_everything_and_is_measured_anew_when_resumed(judged: Judged) -> None:
    limits = await judged.bot()
    for day, equity in enumerate(("100", "94", "88", "82", "76", "70.1")):
        await limits.see(seen(equity, now_ms=MONDAY_MS + day * DAY_MS))
    assert judged.closed == []
    await (await judged.bot()).see(seen("70", now_ms=MONDAY_MS + 6 * DAY_MS))
    assert judged.closed == [(BOT.bot, "guard:drawdown_close_all")]
    limits = await judged.bot()
    await limits.see(seen("69", now_ms=MONDAY_MS + 6 * DAY_MS))
    assert len(judged.closed) == 1, "one breach, one closing, whatever restarts"
    assert await judged.over() == []
    limits.resume()
    await limits.see(seen("69", now_ms=MONDAY_MS + 6 * DAY_MS))
    over = [f"guard:{name}:{BOT.bot}" for name in ("drawdown_close_all", "month_no_entries", "week_no_entries")]
    assert await judged.over() == over, "/resume lifts all halts of the bot"
    await limits.see(seen("48", now_ms=MONDAY_MS + 6 * DAY_MS))
    assert len(judged.closed) == 2


async def test_a_withdrawal_is_no_loss_for_the_bot_nor_for_all_together(judged: Judged) -> None:
    """A real transfer on the exchange, seen by a guard that was down while it happened."""
    now_ms = (await sim(judged.stage, "GET", "/_sim/state"))["now_ms"]
    bots = [await judged.bot(number) for number in range(3)]
    portfolio = judged.portfolio()

    async def look(equities: tuple[int, int, int], at_ms: int, open_profit: int = 0) -> None:
        looks = [Seen(at_ms, D(equity), D(equity), [], 0) for equity in equities]
        looks[0] = Seen(at_ms, D(equities[0]), D(equities[0] - open_profit), [], 0)
        for limits, one in zip(bots, looks, strict=True):
            await limits.see(one)
        await portfolio.see(
            judged.accounts, looks, {"USDT": sum((limits.transferred["USDT"] for limits in bots), ZERO)}
        )

    await look((100_000, 100_000, 100_000), now_ms)
    trader = Trader(judged.stage.simulator.url, BOT)
    body: dict[str, object] = {"adjustType": 1, "utaDemoApplyMoney": [{"coin": "USDT", "amountStr": "60000"}]}
    answer = await trader.post("/v5/account/demo-apply-money", body)
    await trader.close()
    assert answer["retCode"] == 0, answer
    bots, portfolio = [await judged.bot(number) for number in range(3)], judged.portfolio()
    later_ms = (await sim(judged.stage, "GET", "/_sim/state"))["now_ms"] + 1
    await look((40_000, 100_000, 100_000), later_ms)
    assert await halts(judged.stage) == []
    assert judged.closed == []
    await look((36_000, 100_000, 100_000), later_ms, open_profit=-4_000)
    assert await halts(judged.stage) == [("no_entries", BOT.bot)], "10 % of what was left"


async def test_a_withdrawal_that_the_ledger_does_not_show_yet_is_not_judged(
    registry: Registry, stage: BotHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulated exchange's ledger never lags, so here it is scripted."""
    rows = [
        {**bybit_samples.TRANSACTION, "type": kind, "change": change, "transactionTime": str(MONDAY_MS + 5_000)}
        for kind, change in (("TRADE", "-1000"), ("TRANSFER_OUT", "-60000"))
    ]
    pages = [ok({"list": rows[:count], "nextPageCursor": ""}) for count in (0, 1, 1, 2)]
    async with faulty_exchange() as exchange:
        exchange.script("account/transaction-log", *pages)
        variables = {name.lower(): value for name, value in stage.environment("alpha_guard").items()}
        settings = load(GuardSettings, env_file=None, **variables)
        links, store = RedisClients(settings), GuardStore(settings)
        for name, value in BOTS[0].environment().items():
            monkeypatch.setenv(name, value)
        account = open_account(settings, registry.find(BOT.bot), RateLimiter(None))
        await account.identify(store, observe=False)
        await account.gateway.close()
        account.gateway = gateway_to(exchange)
        closed: list[str] = []

        async def close_all(_account: GuardedAccount, why: str, _by: str) -> None:
            closed.append(why)

        limits = BotLimits(
            account,
            settings,
            store,
            Alerts(links.shared, "risk_guard"),
            close_all,
            clock=Clock(monotonic_ms=exchange.clock.now_ms),
        )
        await limits.load()

        async def look(balance: int) -> None:
            await limits.see(Seen(MONDAY_MS + 10_000, D(balance), D(balance), [], 0))

        await look(100_000)
        await look(99_000)
        with pytest.raises(Retry, match="-60000 USDT"):
            await look(39_000)
        # In the same millisecond as the trade that was already read.
        await look(39_000)
        assert limits.transferred == {"USDT": D(-60_000)}
        assert closed == []
        assert await halts(stage) == []
        await account.gateway.close()
        await store.close()
        await links.close()


async def test_a_loss_of_all_together_stops_every_bot_and_a_fall_closes_every_one(judged: Judged) -> None:
    async def look(portfolio: PortfolioLimits, equity: str, now_ms: int = MONDAY_MS) -> None:
        await portfolio.see(judged.accounts, [seen(equity, now_ms=now_ms)] * 3, {})

    portfolio = judged.portfolio()
    await look(portfolio, "100")
    await look(portfolio, "92.1")
    assert await halts(judged.stage) == []
    await look(judged.portfolio(), "92")
    assert await halts(judged.stage) == [("no_entries", bot.bot) for bot in BOTS]
    for day, equity in enumerate(("86", "80", "74", "70"), 1):
        await look(judged.portfolio(), equity, MONDAY_MS + day * DAY_MS)
    assert judged.closed == [(bot.bot, "guard:portfolio_drawdown_close_all") for bot in BOTS]
    assert all("All bots together" in text for text in await judged.alerts())


async def test_the_limits_of_all_together_hold_for_each_coin_by_itself(judged: Judged) -> None:
    async def look(usdt: str, usdc: str, moved: dict[str, Decimal] | None = None) -> None:
        other = (Seen(MONDAY_MS, D(usdc), D(usdc), [], 0, "USDC"),)
        both = Seen(MONDAY_MS, D(usdt), D(usdt), [], 0, "USDT", other)
        await portfolio.see(judged.accounts, [seen("100"), both, seen("100")], moved or {})

    portfolio = judged.portfolio()
    await look("100", "1000")
    # what was moved out of a coin is no loss of it, also when nothing is left
    await look("100", "500", {"USDC": D(-500)})
    await portfolio.see(judged.accounts, [seen("100")] * 3, {"USDC": D(-1_000)})
    await look("100", "1000", {"USDC": D(0)})
    assert await judged.alerts() == []
    # a fall of the one is not hidden by a rise of the other: nothing is added across coins
    await look("500", "920", {"USDC": D(0)})
    assert await halts(judged.stage) == [("no_entries", bot.bot) for bot in BOTS]
    (said,) = await judged.alerts()
    assert "All bots together: Equity 920.00 USDC is 8.00 % below" in said


async def test_each_coin_is_judged_while_nobody_can_say_whether_a_limit_is_over(
    judged: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(usdc: str) -> None:
        other = (Seen(MONDAY_MS, D(usdc), D(usdc), [], 0, "USDC"),)
        both = Seen(MONDAY_MS, D("100"), D(100), [], 0, "USDT", other)
        await portfolio.see(judged.accounts, [both, seen("100"), seen("100")], {})

    async def away(_by: str, _moment: datetime) -> bool:
        raise Retry("PostgreSQL is away.")

    portfolio = judged.portfolio()
    monkeypatch.setattr(judged.store, "halts_by", away)
    await look("1000")
    await look("920")
    (said,) = await judged.alerts()
    assert "Equity 920.00 USDC is 8.00 % below" in said
    assert await judged.over() == []
    monkeypatch.undo()
    await look("920")
    assert await judged.over(), "what could not be asked is asked again"


async def test_an_observing_guard_says_what_a_breach_would_have_done(judged: Judged) -> None:
    for account in judged.accounts:
        account.observe = True
    limits, portfolio = await judged.bot(), judged.portfolio()
    for equity in ("100", "90"):
        await limits.see(seen(equity, held("A", "0.95")))
        await portfolio.see(judged.accounts, [seen(equity)] * 3, {})
    assert await halts(judged.stage) == []
    said = await judged.alerts()
    assert len(said) == 3
    assert all("would have been halted: no entries; the guard only observes" in text for text in said)


@pytest.mark.parametrize("resumed", [False, True], ids=["window", "resumed"])
async def test_the_end_of_a_days_halt_is_told_once_when_the_day_ends_or_it_is_lifted(
    judged: Judged, resumed: bool
) -> None:
    limits, key = await judged.bot(), f"guard:day_no_entries:{BOT.bot}"
    for equity in ("100", "92", "91"):
        await limits.see(seen(equity))
    limits = await judged.bot()  # the next guard
    await limits.see(seen("91"))
    assert await judged.over() == []
    if resumed:
        limits.resume()
        await limits.see(seen("91"))
        assert await judged.over() == [key], "told now, although the day's measurement goes on"
    for after in (0, 1, 2):
        await limits.see(seen("91", now_ms=MONDAY_MS + DAY_MS + after))
    assert await judged.over() == [key]


async def test_a_limit_of_all_bots_is_over_when_the_last_of_them_is_resumed(judged: Judged) -> None:
    async def look(portfolio: PortfolioLimits, equity: str, now_ms: int = MONDAY_MS) -> None:
        await portfolio.see(judged.accounts, [seen(equity, now_ms=now_ms)] * 3, {})

    portfolio, ours = judged.portfolio(), "guard:portfolio_day_no_entries"
    await look(portfolio, "100")
    told_at_start = await judged.over()
    await look(portfolio, "92")
    (row,) = await raised_alerts(judged.links.shared)
    assert row["key"] == ours
    for account in judged.accounts:
        assert ours not in (await judged.over())[len(told_at_start) :], f"{account.bot.id} is still halted"
        await judged.store.lift(account.bot.id, None, "an operator")
        portfolio = judged.portfolio()  # also by a guard that has just started
        portfolio.resume()
        await look(portfolio, "92")
        await look(portfolio, "92")
    assert (await judged.over())[len(told_at_start) :].count(ours) == 1


async def test_a_days_halt_of_all_bots_is_over_when_the_day_ends(judged: Judged) -> None:
    portfolio, ours = judged.portfolio(), "guard:portfolio_day_no_entries"
    for equity in ("100", "92"):
        await portfolio.see(judged.accounts, [seen(equity)] * 3, {})
    before = len(await judged.over())
    for after in (0, 1):
        await portfolio.see(judged.accounts, [seen("92", now_ms=MONDAY_MS + DAY_MS + after)] * 3, {})
    assert (await judged.over())[before:] == [ours]

"""A closing ends flat whatever happens concurrently: orders, fills, crashes, failing calls."""

import asyncio
import contextlib
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alpha.alerts import Alerts
from alpha.bybit.rate_limiter import NoLimit
from alpha.clock import Clock
from alpha.config.loader import load
from alpha.errors import AlphaError
from alpha.live_state.connect import RedisClients
from alpha.model.reason import Reason
from alpha.model.sizing import closing_slice
from alpha.process import end_tasks
from alpha.registry import Registry
from risk_guard.account import GuardedAccount, open_account
from risk_guard.closing import REFUSED_S, SESSION_PAUSE_S, Closing, ClosingRefused, ClosingState
from risk_guard.settings import GuardSettings
from risk_guard.stop_check import StopCheck
from risk_guard.store import GuardStore
from tests.support.world import BOTS, Simulator, Trader

SYMBOLS = ("BTCUSDT", "ETHUSDT")
QTY = {"BTCUSDT": "0.05", "ETHUSDT": "0.7"}
ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["Buy", "Sell"]), st.sampled_from(SYMBOLS)),
    st.tuples(st.just("limit"), st.sampled_from(SYMBOLS)),
    st.tuples(st.just("stop"), st.sampled_from(SYMBOLS)),
    st.tuples(st.just("crash"), st.just("")),
    st.tuples(st.just("busy"), st.sampled_from(["/v5/order/create", "/v5/position/list", "/v5/order/realtime"])),
    st.tuples(st.just("lost"), st.just("/v5/order/create")),
)


@dataclass
class Scene:
    """An account on a running exchange, as its bot and the guard see it."""

    simulator: Simulator
    account: GuardedAccount
    trader: Trader
    settings: GuardSettings

    async def fault(self, **what: object) -> None:
        async with httpx.AsyncClient(base_url=self.simulator.url) as client:
            (await client.post("/_sim/faults", json=what)).raise_for_status()

    async def no_faults(self) -> None:
        async with httpx.AsyncClient(base_url=self.simulator.url) as client:
            (await client.delete("/_sim/faults")).raise_for_status()

    async def stops(self) -> list[str]:
        """The stop of each open position, "" for none."""
        rows = (await self.simulator.account(BOTS[0].key))["positions"]
        return [row["stopLoss"] for row in rows]

    def closing(
        self, state: ClosingState, confirm_s: float = 0.0, clock_s: Callable[[], float] = time.monotonic
    ) -> Closing:
        return Closing(
            self.account,
            state,
            confirm_s=confirm_s,
            save=_kept,
            tell=_untold,
            hindered=_untold,
            clock=Clock(sleep=_hurried, monotonic_ms=lambda: int(clock_s() * 1000)),
        )


def _kept(_state: ClosingState) -> None: ...
async def _hurried(seconds: float) -> None:
    """Sleeps a tenth of the production pause: the exchange of the tests answers at once."""
    await asyncio.sleep(seconds / 10)


async def _untold(_text: str) -> None: ...


@contextlib.asynccontextmanager
async def scene(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...] = (), **more: str
) -> AsyncIterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="alpha-closing-") as folder:
        simulator = Simulator(Path(folder), speed="1", options=("--no-rate-limits", "--faults", *options))
        await simulator.start()
        bot = BOTS[0]
        for name, value in bot.environment().items():
            monkeypatch.setenv(name, value)
        chosen = load(
            GuardSettings,
            env_file=None,
            bybit_rest_url=simulator.url,
            bybit_ws_url=f"ws://127.0.0.1:{simulator.port}",
            postgres_password="unused",
            redis_password="unused",
            **more,
        )
        account = open_account(chosen, registry.find(bot.bot), NoLimit())
        account.key = await account.gateway.key_info()
        account.observe = False
        trader = Trader(simulator.url, bot)
        try:
            yield Scene(simulator, account, trader, chosen)
        finally:
            await trader.close()
            await account.gateway.close()
            simulator.process.stop()


async def act(scene: Scene, what: str, where: str) -> None:
    """Do one thing concurrently with the closing. A refusal is a valid outcome."""
    if what in {"Buy", "Sell"}:
        await scene.trader.order(where, what, QTY[where])
    elif what == "limit":
        price = (await scene.account.gateway.tickers(where))[where].last
        tick = (await scene.account.gateway.instruments(where))[where].tick_size
        low = (price * Decimal("0.98") / tick).to_integral_value() * tick
        await scene.trader.order(where, "Buy", QTY[where], orderType="Limit", price=str(low))
    elif what in {"target", "trigger"}:
        price = (await scene.account.gateway.tickers(where))[where].last
        tick = (await scene.account.gateway.instruments(where))[where].tick_size
        high = str((price * Decimal("1.03") / tick).to_integral_value() * tick)
        more: dict[str, object] = {"orderType": "Limit", "price": high, "reduceOnly": True}
        if what == "trigger":
            more = {"triggerPrice": high, "triggerDirection": 1, "stopLoss": str(price)}
        await scene.trader.order(where, "Sell" if what == "target" else "Buy", QTY[where], **more)
    elif what == "stop":
        price = (await scene.account.gateway.tickers(where))[where].last
        body: dict[str, object] = {"category": "linear", "symbol": where, "tpslMode": "Full", "positionIdx": 0}
        await scene.trader.post("/v5/position/trading-stop", {**body, "trailingStop": str(int(price / 20))})
    elif what == "busy":
        await scene.fault(kind="answer", path=where, ret_code=10006, ret_msg="Too many visits!", times=1)
    elif what == "lost":
        await scene.fault(kind="answer", path=where, nothing=True, after=True, times=1)


async def interleaved(scene: Scene, actions: list[tuple[str, str]]) -> None:
    """Run these actions during a closing, then let it end; the exchange must report flat."""
    state = ClosingState("c", Reason.KILL_SWITCH, "operator:1")
    # The closing's clock starts when all actions are done and counts its reads: the second is surely after that.
    over, looks = False, itertools.count(1)

    def closing() -> Closing:
        return scene.closing(state, 2.0, lambda: float(next(looks)) if over else 0.0)

    running = asyncio.create_task(closing().run())
    for what, where in actions:
        if what == "crash":
            await end_tasks([running])
            running = asyncio.create_task(closing().run())
        else:
            # The bot's own calls hit the faults as well; any outcome of them is valid.
            with contextlib.suppress(httpx.HTTPError, AlphaError):
                await act(scene, what, where)
    over = True
    await asyncio.wait_for(running, 60)
    await scene.no_faults()
    account = await scene.simulator.account(BOTS[0].key)
    assert account["positions"] == []
    assert account["orders"] == []


@pytest.mark.parametrize("examples", [12, pytest.param(200, marks=pytest.mark.long)], ids=["short", "long"])
async def test_any_interleaving_of_orders_fills_crashes_and_faults_ends_flat(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, examples: int
) -> None:
    async with scene(registry, monkeypatch) as stage:
        loop = asyncio.get_running_loop()

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(ACTIONS, min_size=1, max_size=10))
        def property_holds(actions: list[tuple[str, str]]) -> None:
            asyncio.run_coroutine_threadsafe(interleaved(stage, actions), loop).result()

        await asyncio.to_thread(property_holds)


async def test_resting_entries_and_targets_are_cancelled_with_the_position(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(registry, monkeypatch) as stage:
        await stage.trader.order("BTCUSDT", "Buy", QTY["BTCUSDT"])
        for what in ("target", "trigger", "limit"):
            await act(stage, what, "BTCUSDT")
        await act(stage, "trigger", "ETHUSDT")
        resting = (await stage.simulator.account(BOTS[0].key))["orders"]
        assert len([order for order in resting if order["stopOrderType"] in ("", "Stop")]) == 4
        await stage.closing(ClosingState("c", Reason.KILL_SWITCH, "operator:1")).run()
        account = await stage.simulator.account(BOTS[0].key)
        assert (account["positions"], account["orders"]) == ([], [])


async def test_a_position_larger_than_the_cap_is_closed_in_slices(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(registry, monkeypatch, guard_max_order_usdt="2000") as stage:
        await stage.trader.order("BTCUSDT", "Buy", "0.1")
        report = await stage.closing(ClosingState("c", Reason.MANUAL, "operator:1")).run()
        rows = [row for row in await stage.simulator.ledger(BOTS[0].key) if row["side"] == "Sell"]
        assert len({row["orderId"] for row in rows}) > 2
        assert all(Decimal(row["execQty"]) * Decimal(row["execPrice"]) <= Decimal(2001) for row in rows)
        assert sum(Decimal(row["execQty"]) for row in rows) == Decimal("0.1")
        assert "BTCUSDT long 0.1" in report
        instrument = msgspec.structs.replace(
            stage.account.instruments["BTCUSDT"], min_order_qty=Decimal("0.01"), qty_step=Decimal("0.001")
        )
        usual, before_the_last = (
            closing_slice(Decimal(size), Decimal("0.1"), instrument) for size in ("0.25", "0.105")
        )
        assert usual == Decimal("0.1")
        assert before_the_last == Decimal("0.095"), (
            "what is left can be closed, too: it is no less than the smallest order"
        )


async def test_a_closing_that_finds_no_way_is_told_and_goes_on(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(registry, monkeypatch) as stage:
        await stage.trader.order("BTCUSDT", "Buy", "0.1")
        await stage.fault(kind="answer", path="/v5/order/create", ret_code=10001, ret_msg="no orders now")
        told: list[str] = []
        clock = itertools.count(0, 6)

        async def hindered(text: str) -> None:
            told.append(text)
            await stage.no_faults()

        state = ClosingState("c", Reason.KILL_SWITCH, "operator:1")
        closing = Closing(
            stage.account,
            state,
            confirm_s=0,
            save=_kept,
            tell=_untold,
            hindered=hindered,
            clock=Clock(monotonic_ms=lambda: next(clock) * 1000),
        )
        await asyncio.wait_for(closing.run(), 60)
        assert len(told) == 1
        assert "no orders now" in told[0]
        assert (await stage.simulator.account(BOTS[0].key))["positions"] == []


async def test_a_position_that_cannot_be_mended_keeps_no_other_from_it(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(registry, monkeypatch, guard_protect_manual="true") as stage:
        for symbol in SYMBOLS:
            await stage.trader.order(symbol, "Buy", QTY[symbol])

        async def unasked(*_: object) -> None:
            raise AssertionError("nothing here is to be closed")

        links = RedisClients(stage.settings)
        patrol = StopCheck(
            stage.account, stage.settings, GuardStore(stage.settings), Alerts(links.shared, "guard"), unasked, grace_s=0
        )
        await stage.fault(
            kind="answer", path="/v5/position/trading-stop", ret_code=10005, ret_msg="Permission denied", times=1
        )
        with pytest.raises(AlphaError):
            await patrol.walk()
        assert sorted(map(bool, await stage.stops())) == [False, True]
        await patrol.walk()
        assert all(await stage.stops())
        await links.close()


async def test_a_closing_of_a_symbol_that_bybit_does_not_know_ends_with_the_reason(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(registry, monkeypatch) as stage:
        state = ClosingState("c", Reason.MANUAL, "operator:1", "NOSUCHUSDT")
        with pytest.raises(ClosingRefused, match=r"NOSUCHUSDT.*10001"):
            await asyncio.wait_for(stage.closing(state).run(), 60)


async def test_orders_of_one_symbol_that_are_always_refused_for_their_parameters_end_its_closing_and_no_other(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(registry, monkeypatch) as stage:
        await stage.trader.order("BTCUSDT", "Buy", "0.1")
        await stage.fault(kind="answer", path="/v5/order/create", ret_code=10001, ret_msg="params error")
        clock = itertools.count(0, REFUSED_S / 4)
        state = ClosingState("c", Reason.MANUAL, "operator:1", "BTCUSDT")
        with pytest.raises(ClosingRefused, match="params error"):
            await asyncio.wait_for(stage.closing(state, clock_s=lambda: float(next(clock))).run(), 60)
        # the closing of a whole account never gives up
        looks = itertools.count(0, REFUSED_S / 4)
        whole = asyncio.create_task(
            stage.closing(ClosingState("d", Reason.KILL_SWITCH, "operator:1"), clock_s=lambda: float(next(looks))).run()
        )
        while next(looks) < 40 * REFUSED_S / 4:
            await asyncio.sleep(0.01)
            assert not whole.done()
        await stage.no_faults()
        await asyncio.wait_for(whole, 60)


async def test_a_position_whose_market_is_closed_waits_for_the_open_and_holds_up_no_other(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--symbols", "BTCUSDT,ETHUSDT,AAPLUSDT", "--start", "2026-11-30T20:59")
    async with scene(registry, monkeypatch, options) as stage:
        for symbol, qty in (("AAPLUSDT", "100"), ("BTCUSDT", "0.05")):
            answer = await stage.trader.order(symbol, "Buy", qty)
            assert answer["retCode"] == 0, answer
        async with httpx.AsyncClient(base_url=stage.simulator.url) as client:
            (await client.post("/_sim/speed", json={"speed": 3600})).raise_for_status()
            while (await client.get("/_sim/state")).json()["now_ms"] < 1_796_079_600_000:  # 23:00
                await asyncio.sleep(0.05)
            (await client.post("/_sim/speed", json={"speed": 60})).raise_for_status()
            told: list[str] = []
            pauses: list[float] = []

            async def hear(text: str) -> None:
                told.append(text)

            async def pause(seconds: float) -> None:
                pauses.append(seconds)
                await asyncio.sleep(min(seconds, 0.05))

            closing = Closing(
                stage.account,
                ClosingState("c", Reason.KILL_SWITCH, "operator:1"),
                confirm_s=0.0,
                save=_kept,
                tell=_untold,
                hindered=hear,
                clock=Clock(sleep=pause),
            )
            running = asyncio.create_task(closing.run())
            while len(pauses) < 20:
                await asyncio.sleep(0.02)
            held = {row["symbol"] for row in (await stage.simulator.account(BOTS[0].key))["positions"]}
            assert held == {"AAPLUSDT"}
            # told once, with when it opens, and asked seldom
            assert [text for text in told if "closed until Tue 01 Dec 2026 14:30 UTC" in text] == told[:1] == told
            assert pauses.count(SESSION_PAUSE_S) >= 15
            (await client.post("/_sim/speed", json={"speed": 36000})).raise_for_status()
            await asyncio.wait_for(running, 30)
            assert (await stage.simulator.account(BOTS[0].key))["positions"] == []


async def test_contracts_with_awkward_filters_are_closed_to_the_last_step(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minimum above the step, market orders of 50 steps at most, a price of a millionth, a pre-market contract."""
    async with scene(registry, monkeypatch, ("--awkward", "--symbols", "BTCUSDT,ETHUSDT")) as stage:
        known = await stage.account.gateway.instruments()
        large, small = known["LARGEMINUSDT"], known["SMALLMKTUSDT"]
        assert large.min_order_qty == 10 * large.qty_step
        wanted = {
            large.symbol: [large.min_order_qty + large.qty_step],
            small.symbol: [small.max_market_qty] * 3 + [small.min_order_qty],
            "1000PEPEUSDT": [known["1000PEPEUSDT"].min_order_qty * 7],
            "TICKUSDT": [known["TICKUSDT"].min_order_qty * 30],
        }
        for symbol, sizes in wanted.items():
            for qty in sizes:
                least = known[symbol].min_notional
                price = (await stage.account.gateway.tickers(symbol))[symbol].last
                steps = -(-least // (price * known[symbol].qty_step)) + 1
                answer = await stage.trader.order(
                    symbol, "Buy", str(max(qty, min(steps * known[symbol].qty_step, known[symbol].max_market_qty)))
                )
                assert answer["retCode"] == 0, (symbol, qty, answer)
        held = {row["symbol"] for row in (await stage.simulator.account(BOTS[0].key))["positions"]}
        assert held == set(wanted)
        await asyncio.wait_for(stage.closing(ClosingState("c", Reason.KILL_SWITCH, "operator:1")).run(), 120)
        account = await stage.simulator.account(BOTS[0].key)
        assert (account["positions"], account["orders"]) == ([], [])

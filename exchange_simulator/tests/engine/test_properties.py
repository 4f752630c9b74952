"""Invariants after any sequence of orders and prices."""

from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from exchange_simulator.engine import funding, orders, price_moves
from exchange_simulator.engine import settings as requests
from exchange_simulator.engine.account import Account, Resting
from exchange_simulator.engine.amend import Amendment, amend
from exchange_simulator.engine.model import BUY, ClosedPnl, Execution, LedgerLine, Order, Refused, Rules
from exchange_simulator.engine.orders import NewOrder
from exchange_simulator.engine.settings import TradingStop
from exchange_simulator.engine.state import Engine
from exchange_simulator.engine.stops import FULL
from exchange_simulator.render import execution_row, ledger_row, order_row
from exchange_simulator.tests.clients.contract import unlisted
from exchange_simulator.tests.engine.floor import BTC, ETH, PERP, D, Floor, signed

SIDES = st.sampled_from(["Buy", "Sell"])
SYMBOLS = st.sampled_from([BTC, BTC, ETH])
UIDS = st.sampled_from([1, 1, 2])
SHARE = st.integers(-400, 400)  # distance from the price in ten-thousandths
QTY = st.integers(1, 400)
STOP = st.none() | st.integers(1, 300)

PHASES = (Phase.explicit, Phase.generate)  # failing examples are not shrunk: shrinking takes minutes

ACTIONS = st.one_of(
    st.tuples(st.just("market"), UIDS, SYMBOLS, SIDES, QTY, st.booleans(), STOP, STOP),
    st.tuples(
        st.just("limit"), UIDS, SYMBOLS, SIDES, QTY, SHARE, st.sampled_from(["GTC", "IOC", "FOK", "PostOnly"]), STOP
    ),
    st.tuples(
        st.just("conditional"),
        UIDS,
        SYMBOLS,
        SIDES,
        QTY,
        SHARE,
        st.booleans(),
        st.sampled_from(["LastPrice", "LastPrice", "MarkPrice", "IndexPrice"]),
    ),
    st.tuples(st.just("mark"), SYMBOLS, st.none() | st.integers(-600, 600)),
    st.tuples(st.just("amend"), UIDS, st.integers(0, 30), QTY, SHARE),
    st.tuples(st.just("cancel"), UIDS, st.integers(0, 30)),
    st.tuples(st.just("stop"), UIDS, SYMBOLS, STOP, STOP, STOP, st.sampled_from(["Full", "Full", "Partial"])),
    st.tuples(st.just("leverage"), UIDS, SYMBOLS, st.sampled_from([1, 5, 10, 25, 50, 100])),
    st.tuples(st.just("move"), SYMBOLS, st.integers(-600, 600), st.booleans()),
    st.tuples(st.just("funding"), SYMBOLS, st.integers(-50, 50)),
)
# Account variants other than USDT, one-way mode and cross margin.
ALL_SYMBOLS = st.sampled_from([BTC, BTC, ETH, PERP])
MIXED_ACTIONS = st.one_of(
    ACTIONS,
    ACTIONS,
    st.tuples(st.just("market"), UIDS, st.just(PERP), SIDES, QTY, st.booleans(), STOP, STOP),
    st.tuples(st.just("move"), st.just(PERP), st.integers(-600, 600), st.booleans()),
    st.tuples(st.just("funding"), st.just(PERP), st.integers(-50, 50)),
    st.tuples(st.just("margin"), UIDS, ALL_SYMBOLS, st.booleans(), st.integers(-20_000, 20_000)),
    st.tuples(st.just("margin_mode"), UIDS, st.booleans()),
    st.tuples(st.just("position_mode"), UIDS, st.none() | SYMBOLS, st.booleans()),
)
KINDS = st.sampled_from(["one-way", "hedge", "isolated", "hedge isolated"])
RULES = st.sampled_from(
    [
        Rules(),
        Rules(spread_ticks=3, slippage_bps=D(1)),
        Rules(depth_usdt=D(20_000)),
        Rules(depth_usdt=D(3_000), spread_ticks=1, insurance_fund=D(0)),
    ]
)


class Flow:
    """Runs actions on a floor with two accounts; refusals are expected."""

    def __init__(self, rules: Rules, deposit: str, kind: str = "one-way") -> None:
        self.floor = Floor(rules, deposit=deposit)
        self.floor.open_account(2, deposit)
        self.refused = 0
        for account in self.floor.engine.accounts.values():
            if kind != "one-way":
                self.floor.engine.transfer(account, D(deposit), "USDC")
            if "hedge" in kind:
                requests.switch_coin(self.floor.engine, account, "USDT", requests.HEDGE)
            if "isolated" in kind:
                requests.set_margin_mode(self.floor.engine, account, "ISOLATED_MARGIN")
        self.floor.listen()

    def _idx(self, uid: int, symbol: str, side: str, closes: bool) -> int:
        """The positionIdx of an order; 0 in one-way mode."""
        if symbol not in self.floor.engine.accounts[uid].hedged:
            return 0
        return 1 if (side == BUY) != closes else 2

    def _near(self, symbol: str, share: int) -> Decimal:
        book = self.floor.engine.books[symbol]
        tick = book.instrument.tick_size
        return max(book.last * (10_000 + share) / 10_000 // tick * tick, tick)

    def _qty(self, symbol: str, units: int) -> Decimal:
        return units * (D("0.1") if symbol == ETH else D("0.01"))

    def _around(self, symbol: str, side: str, gain: int | None, loss: int | None, base: Decimal) -> dict[str, Any]:
        tick = self.floor.engine.instruments[symbol].tick_size
        sign = 1 if side == BUY else -1
        levels: dict[str, Any] = {}
        if gain is not None:
            levels["take_profit"] = base * (10_000 + sign * gain) / 10_000 // tick * tick
        if loss is not None:
            levels["stop_loss"] = base * (10_000 - sign * loss) / 10_000 // tick * tick
        return levels

    def play(self, action: tuple[Any, ...]) -> None:
        self.floor.engine.now_ms += 1_000
        try:
            getattr(self, f"_{action[0]}")(*action[1:])
        except Refused:
            self.refused += 1
        self.floor.listen()

    def _market(
        self, uid: int, symbol: str, side: str, qty: int, reduce: bool, gain: int | None, loss: int | None
    ) -> None:
        base = self.floor.engine.books[symbol].last
        levels = {} if reduce else self._around(symbol, side, gain, loss, base)
        idx = self._idx(uid, symbol, side, reduce)
        new = NewOrder(symbol, side, "Market", self._qty(symbol, qty), reduce_only=reduce, idx=idx, **levels)
        orders.create(self.floor.engine, self.floor.engine.accounts[uid], new)

    def _limit(self, uid: int, symbol: str, side: str, qty: int, share: int, tif: str, loss: int | None) -> None:
        price = self._near(symbol, share)
        levels = self._around(symbol, side, loss, loss, price)
        if loss is not None and loss % 2:
            levels["tpsl_mode"] = "Partial"
        levels["idx"] = self._idx(uid, symbol, side, loss is None and share % 2 == 0)
        new = NewOrder(symbol, side, "Limit", self._qty(symbol, qty), price, time_in_force=tif, **levels)
        orders.create(self.floor.engine, self.floor.engine.accounts[uid], new)

    def _mark(self, symbol: str, share: int | None) -> None:
        price_moves.set_mark_price(self.floor.engine, symbol, None if share is None else self._near(symbol, share))

    def _conditional(self, uid: int, symbol: str, side: str, qty: int, share: int, limit: bool, by: str) -> None:
        price = self._near(symbol, share)
        new = NewOrder(
            symbol,
            side,
            "Limit" if limit else "Market",
            self._qty(symbol, qty),
            price if limit else None,
            trigger_price=price,
            trigger_direction=1 if share > 0 else 2,
            trigger_by=by,
            idx=self._idx(uid, symbol, side, share % 2 == 0),
        )
        orders.create(self.floor.engine, self.floor.engine.accounts[uid], new)

    def _pick(self, uid: int, number: int) -> Order:
        found = list(self.floor.engine.accounts[uid].orders.values())
        if not found:
            raise Refused(110001, "no open order")
        return found[number % len(found)]

    def _amend(self, uid: int, number: int, qty: int, share: int) -> None:
        order = self._pick(uid, number)
        if order.create_type != "CreateByUser":
            raise Refused(110001, "a stop of the exchange")
        price = self._near(order.symbol, share) if order.order_type == "Limit" else None
        change = Amendment(qty=self._qty(order.symbol, qty), price=price)
        amend(self.floor.engine, self.floor.engine.accounts[uid], order, change)

    def _cancel(self, uid: int, number: int) -> None:
        orders.cancel(self.floor.engine, self.floor.engine.accounts[uid], self._pick(uid, number))

    def _stop(self, uid: int, symbol: str, gain: int | None, loss: int | None, trail: int | None, mode: str) -> None:
        engine = self.floor.engine
        account = engine.accounts[uid]
        idx = self._idx(uid, symbol, BUY, (loss or 0) % 2 == 0)
        side = account.position(symbol, idx).side or BUY
        levels = self._around(symbol, side, gain, loss, engine.books[symbol].last)
        if trail is not None and mode == "Full":
            levels["trailing_stop"] = engine.instruments[symbol].tick_size * trail * 10
        requests.set_trading_stop(engine, account, TradingStop(symbol, idx=idx, mode=mode, **levels))

    def _leverage(self, uid: int, symbol: str, leverage: int) -> None:
        requests.set_leverage(self.floor.engine, self.floor.engine.accounts[uid], symbol, D(leverage))

    def _move(self, symbol: str, share: int, jump: bool) -> None:
        self.floor.move(str(self._near(symbol, share)), symbol, jump)

    def _funding(self, symbol: str, share: int) -> None:
        funding.charge(self.floor.engine, symbol, D(share) / 10_000)

    def _margin(self, uid: int, symbol: str, long: bool, cents: int) -> None:
        account = self.floor.engine.accounts[uid]
        idx = self._idx(uid, symbol, BUY if long else "Sell", closes=False)
        requests.add_margin(self.floor.engine, account, symbol, idx, D(cents) / 100)

    def _margin_mode(self, uid: int, isolated: bool) -> None:
        mode = "ISOLATED_MARGIN" if isolated else "REGULAR_MARGIN"
        requests.set_margin_mode(self.floor.engine, self.floor.engine.accounts[uid], mode)

    def _position_mode(self, uid: int, symbol: str | None, hedge: bool) -> None:
        account, mode = self.floor.engine.accounts[uid], requests.HEDGE if hedge else 0
        if symbol is None:
            requests.switch_coin(self.floor.engine, account, "USDT", mode)
        else:
            requests.switch_mode(self.floor.engine, account, symbol, mode)


def check_account(floor: Floor, account: Account) -> None:
    """Checks the invariants of an account at any time."""
    engine, totals = floor.engine, account.totals
    assert account.wallet == totals.deposits + totals.gross - totals.fees + totals.funding
    executions = floor.executions(account.uid)
    for coin, sums in account.sums.items():
        assert account.balances[coin] == sums.deposits + sums.gross - sums.fees + sums.funding
    for symbol in (BTC, ETH, PERP):
        own = [fill for fill in executions if fill.symbol == symbol]
        assert signed(own) == sum(account.size(symbol, idx) for idx in (0, 1, 2))
        assert account.size(symbol, 1) >= 0 >= account.size(symbol, 2)
        assert not (account.size(symbol) if symbol in account.hedged else account.size(symbol, 1))
        holds = account.uid in engine.books[symbol].holders
        assert holds == account.holds(symbol)
    if not account.held():
        assert account.wallet >= 0
    elif account.isolated:
        assert all(engine.spare(account, position) > 0 for position in account.held())
    else:
        assert engine.equity(account) > 0
    assert engine.available(account) >= 0
    _check_orders(floor, account, executions)
    _check_margin_sums(account)


def _check_orders(floor: Floor, account: Account, executions: list[Execution]) -> None:
    told = {e.order_id: e for e in floor.told if isinstance(e, Order) and e.uid == account.uid}
    filled: dict[str, Decimal] = defaultdict(Decimal)
    for fill in executions:
        if fill.exec_type != "Funding":
            filled[fill.order_id] += fill.qty
            if told[fill.order_id].reduce_only:
                assert fill.closed_size == fill.qty
    for order in told.values():
        assert order.cum_qty <= order.qty
        assert filled[order.order_id] == order.cum_qty
        assert (order.status == "Filled") == (order.cum_qty == order.qty and not order.open)
        assert order.open == (order.order_id in account.orders)
    for order in account.orders.values():
        assert order.leaves == order.qty - order.cum_qty
        assert order.leaves > 0
        size = account.size(order.symbol, order.idx)
        if order.stop_order_type in FULL:
            assert order.leaves == abs(size)
        if order.waiting and order.trigger_by == "MarkPrice":
            book = floor.engine.books[order.symbol]
            assert (order.order_id in book.mark_waiting) != book.mark_follows
        if order.stop_order_type in FULL or order.stop_order_type.startswith("Partial"):
            assert size * order.sign < 0
        if order.reduce_only and not order.waiting:
            assert order.leaves <= abs(size)


def _check_margin_sums(account: Account) -> None:
    for leg, sums in account.resting.items():
        expected = Resting()
        for order in account.orders.values():
            if order.reduce_only or order.waiting or order.leg != leg:
                continue
            if order.side == BUY:
                expected.buy_qty += order.leaves
                expected.buy_value += order.leaves * order.price
            else:
                expected.sell_qty += order.leaves
                expected.sell_value += order.leaves * order.price
        assert sums == expected


def check_history(floor: Floor) -> None:
    """Checks the sums of the rows at the end."""
    for account in floor.engine.accounts.values():
        lines = [e for e in floor.told if isinstance(e, LedgerLine) and e.uid == account.uid]
        for coin, balance in account.balances.items():
            assert sum(line.change for line in lines if line.coin == coin) == balance
        for fill in floor.executions(account.uid):
            (line,) = [line for line in lines if line.trade_id == fill.exec_id]
            funded = fill.exec_type == "Funding"
            assert line.change == line.cash_flow + line.funding - line.fee
            assert (line.funding, line.fee) == ((-fill.fee, D(0)) if funded else (D(0), fill.fee))
            assert funded or line.cash_flow == fill.pnl
        rows = [e for e in floor.told if isinstance(e, ClosedPnl) and e.uid == account.uid]
        undone = sum(p.funding - p.open_fee for p in account.positions.values())
        assert sum(row.pnl for row in rows) + undone == account.wallet - account.totals.deposits
    for event in floor.told:
        if isinstance(event, Order):
            assert unlisted(order_row(event)) == []
        elif isinstance(event, Execution):
            assert unlisted(execution_row(event)) == []
        elif isinstance(event, LedgerLine):
            assert unlisted(ledger_row(event)) == []
    ids = [e.exec_id for e in floor.told if isinstance(e, Execution)]
    assert len(ids) == len(set(ids))


def run(rules: Rules, deposit: str, actions: list[tuple[Any, ...]], kind: str = "one-way") -> Flow:
    flow = Flow(rules, deposit, kind)
    for action in actions:
        flow.play(action)
        for account in flow.floor.engine.accounts.values():
            check_account(flow.floor, account)
    check_history(flow.floor)
    return flow


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES, derandomize=True
)
@given(RULES, st.sampled_from(["3000", "40000", "1000000"]), st.lists(ACTIONS, min_size=30, max_size=60))
def test_money_positions_and_orders_add_up_after_any_flow(
    rules: Rules, deposit: str, actions: list[tuple[Any, ...]]
) -> None:
    run(rules, deposit, actions)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES, derandomize=True)
@given(RULES, KINDS, st.sampled_from(["3000", "40000", "1000000"]), st.lists(MIXED_ACTIONS, min_size=30, max_size=60))
def test_they_add_up_with_legs_isolated_margin_and_usdc(
    rules: Rules, kind: str, deposit: str, actions: list[tuple[Any, ...]]
) -> None:
    run(rules, deposit, actions, kind)


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)
@given(RULES, KINDS, st.sampled_from(["3000", "40000", "1000000"]), st.lists(MIXED_ACTIONS, min_size=30, max_size=120))
def test_they_add_up_with_legs_isolated_margin_and_usdc_after_thousands_of_flows(
    rules: Rules, kind: str, deposit: str, actions: list[tuple[Any, ...]]
) -> None:
    run(rules, deposit, actions, kind)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES, derandomize=True)
@given(RULES, KINDS, st.lists(MIXED_ACTIONS, min_size=30, max_size=60))
def test_the_short_cut_hides_no_liquidation_of_legs_and_isolated_positions(
    rules: Rules, kind: str, actions: list[tuple[Any, ...]]
) -> None:
    quick = run(rules, "3000", actions, kind).floor.told
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "safe_between", lambda self, account, symbol: (0, 0))
        assert run(rules, "3000", actions, kind).floor.told == quick


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)
@given(RULES, st.sampled_from(["3000", "40000", "1000000"]), st.lists(ACTIONS, min_size=30, max_size=120))
def test_money_positions_and_orders_add_up_after_thousands_of_flows(
    rules: Rules, deposit: str, actions: list[tuple[Any, ...]]
) -> None:
    run(rules, deposit, actions)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES, derandomize=True)
@given(RULES, st.lists(ACTIONS, min_size=5, max_size=30))
def test_the_same_seed_and_the_same_requests_give_the_same_events(rules: Rules, actions: list[tuple[Any, ...]]) -> None:
    assert run(rules, "40000", actions).floor.told == run(rules, "40000", actions).floor.told


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES, derandomize=True)
@given(RULES, st.lists(ACTIONS, min_size=30, max_size=60))
def test_the_short_cut_past_liquidation_checks_hides_no_liquidation(
    rules: Rules, actions: list[tuple[Any, ...]]
) -> None:
    quick = run(rules, "3000", actions).floor.told
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "safe_between", lambda self, account, symbol: (0, 0))
        assert run(rules, "3000", actions).floor.told == quick

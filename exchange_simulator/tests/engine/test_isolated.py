"""Isolated margin: each position has its own margin, is liquidated on it alone, and can get more."""

import pytest

from exchange_simulator.engine import funding, settings
from exchange_simulator.engine.model import Refused
from exchange_simulator.engine.settings import HEDGE
from exchange_simulator.render import position_row, wallet_row
from exchange_simulator.tests.engine.floor import BTC, ETH, D, Floor


def isolated(deposit: str = "100000") -> Floor:
    floor = Floor(deposit=deposit)
    settings.set_margin_mode(floor.engine, floor.account, "ISOLATED_MARGIN")
    floor.listen()
    return floor


def test_a_mode_that_is_set_already_changes_nothing_and_portfolio_margin_is_refused_with_a_reason() -> None:
    floor = isolated()
    settings.set_margin_mode(floor.engine, floor.account, "ISOLATED_MARGIN")
    assert floor.listen() == []
    with pytest.raises(settings.MarginModeRefused) as caught:
        settings.set_margin_mode(floor.engine, floor.account, "PORTFOLIO_MARGIN")
    assert caught.value.code == 3200403
    settings.set_margin_mode(floor.engine, floor.account, "REGULAR_MARGIN")
    assert floor.account.margin_mode == "REGULAR_MARGIN"


def test_one_position_is_liquidated_at_the_price_it_showed_and_the_rest_stays() -> None:
    floor = isolated()
    floor.market("Buy", "1")
    floor.market("Buy", "10", symbol=ETH)
    resting, other = floor.limit("Sell", "0.1", "52000"), floor.limit("Buy", "1", "2900", symbol=ETH)
    shown = floor.engine.liquidation_price(floor.account, floor.account.position(BTC))
    assert shown is not None
    floor.move("46000.1")
    before = floor.account.wallet
    margin = floor.engine.isolated_margin(floor.account, floor.account.position(BTC))
    floor.move(str(shown // 1 + 1))
    assert floor.size > 0
    floor.move(str(shown // 1 - 1))
    assert floor.size == 0
    assert floor.account.size(ETH) == 10
    assert (resting.open, other.open) == (False, True)
    (bust,) = floor.executions(kind="BustTrade")
    assert bust.price < shown
    lost = before - floor.account.wallet
    assert margin - 1 < lost <= margin + D("0.1") * D("46000") * D("0.11")


def test_a_profit_elsewhere_backs_nothing() -> None:
    floor = isolated(deposit="5200")
    floor.market("Buy", "1")
    floor.move("55000")
    with pytest.raises(Refused) as caught:
        floor.market("Buy", "10", symbol=ETH)
    assert caught.value.code == 110007
    assert floor.engine.available(floor.account) < 200


def test_a_short_is_liquidated_by_its_own_margin() -> None:
    floor = isolated()
    floor.market("Sell", "1")
    floor.move("56000")
    assert floor.size == 0
    assert floor.account.wallet > 100_000 - 5_000 - 100


def test_margin_that_is_added_moves_the_liquidation_and_can_be_taken_out_again() -> None:
    floor = isolated(deposit="10000")
    floor.market("Buy", "1")
    position = floor.account.position(BTC)
    free = floor.engine.available(floor.account)
    first = floor.engine.liquidation_price(floor.account, position)
    settings.add_margin(floor.engine, floor.account, BTC, 0, D(2_000))
    second = floor.engine.liquidation_price(floor.account, position)
    assert first is not None
    assert second is not None
    assert first - second > 2_000
    assert free - floor.engine.available(floor.account) == 2_000
    settings.add_margin(floor.engine, floor.account, BTC, 0, D(-2_000))
    assert floor.engine.liquidation_price(floor.account, position) == first
    for amount, code in (("-1", 110012), ("100000", 110012), ("0", 110027)):
        with pytest.raises(Refused) as caught:
            settings.add_margin(floor.engine, floor.account, BTC, 0, D(amount))
        assert caught.value.code == code


def test_added_margin_leaves_with_the_part_that_is_closed() -> None:
    floor = isolated()
    floor.market("Buy", "1")
    settings.add_margin(floor.engine, floor.account, BTC, 0, D(1_000))
    floor.market("Sell", "0.25")
    assert floor.account.position(BTC).added == 750
    floor.market("Sell", "0.75")
    assert floor.account.position(BTC).added == 0
    assert floor.engine.available(floor.account) == floor.account.wallet


def test_the_account_wide_figures_are_empty_and_the_coin_has_them() -> None:
    floor = isolated()
    floor.market("Buy", "1")
    row = wallet_row(floor.engine.wallet_view(floor.account))
    empty = ("accountIMRate", "totalMarginBalance", "totalAvailableBalance", "totalInitialMargin")
    assert [row[name] for name in (*empty, "totalMaintenanceMargin")] == [""] * 5
    (coin,) = row["coin"]
    available = D(coin["walletBalance"]) - D(coin["totalPositionIM"]) - D(coin["totalOrderIM"])
    assert available == floor.engine.available(floor.account)
    shown = position_row(floor.engine.position_view(floor.account, floor.account.position(BTC)))
    assert D(shown["positionIM"]) == D(5_000) + D("27.5")
    assert 44_900 < D(shown["bustPrice"]) < D(shown["liqPrice"])


def test_funding_that_the_balance_cannot_pay_comes_out_of_the_position() -> None:
    floor = isolated(deposit="5060")
    floor.market("Buy", "1")
    shown = floor.engine.liquidation_price(floor.account, floor.account.position(BTC))
    funding.charge(floor.engine, BTC, D("0.01"))
    floor.listen()
    assert floor.account.position(BTC).added < 0
    nearer = floor.engine.liquidation_price(floor.account, floor.account.position(BTC))
    assert shown is not None
    assert nearer is not None
    assert nearer > shown + 400
    assert floor.engine.free(floor.account, "USDT") == 0


def test_a_switch_that_the_balance_does_not_carry_is_refused() -> None:
    floor = Floor(deposit="5200")
    floor.market("Buy", "1")
    floor.move("55000")
    floor.market("Buy", "10", symbol=ETH)
    with pytest.raises(settings.MarginModeRefused):
        settings.set_margin_mode(floor.engine, floor.account, "ISOLATED_MARGIN")
    assert floor.account.margin_mode == "REGULAR_MARGIN"


def test_legs_may_have_different_leverage_and_end_apart() -> None:
    floor = isolated()
    settings.switch_mode(floor.engine, floor.account, BTC, HEDGE)
    settings.set_leverage(floor.engine, floor.account, BTC, D(50), D(5))
    floor.market("Buy", "1", idx=1)
    floor.market("Sell", "1", idx=2)
    floor.move("48000")
    assert (floor.account.size(BTC, 1), floor.account.size(BTC, 2)) == (D(0), D(-1))
    floor.move("62000")
    assert floor.account.size(BTC, 2) == 0
    assert len(floor.executions(kind="BustTrade")) == 2


def test_legs_must_have_the_same_leverage_elsewhere() -> None:
    floor = Floor()
    with pytest.raises(Refused) as caught:
        settings.set_leverage(floor.engine, floor.account, BTC, D(50), D(5))
    assert caught.value.code == 10001

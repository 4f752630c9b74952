"""Effect of fills on a position, the balance and closed-P&L rows."""

import pytest

from exchange_simulator.engine import funding, settings
from exchange_simulator.engine.model import ClosedPnl, LedgerLine, Refused, Rules
from exchange_simulator.tests.engine.floor import BTC, ETH, D, Floor, signed


def closed_rows(floor: Floor) -> list[ClosedPnl]:
    return [event for event in floor.told if isinstance(event, ClosedPnl)]


def test_entries_average_and_an_exit_realises_against_the_average() -> None:
    floor = Floor()
    floor.market("Buy", "1")
    floor.move("51000")
    floor.market("Buy", "1")
    assert floor.account.position(BTC).average == D(50_500)
    floor.move("52000")
    floor.market("Sell", "1")
    assert floor.executions()[-1].pnl == D(1_500)
    assert floor.executions()[-1].closed_size == D(1)
    assert floor.account.position(BTC).average == D(50_500)


def test_a_flip_closes_one_position_and_opens_the_other_in_one_fill() -> None:
    floor = Floor()
    floor.market("Buy", "1")
    floor.move("51000")
    floor.market("Sell", "3")
    fill = floor.executions()[-1]
    assert (fill.qty, fill.closed_size, fill.pnl) == (D(3), D(1), D(1_000))
    assert floor.size == D(-2)
    assert floor.account.position(BTC).average == D(51_000)


def test_the_wallet_is_deposits_plus_gross_less_fees_plus_funding() -> None:
    floor = Floor()
    floor.market("Sell", "2")
    floor.move("49000")
    funding.charge(floor.engine, BTC, D("0.0001"))
    floor.market("Buy", "2")
    totals, account = floor.account.totals, floor.account
    assert totals.gross == D(2_000)
    assert totals.fees == (D(100_000) + D(98_000)) * D("0.00055")
    assert totals.funding == D("9.8")
    assert account.wallet == totals.deposits + totals.gross - totals.fees + totals.funding


def test_closed_pnl_is_gross_less_both_fees_plus_the_funding_while_held() -> None:
    floor = Floor()
    floor.market("Buy", "2")
    funding.charge(floor.engine, BTC, D("0.0003"))
    floor.move("50500")
    floor.market("Sell", "1")
    floor.market("Sell", "1")
    first, second = closed_rows(floor)
    assert (first.side, first.closed_size, first.fills) == ("Sell", D(1), 1)
    assert first.pnl == D(500) - D("27.5") - D("27.775") - D(15)
    assert first.pnl + second.pnl == floor.account.wallet - 100_000


def test_an_order_that_closes_in_two_matches_leaves_two_closed_pnl_rows() -> None:
    floor = Floor(Rules(depth_usdt=D(5_000)))
    floor.market("Buy", "0.3")
    order = floor.limit("Sell", "0.3", "51000")
    floor.move("51000")
    floor.move("51010")
    rows = [row for row in closed_rows(floor) if row.order_id == order.order_id]
    assert len(rows) == 2
    assert sum(row.closed_size for row in rows) == D("0.3")
    assert all(row.created_ms == order.created_ms for row in rows)


def test_a_stop_set_at_entry_gives_the_closed_row_the_time_of_the_entry() -> None:
    floor = Floor()
    floor.market("Buy", "1", stop_loss=D(49_000))
    entered = floor.engine.now_ms
    floor.engine.now_ms += 3_600_000
    floor.move("48000")
    (row,) = closed_rows(floor)
    assert row.created_ms == entered
    assert row.updated_ms > entered + 3_600_000


def test_funding_is_paid_by_longs_and_received_by_shorts_and_changes_no_position() -> None:
    floor = Floor()
    other = floor.open_account(2, "100000")
    floor.market("Buy", "1")
    floor.market("Sell", "1", account=other)
    funding.charge(floor.engine, BTC, D("0.0001"))
    floor.listen()
    (paid,), (received,) = floor.executions(1, "Funding"), floor.executions(2, "Funding")
    assert (paid.fee, paid.qty, paid.side, paid.closed_size) == (D(5), D(1), "Buy", D(0))
    assert received.fee == D(-5)
    assert floor.size == D(1)
    line = next(e for e in floor.told if isinstance(e, LedgerLine) and e.kind == "SETTLEMENT" and e.uid == 1)
    assert (line.funding, line.fee, line.change) == (D(-5), D(0), D(-5))


def test_all_fills_of_a_match_share_a_seq_with_the_position_that_came_of_them() -> None:
    floor = Floor(Rules(depth_usdt=D(10_000)))
    floor.market("Buy", "1")
    seqs = {fill.seq for fill in floor.executions()}
    assert seqs == {floor.last_position().position.seq}


def test_the_position_is_the_sum_of_its_fills() -> None:
    floor = Floor()
    for side, qty in (("Buy", "1"), ("Sell", "0.4"), ("Sell", "2"), ("Buy", "0.1")):
        floor.market(side, qty)
    assert signed(floor.executions()) == floor.size == D("-1.3")


def test_realised_profit_of_a_holding_starts_anew_with_the_next_holding() -> None:
    floor = Floor()
    floor.market("Buy", "1")
    floor.move("51000")
    floor.market("Sell", "1")
    total = floor.account.position(BTC).cum_realised
    floor.market("Buy", "1")
    position = floor.account.position(BTC)
    assert position.cur_realised == -D(51_000) * D("0.00055")
    assert position.cum_realised == total + position.cur_realised


def test_leverage_decides_the_margin_and_cannot_be_set_to_what_it_is() -> None:
    floor = Floor()
    with pytest.raises(Refused) as caught:
        settings.set_leverage(floor.engine, floor.account, BTC, D(10))
    assert caught.value.code == 110043
    settings.set_leverage(floor.engine, floor.account, BTC, D(25))
    floor.market("Buy", "1")
    assert floor.engine.initial_margin(floor.account) == D(50_000) / 25 + D("27.5")


@pytest.mark.parametrize("leverage", ["0", "0.5", "1000", "10.001"])
def test_a_leverage_the_instrument_does_not_have_is_refused(leverage: str) -> None:
    floor = Floor()
    with pytest.raises(Refused) as caught:
        settings.set_leverage(floor.engine, floor.account, BTC, D(leverage))
    assert caught.value.code == 110013


def test_a_lower_leverage_that_the_balance_cannot_carry_is_refused() -> None:
    floor = Floor(deposit="6000")
    floor.market("Buy", "1")
    with pytest.raises(Refused) as caught:
        settings.set_leverage(floor.engine, floor.account, BTC, D(2))
    assert caught.value.code == 110012
    assert floor.account.position(BTC).leverage == 10


def test_cross_margin_lets_the_profit_of_one_symbol_back_an_order_in_another() -> None:
    floor = Floor(deposit="5200")
    floor.market("Buy", "1")
    with pytest.raises(Refused):
        floor.market("Buy", "10", symbol=ETH)
    floor.move("55000")
    floor.market("Buy", "10", symbol=ETH)
    assert floor.account.size(ETH) == 10


def test_a_mode_that_is_set_already_is_not_modified_and_one_that_differs_needs_a_free_symbol() -> None:
    floor = Floor()

    def code(mode: int) -> int:
        with pytest.raises(Refused) as caught:
            settings.switch_mode(floor.engine, floor.account, BTC, mode)
        return caught.value.code

    assert code(0) == 110025
    floor.limit("Buy", "0.1", "49000")
    assert code(3) == 110028
    floor.market("Buy", "0.1")
    assert (code(3), code(0)) == (110024, 110025)
    assert not floor.account.hedged

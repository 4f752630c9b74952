"""A row means the same over REST and over a stream; a corrupt row is an error that names the field."""

import contextlib
import copy
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha.bybit import decode, rows
from alpha.bybit.errors import UnreadableRow
from alpha.model.timestamp import at, ms_of
from tests.support import bybit_samples


def _with(sample: dict[str, Any], **changes: object) -> dict[str, Any]:
    return {**copy.deepcopy(sample), **changes}


def _without(sample: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in sample.items() if name != field}


def test_an_execution_of_the_stream_keeps_every_figure() -> None:
    row = rows.parse_execution(bybit_samples.EXECUTION_STREAM)
    assert (row.symbol, row.side, row.exec_type, row.category) == ("BTCUSDT", "Sell", "Trade", "linear")
    assert (row.price, row.qty, row.value) == (Decimal("37100.1"), Decimal("0.5"), Decimal("18550.05"))
    assert (row.fee, row.fee_currency, row.fee_rate) == (Decimal("10.2"), "USDT", Decimal("0.00055"))
    assert (row.closed_size, row.exec_pnl, row.leaves_qty) == (Decimal("0.5"), Decimal("52.5"), Decimal(0))
    assert (row.exec_time_ms, row.seq, row.is_maker) == (1700000000353, 140612148849382, False)
    assert (row.stop_order_type, row.create_type, row.extra_fees) == ("", "CreateByUser", "")
    assert row.changes_size


def test_an_opening_execution_over_rest_has_no_closed_size_and_takes_the_category_of_the_request() -> None:
    row = rows.parse_execution(bybit_samples.EXECUTION_REST_OPENING, "linear")
    assert row.category == "linear"
    assert row.closed_size is None
    assert row.exec_pnl is None
    assert row.fee == Decimal("-0.0071409")
    assert row.is_maker


def test_a_funding_row_moves_no_position() -> None:
    row = rows.parse_execution(bybit_samples.EXECUTION_FUNDING)
    assert row.exec_type == "Funding"
    assert not row.changes_size
    assert row.fee == Decimal("-1.85")
    assert (row.order_type, row.stop_order_type) == ("", "")


def test_extra_fees_are_kept_whole() -> None:
    tax = [{"feeCoin": "USDT", "feeType": "GST", "fee": "0.1"}]
    row = rows.parse_execution(_with(bybit_samples.EXECUTION_STREAM, extraFees=tax))
    assert json.loads(row.extra_fees) == tax


def test_an_exec_type_nobody_has_seen_is_kept_as_it_came() -> None:
    assert rows.parse_execution(_with(bybit_samples.EXECUTION_STREAM, execType="Novelty")).exec_type == "Novelty"


def test_a_field_nobody_has_seen_is_ignored() -> None:
    assert rows.parse_execution(_with(bybit_samples.EXECUTION_STREAM, novelty={"a": 1})) == rows.parse_execution(
        bybit_samples.EXECUTION_STREAM
    )


@pytest.mark.parametrize(
    "field", ["symbol", "execId", "execType", "execPrice", "execQty", "execValue", "execFee", "execTime", "isMaker"]
)
def test_an_execution_without_a_required_field_names_it(field: str) -> None:
    with pytest.raises(UnreadableRow) as caught:
        rows.parse_execution(_without(bybit_samples.EXECUTION_STREAM, field))
    assert caught.value.field == field
    assert caught.value.kind == "execution"
    assert field in str(caught.value)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-sNaN", "1e99", "1e-99", "12,5", "0x10", 1.5, True, [], {}])
def test_an_absurd_number_is_refused(text: object) -> None:
    with pytest.raises(UnreadableRow) as caught:
        rows.parse_execution(_with(bybit_samples.EXECUTION_STREAM, execQty=text))
    assert caught.value.field == "execQty"


@pytest.mark.parametrize("text", ["-5", "99999999999999999", "yesterday", 1.5, True])
def test_an_absurd_time_is_refused(text: object) -> None:
    with pytest.raises(UnreadableRow):
        rows.parse_execution(_with(bybit_samples.EXECUTION_STREAM, execTime=text))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from(sorted(bybit_samples.EXECUTION_STREAM)),
)
def test_whatever_a_field_holds_the_result_is_a_row_or_an_unreadable_row(junk: object, field: str) -> None:
    for reader in (rows.parse_execution, rows.parse_order, rows.parse_position, decode.parse_wallet):
        for row in (junk, _with(bybit_samples.EXECUTION_STREAM, **{field: junk})):
            with contextlib.suppress(UnreadableRow):
                reader(row)


def test_an_order_over_rest_has_none_for_levels_that_are_not_set() -> None:
    row = rows.parse_order(bybit_samples.ORDER_REST)
    assert (row.status, row.is_open) == ("New", True)
    assert row.price == Decimal("1600.00")
    assert row.avg_price is None
    assert row.trigger_price is None
    assert row.stop_loss == Decimal("1500.00")
    assert (row.cancel_type, row.reject_reason, row.stop_order_type) == ("", "", "")
    assert row.position_idx == 1


def test_a_filled_stop_of_the_stream_takes_its_fee_from_the_detail_by_coin() -> None:
    row = rows.parse_order(bybit_samples.ORDER_STREAM_STOP)
    assert (row.status, row.is_open) == ("Filled", False)
    assert row.cum_exec_fee == Decimal("0.822525")
    assert row.leaves_qty == 0
    assert row.price is None
    assert (row.stop_order_type, row.create_type) == ("StopLoss", "CreateByStopLoss")
    assert row.reduce_only


def test_an_order_status_nobody_has_seen_counts_as_open() -> None:
    assert rows.parse_order(_with(bybit_samples.ORDER_REST, orderStatus="Novelty")).is_open


def test_a_position_over_rest_has_its_entry_price_from_avg_price() -> None:
    row = rows.parse_position(bybit_samples.POSITION_REST)
    assert row.entry_price == Decimal("36800.5")
    assert row.signed_size == Decimal("-0.3")
    assert row.stop_loss == Decimal("37500.0")
    assert (row.take_profit, row.trailing_stop, row.liq_price) == (None, None, None)
    assert row.open_ms == 1697600000000


def test_a_position_of_the_stream_has_its_entry_price_from_entry_price() -> None:
    stream = _with(_without(bybit_samples.POSITION_REST, "avgPrice"), entryPrice="36800.5")
    assert rows.parse_position(stream) == rows.parse_position(bybit_samples.POSITION_REST)


def test_a_flat_position_has_no_side_and_no_levels() -> None:
    row = rows.parse_position(bybit_samples.POSITION_STREAM_FLAT)
    assert row.is_flat
    assert row.side == ""
    assert row.size == row.entry_price == row.signed_size == 0
    assert (row.stop_loss, row.take_profit, row.liq_price, row.open_ms) == (None, None, None, None)


@pytest.mark.parametrize(
    "changes", [{"side": ""}, {"side": "Long"}, {"avgPrice": ""}, {"avgPrice": "0"}, {"size": "-1"}, {"size": ""}]
)
def test_an_open_position_without_side_price_or_size_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(UnreadableRow):
        rows.parse_position(_with(bybit_samples.POSITION_REST, **changes))


def test_a_wallet_gives_the_usdt_coin_and_what_of_it_is_free() -> None:
    wallet = decode.parse_wallet(bybit_samples.WALLET)
    assert wallet.usdt is not None
    assert wallet.usdt.equity == Decimal("10020.15")
    assert wallet.usdt.available == Decimal("10005") - Decimal("2208.03") - 100 - 5 - 1
    assert wallet.total_available == Decimal("7912.4")
    assert wallet.coin("ETH") is None


def test_portfolio_margin_leaves_totals_unknown_instead_of_zero() -> None:
    assert decode.parse_wallet(_with(bybit_samples.WALLET, totalInitialMargin="")).total_initial_margin is None


def test_an_instrument_gives_its_filters() -> None:
    row = decode.parse_instrument(bybit_samples.INSTRUMENT)
    assert (row.tick_size, row.qty_step) == (Decimal("0.10"), Decimal("0.001"))
    assert (row.min_notional, row.max_market_qty) == (Decimal(5), Decimal(500))
    assert row.delivery_ms is None
    assert row.funding_interval_min == 480


def test_a_scheduled_delisting_shows_as_delivery_time() -> None:
    assert (
        decode.parse_instrument(_with(bybit_samples.INSTRUMENT, deliveryTime="1700000000000")).delivery_ms
        == 1700000000000
    )


@pytest.mark.parametrize("path", [("priceFilter", "tickSize"), ("lotSizeFilter", "qtyStep")])
def test_a_step_of_zero_is_refused(path: tuple[str, str]) -> None:
    sample = copy.deepcopy(bybit_samples.INSTRUMENT)
    sample[path[0]][path[1]] = "0"
    with pytest.raises(UnreadableRow) as caught:
        decode.parse_instrument(sample)
    assert caught.value.field == path[1]


def test_a_candle_over_rest_is_closed_once_its_interval_is_over() -> None:
    row = ["1700000040000", "37000", "37002", "36999", "37001.5", "3.21", "118770.1"]
    start = 1700000040000
    assert decode.parse_kline_rest(row, "BTCUSDT", "1", start + 60_000).closed
    assert not decode.parse_kline_rest(row, "BTCUSDT", "1", start + 59_999).closed


def test_a_candle_of_the_stream_says_itself_whether_it_is_closed() -> None:
    row = {
        "start": 1700000040000,
        "end": 1700000099999,
        "interval": "1",
        "open": "37000",
        "close": "37001.5",
        "high": "37002",
        "low": "36999",
        "volume": "3.21",
        "turnover": "118770.1",
        "confirm": True,
        "timestamp": 1700000099871,
    }
    candle = decode.parse_kline_stream(row, "BTCUSDT")
    assert candle == decode.parse_kline_rest(
        ["1700000040000", "37000", "37002", "36999", "37001.5", "3.21", "118770.1"], "BTCUSDT", "1", 1700000100000
    )
    with pytest.raises(UnreadableRow):
        decode.parse_kline_stream(_without(row, "confirm"), "BTCUSDT")


@pytest.mark.parametrize("row", [[], ["1"], {}, None, "text", ["x"] * 7])
def test_a_damaged_candle_is_refused(row: object) -> None:
    with pytest.raises(UnreadableRow):
        decode.parse_kline_rest(row, "BTCUSDT", "1", 1700000100000)


def test_a_ticker_refers_to_the_mark_price() -> None:
    row = decode.parse_ticker(bybit_samples.TICKER)
    assert row.reference_price == Decimal("16596.00")
    assert (row.bid, row.ask) == (Decimal("16596.00"), Decimal("16597.50"))
    assert row.next_funding_ms == 1672387200000
    assert row.delivery_ms is None


def test_a_delivery_time_reads_alike_as_milliseconds_and_as_iso_text() -> None:
    moment = at(1700000000000)
    stream = decode.parse_ticker(_with(bybit_samples.TICKER, deliveryTime=moment.isoformat()))
    assert stream.delivery_ms == ms_of(moment)


def test_a_closed_pnl_row_equals_its_own_sum() -> None:
    row = decode.parse_closed_pnl(bybit_samples.CLOSED_PNL)
    assert row.closing_side == "Sell"
    fees = (row.open_fee or 0) + (row.close_fee or 0)
    assert row.exit_value - row.entry_value - fees == row.closed_pnl


def test_a_funding_line_of_the_ledger_has_the_sign_of_money_received() -> None:
    row = decode.parse_transaction(bybit_samples.TRANSACTION)
    assert row.funding == Decimal("-0.003676")
    assert row.fee == 0
    assert row.change == row.cash_flow + row.funding - row.fee


def test_a_key_that_can_withdraw_is_known_as_one() -> None:
    key = decode.parse_key_info(bybit_samples.KEY_INFO)
    assert (key.user_id, key.can_trade, key.can_withdraw, key.can_transfer) == ("24600000", True, False, True)
    assert not key.ip_bound
    rights = {**bybit_samples.KEY_INFO["permissions"], "Wallet": ["Withdraw"]}
    assert decode.parse_key_info(_with(bybit_samples.KEY_INFO, permissions=rights)).can_withdraw


def test_a_key_whose_wallet_rights_are_not_listed_cannot_be_called_safe() -> None:
    rights = _without(bybit_samples.KEY_INFO["permissions"], "Wallet")
    assert decode.parse_key_info(_with(bybit_samples.KEY_INFO, permissions=rights)).can_withdraw


def test_a_read_only_key_cannot_trade() -> None:
    assert not decode.parse_key_info(_with(bybit_samples.KEY_INFO, readOnly=1)).can_trade


@pytest.mark.parametrize("value", ["", 0, None, True, []])
def test_a_key_without_user_id_is_refused(value: object) -> None:
    with pytest.raises(UnreadableRow):
        decode.parse_key_info(_with(bybit_samples.KEY_INFO, userID=value))

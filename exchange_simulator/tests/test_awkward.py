"""Contracts with awkward filters, a tick that changes, a launch and a delisting while the exchange runs."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from exchange_simulator.engine import corporate, orders
from exchange_simulator.engine.model import Execution, Order, Refused
from exchange_simulator.engine.orders import NewOrder
from exchange_simulator.exchange import Exchange
from exchange_simulator.keys import parse_account
from exchange_simulator.market import awkward
from exchange_simulator.market.model import HOUR_MS
from exchange_simulator.options import BadOption, parse
from exchange_simulator.rest.market import instrument_row

START = "2025-03-01"


def exchange(*symbols: str) -> Exchange:
    options = parse(["--awkward", "--symbols", ",".join(symbols), "--start", START, "--speed", "60"], {})
    return Exchange(options.market, [parse_account("k:s:1000000:usdc=1000")], options.setup)


def row(made: Exchange, symbol: str) -> dict[str, Any]:
    return instrument_row(made.market.instruments[symbol], made.now_ms)


def place(made: Exchange, symbol: str, qty: object, **more: Any) -> Order:
    (account,) = made.engine.accounts.values()
    instrument = made.market.instruments[symbol]
    new = NewOrder(symbol, "Buy", "Market", instrument.qty_step * qty)  # type: ignore[operator]
    return orders.create(made.engine, account, replace(new, **more))


def code(made: Exchange, symbol: str, qty: object, **more: Any) -> int:
    with pytest.raises(Refused) as caught:
        place(made, symbol, qty, **more)
    return caught.value.code


def test_the_option_adds_each_awkward_symbol_once() -> None:
    found = parse(["--awkward", "--start", START, "--symbols", "BTCUSDT,ETHUSDT"], {})
    assert tuple(found.market.instruments) == ("BTCUSDT", "ETHUSDT", *(s for s in awkward.SYMBOLS if s != "BTCUSDT"))
    with pytest.raises(BadOption, match="--awkward"):
        parse(["--awkward", "--market", "live"], {})


def test_filters_bind_orders() -> None:
    made = exchange("ETHUSDT")
    assert code(made, awkward.LARGE_MINIMUM, 9) == 10001
    assert code(made, awkward.SMALL_MARKET, 51) == 10001
    lots = row(made, awkward.LARGE_MINIMUM)["lotSizeFilter"]
    assert float(lots["minOrderQty"]) == 10 * float(lots["qtyStep"])
    lots = row(made, awkward.SMALL_MARKET)["lotSizeFilter"]
    assert float(lots["maxMktOrderQty"]) * 10 == float(lots["maxOrderQty"])
    assert row(made, "BTCPERP")["settleCoin"] == row(made, "BTCPERP")["quoteCoin"] == "USDC"
    made.close()


def test_a_tick_gets_coarser_in_mid_run() -> None:
    made = exchange("ETHUSDT")
    tick = made.market.instruments[awkward.COARSE_TICK].tick_size
    price = made.engine.books[awkward.COARSE_TICK].last // (tick * 10) * tick * 10 + tick
    limit = {"order_type": "Limit", "price": price}
    assert place(made, awkward.COARSE_TICK, 1000, **limit).status
    made.timeline.advance(made.now_ms + awkward.TICK_CHANGES_MS)
    assert row(made, awkward.COARSE_TICK)["priceFilter"]["tickSize"] == format((tick * 10).normalize(), "f")
    assert code(made, awkward.COARSE_TICK, 1000, **limit) == 10001
    made.close()


def test_a_pre_market_contract_becomes_a_normal_one() -> None:
    made = exchange("ETHUSDT")
    before = row(made, awkward.PRE_MARKET)
    assert (before["status"], before["isPreListing"]) == ("PreLaunch", True)
    assert before["leverageFilter"]["maxLeverage"] == "5"
    assert made.quotes.ticker(awkward.PRE_MARKET)["curPreListingPhase"] == "ContinuousTrading"
    made.timeline.advance(made.now_ms + awkward.LAUNCH_MS)
    after = row(made, awkward.PRE_MARKET)
    assert (after["status"], after["isPreListing"], after["preListingInfo"]) == ("Trading", False, None)
    assert after["leverageFilter"]["maxLeverage"] == "25"
    made.close()


def test_a_split_holds_for_the_days_of_a_market_that_are_not_made_yet() -> None:
    split, usual = exchange("ETHUSDT"), exchange("ETHUSDT")
    for made in (split, usual):
        made.timeline.advance(made.now_ms + HOUR_MS)
    split.replace_instrument(corporate.split_instrument(split.engine.instruments["ETHUSDT"], Decimal(10)))
    corporate.split(split.engine, "ETHUSDT", Decimal(10))
    for _ in range(6):
        for made in (split, usual):
            made.timeline.advance(made.now_ms + 12 * HOUR_MS)
        books = [made.engine.books["ETHUSDT"] for made in (split, usual)]
        assert books[0].last * 10 == books[1].last
    shown = [made.quotes.ticker("ETHUSDT") for made in (split, usual)]
    assert Decimal(shown[0]["volume24h"]) == Decimal(shown[1]["volume24h"]) * 10
    assert Decimal(shown[0]["openInterest"]) == Decimal(shown[1]["openInterest"]) * 10
    for made in (split, usual):
        made.close()


def test_a_delisting_is_announced_and_settles_what_is_held() -> None:
    made = exchange("ETHUSDT")
    place(made, awkward.DELISTED, 1000)
    assert row(made, awkward.DELISTED)["deliveryTime"] == "0"
    begin = made.now_ms
    made.timeline.advance(begin + awkward.DELIVERY_ANNOUNCED_MS)
    assert row(made, awkward.DELISTED)["deliveryTime"] == str(begin + awkward.DELIVERY_MS)
    made.timeline.advance(begin + awkward.DELIVERY_MS + HOUR_MS)
    (account,) = made.engine.accounts.values()
    rows = made.storage.after("executions", account.uid, 0, 100, Execution)
    assert [fill.exec_type for _, fill in rows if fill.exec_type != "Funding"] == ["Trade", "Delivery"]
    assert row(made, awkward.DELISTED)["status"] == "Closed"
    assert code(made, awkward.DELISTED, 1000) == 110074
    made.close()

"""Market endpoints; no key required."""

import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeVar

from exchange_simulator.engine.model import Refused
from exchange_simulator.exchange import Exchange
from exchange_simulator.market.model import Bar, Instrument
from exchange_simulator.render import text
from exchange_simulator.rest.args import ANY_SYMBOL, CATEGORY, CURSOR, SYMBOL, WINDOW, Param, digits, limit
from exchange_simulator.rest.endpoint import Call, Endpoint

T = TypeVar("T")
RISK_SYMBOLS = 15  # page size of `risk-limit`
DEFAULT_CATEGORY = Param("category", choices=("linear", "inverse", "spot", "option"), default="linear")
_KLINE = (
    DEFAULT_CATEGORY,
    SYMBOL,
    Param("interval", required=True),
    Param("start", "int", low=0),
    Param("end", "int", low=0),
    limit(200, 1000),
)


def server_time(call: Call) -> dict[str, Any]:
    now = call.exchange.now_ms + call.exchange.skew_ms
    return {"timeSecond": str(now // 1000), "timeNano": f"{now}{time.monotonic_ns() % 1_000_000:06d}"}


def _bars(call: Call) -> list[Bar]:
    args = call.args
    call.symbol()
    return call.exchange.candles.page(
        args.text("symbol"),
        args.text("interval"),
        args.maybe_integer("start"),
        args.maybe_integer("end"),
        args.integer("limit"),
    )


def _kline_result(call: Call, rows: list[list[str]]) -> dict[str, Any]:
    return {"symbol": call.args.text("symbol"), "category": call.args.text("category"), "list": rows}


def kline(call: Call) -> dict[str, Any]:
    if not call.linear:
        return _kline_result(call, [])
    symbol = call.symbol()
    return _kline_result(call, [call.exchange.candles.row(symbol, bar) for bar in _bars(call)])


def mark_kline(call: Call) -> dict[str, Any]:
    if not call.linear:
        return _kline_result(call, [])
    symbol = call.symbol()
    return _kline_result(call, [call.exchange.candles.row(symbol, bar)[:5] for bar in _bars(call)])


def index_kline(call: Call) -> dict[str, Any]:
    if not call.linear:
        return _kline_result(call, [])
    symbol = call.symbol()
    return _kline_result(call, [call.exchange.candles.index_row(symbol, bar) for bar in _bars(call)])


def premium_kline(call: Call) -> dict[str, Any]:
    if not call.linear:
        return _kline_result(call, [])
    symbol = call.symbol()
    return _kline_result(call, [call.exchange.candles.premium_row(symbol, bar) for bar in _bars(call)])


PRE_MARKET_PHASE = "ContinuousTrading"
STATES = ("PreLaunch", "Trading", "Delivering", "Closed")


def status_of(instrument: Instrument, now_ms: int) -> str:
    """The state of a contract: it trades until its delivery time."""
    if instrument.pre_market:
        return "PreLaunch"
    return "Closed" if instrument.delivery_ms and now_ms >= instrument.delivery_ms else "Trading"


def _pre_listing(instrument: Instrument) -> dict[str, Any]:
    """A pre-market contract here is in continuous trading from the start."""
    phase = {"phase": PRE_MARKET_PHASE, "startTime": str(instrument.launch_ms), "endTime": ""}
    fees = {"auctionFeeRate": "0", "takerFeeRate": "0.001", "makerFeeRate": "0.0004"}
    return {"curAuctionPhase": PRE_MARKET_PHASE, "phases": [phase], "auctionFeeInfo": fees}


def instrument_row(instrument: Instrument, now_ms: int) -> dict[str, Any]:
    """A row of `instruments-info`."""
    return {
        "symbol": instrument.symbol,
        "symbolId": instrument.symbol_id,
        "contractType": "LinearPerpetual",
        "status": status_of(instrument, now_ms),
        "baseCoin": instrument.base_coin,
        "quoteCoin": instrument.quote_coin,
        "launchTime": str(instrument.launch_ms),
        "deliveryTime": str(instrument.delivery_ms),
        "deliveryFeeRate": "",
        "priceScale": str(instrument.price_scale),
        "leverageFilter": {
            "minLeverage": text(instrument.min_leverage),
            "maxLeverage": text(instrument.max_leverage),
            "leverageStep": text(instrument.leverage_step),
        },
        "priceFilter": {
            "minPrice": text(instrument.min_price),
            "maxPrice": text(instrument.max_price),
            "tickSize": text(instrument.price_step),
        },
        "lotSizeFilter": {
            "maxOrderQty": text(instrument.max_order_qty),
            "minOrderQty": text(instrument.min_order_qty),
            "qtyStep": text(instrument.qty_step),
            "postOnlyMaxOrderQty": text(instrument.max_order_qty),
            "maxMktOrderQty": text(instrument.max_mkt_order_qty),
            "minNotionalValue": text(instrument.min_notional),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": instrument.funding_interval_min,
        "settleCoin": instrument.settle_coin,
        "copyTrading": "none",
        "upperFundingRate": text(instrument.upper_funding_rate),
        "lowerFundingRate": text(instrument.lower_funding_rate),
        "isPreListing": instrument.pre_market,
        "preListingInfo": _pre_listing(instrument) if instrument.pre_market else None,
        "riskParameters": {
            "priceLimitRatioX": text(instrument.price_limit_ratio_x),
            "priceLimitRatioY": text(instrument.price_limit_ratio_y),
        },
        "displayName": "",
        "symbolType": instrument.symbol_type,
        "marketRegion": instrument.market_region,
        "forbidUplWithdrawal": False,
    }


def instruments_info(call: Call) -> dict[str, Any]:
    args, now = call.args, call.exchange.now_ms
    category = args.text("category")
    if not call.linear:
        return {"category": category, "list": [], "nextPageCursor": ""}
    status = args.text("status") or "Trading"
    name, base = args.text("symbol"), args.text("baseCoin")
    rows = [
        instrument_row(instrument, now)
        for symbol, instrument in call.exchange.market.instruments.items()
        if (not name or symbol == name) and (not base or instrument.base_coin == base)
    ]
    if name and not rows:
        raise Refused(10001, "params error: symbol invalid " + name)
    if not name:
        rows = [row for row in rows if row["status"] == status and args.text("symbolType") in ("", row["symbolType"])]
    page, cursor = _page(call, rows, args.integer("limit"))
    return {"category": category, "list": page, "nextPageCursor": cursor}


def _page(call: Call, rows: Sequence[T], size: int) -> tuple[Sequence[T], str]:
    """The page at the cursor, and the cursor of the next page ("" at the end)."""
    first = digits(call.args.text("cursor") or "0")
    if first is None:
        raise Refused(10001, "params error: cursor invalid")
    page = rows[first : first + size]
    after = first + len(page)
    return page, str(after) if after < len(rows) else ""


def tickers(call: Call) -> dict[str, Any]:
    category = call.args.text("category")
    if not call.linear:
        return {"category": category, "list": []}
    chosen = [call.symbol()] if call.args.text("symbol") else list(call.symbols() or call.exchange.market.instruments)
    books = call.exchange.engine.books
    return {
        "category": category,
        "list": [call.exchange.quotes.ticker(symbol) for symbol in chosen if symbol in books and books[symbol].last],
    }


def orderbook(call: Call) -> dict[str, Any]:
    now = call.exchange.now_ms
    if not call.linear:
        return {"s": call.args.text("symbol"), "b": [], "a": [], "ts": now, "u": 0, "seq": 0, "cts": now}
    symbol = call.symbol()
    bids, asks = call.exchange.quotes.levels(symbol, call.args.integer("limit"))
    return {
        "s": symbol,
        "b": [[text(price), text(size)] for price, size in bids],
        "a": [[text(price), text(size)] for price, size in asks],
        "ts": now,
        "u": now // 100,
        "seq": now // 100,
        "cts": now,
    }


def recent_trade(call: Call) -> dict[str, Any]:
    category = call.args.text("category")
    if not call.linear:
        return {"category": category, "list": []}
    return {"category": category, "list": call.exchange.feed.recent_trades(call.symbol(), call.args.integer("limit"))}


def funding_history(call: Call) -> dict[str, Any]:
    args = call.args
    category = args.text("category")
    start, end = args.maybe_integer("startTime"), args.maybe_integer("endTime")
    if start is not None and end is None:
        raise Refused(10001, "params error: endTime is required when startTime is given")
    if not call.linear:
        return {"category": category, "list": []}
    if start is not None and end is not None and start > end:
        raise Refused(10001, "params error: startTime is after endTime")
    symbol = call.symbol()
    instrument = call.exchange.market.instruments[symbol]
    interval = instrument.funding_interval_min * 60_000
    last = min(end if end is not None else call.exchange.now_ms, call.exchange.now_ms) // interval * interval
    first = max(start or 0, call.exchange.market.first_ms, last - (args.integer("limit") - 1) * interval)
    times = range(last, first - 1, -interval)
    return {
        "category": category,
        "list": [
            {
                "symbol": symbol,
                "fundingRate": text(call.exchange.market.funding_rate(symbol, time_ms)),
                "fundingRateTimestamp": str(time_ms),
            }
            for time_ms in times
        ],
    }


_INTEREST_MS = {
    "5min": 300_000,
    "15min": 900_000,
    "30min": 1_800_000,
    "1h": 3_600_000,
    "4h": 14_400_000,
    "1d": 86_400_000,
}


def open_interest(call: Call) -> dict[str, Any]:
    args = call.args
    symbol = call.symbol() if call.linear else args.text("symbol")
    length = _INTEREST_MS[args.text("intervalTime")]
    now = call.exchange.now_ms
    end = min(args.integer("endTime", now), now) // length * length
    cursor = digits(args.text("cursor"))
    if cursor is not None:
        end = min(end, cursor)
    start = args.integer("startTime", end - (args.integer("limit") - 1) * length)
    times = range(end, max(start, call.exchange.market.first_ms) - 1, -length) if call.linear else range(0)
    page = times[: args.integer("limit")]
    return {
        "symbol": symbol,
        "category": args.text("category"),
        "list": [
            {"openInterest": amount, "singleOpenInterest": amount, "timestamp": str(t)}
            for t in page
            for amount in (text(call.exchange.market.open_interest(symbol, t)),)
        ],
        "nextPageCursor": str(page[-1] - length) if len(times) > len(page) else "",
    }


def risk_limit(call: Call) -> dict[str, Any]:
    category = call.args.text("category")
    rows: list[dict[str, Any]] = []
    cursor = ""
    if call.linear:
        symbols = [call.symbol()] if call.args.text("symbol") else list(call.exchange.market.instruments)
        chosen, cursor = _page(call, symbols, RISK_SYMBOLS)
        for symbol in chosen:
            for number, tier in enumerate(call.exchange.market.instruments[symbol].risk_tiers):
                rows.append(
                    {
                        "id": tier.id,
                        "symbol": symbol,
                        "riskLimitValue": text(tier.limit_value),
                        "maintenanceMargin": text(tier.maintenance_margin),
                        "initialMargin": text(tier.initial_margin),
                        "isLowestRisk": int(number == 0),
                        "maxLeverage": text(tier.max_leverage),
                        "mmDeduction": text(tier.mm_deduction) if tier.mm_deduction else "",
                    }
                )
    return {"category": category, "list": rows, "nextPageCursor": cursor}


def price_limit(call: Call) -> dict[str, Any]:
    if not call.linear:
        raise Refused(10001, f"params error: category {call.args.text('category')} has no symbols on this exchange")
    symbol = call.symbol()
    book = call.exchange.engine.books[symbol]
    ratio, tick = book.instrument.price_limit_ratio_x, book.instrument.tick_size
    return {
        "symbol": symbol,
        "buyLmt": text(book.mark * (1 + ratio) // tick * tick),
        "sellLmt": text(-(-book.mark * (1 - ratio) // tick) * tick),
        "ts": str(call.exchange.now_ms),
    }


DRAWDOWN_TRIGGER = Decimal("-0.3")
DRAWDOWN_STOP = Decimal("-0.25")
POOL_THRESHOLD = Decimal(10_000)


def adl_rows(exchange: Exchange, symbols: Sequence[str]) -> list[dict[str, Any]]:
    """The insurance pool, shared by all symbols here, and the drawdown per symbol."""
    return [
        {
            "coin": exchange.engine.coin_of(symbol),
            "symbol": symbol,
            "balance": text(exchange.engine.insurance),
            "maxBalance": text(max(exchange.engine.insurance, exchange.engine.rules.insurance_fund)),
            "insurancePnlRatio": text(DRAWDOWN_TRIGGER),
            "pnlRatio": text(exchange.drawdowns.get(symbol, Decimal(0))),
            "adlTriggerThreshold": text(POOL_THRESHOLD),
            "adlStopRatio": text(DRAWDOWN_STOP),
        }
        for symbol in symbols
    ]


def adl_alert(call: Call) -> dict[str, Any]:
    symbols = [call.symbol()] if call.args.text("symbol") else list(call.exchange.market.instruments)
    return {"updatedTime": str(call.exchange.now_ms), "list": adl_rows(call.exchange, symbols)}


def _get(path: str, handler: Any, *params: Param) -> Endpoint:
    return Endpoint("GET", f"/v5/market/{path}", handler, params, private=False)


ENDPOINTS = (
    _get("time", server_time),
    _get("kline", kline, *_KLINE),
    _get("mark-price-kline", mark_kline, *_KLINE),
    _get("index-price-kline", index_kline, *_KLINE),
    _get("premium-index-price-kline", premium_kline, *_KLINE),
    _get(
        "instruments-info",
        instruments_info,
        CATEGORY,
        ANY_SYMBOL,
        Param("status", choices=STATES),
        Param("baseCoin"),
        Param("symbolType"),
        limit(500, 1000),
        CURSOR,
    ),
    _get("tickers", tickers, CATEGORY, ANY_SYMBOL, Param("baseCoin"), Param("expDate")),
    _get("orderbook", orderbook, CATEGORY, SYMBOL, limit(25, 1000)),
    _get("recent-trade", recent_trade, CATEGORY, SYMBOL, Param("baseCoin"), Param("optionType"), limit(500, 1000)),
    _get("funding/history", funding_history, CATEGORY, SYMBOL, *WINDOW, limit(200, 200)),
    _get(
        "open-interest",
        open_interest,
        CATEGORY,
        SYMBOL,
        Param("intervalTime", required=True, choices=tuple(_INTEREST_MS)),
        *WINDOW,
        limit(50, 200),
        CURSOR,
    ),
    _get("risk-limit", risk_limit, CATEGORY, ANY_SYMBOL, CURSOR),
    _get("adlAlert", adl_alert, ANY_SYMBOL),
    _get("price-limit", price_limit, DEFAULT_CATEGORY, SYMBOL),
)

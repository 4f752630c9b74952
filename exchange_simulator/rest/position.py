"""Position endpoints."""

from decimal import Decimal

from exchange_simulator.engine import settings
from exchange_simulator.engine.model import ZERO, ClosedPnl, Refused
from exchange_simulator.engine.orders import check_idx
from exchange_simulator.render import Row, closed_row, position_row
from exchange_simulator.rest.args import ANY_SYMBOL, CATEGORY, CURSOR, SYMBOL, WINDOW, Param, limit
from exchange_simulator.rest.endpoint import Call, Endpoint
from exchange_simulator.rest.order import TRIGGER_BY, only_linear

ADDED_MARGIN = [
    "symbol",
    "positionIdx",
    "riskId",
    "riskLimitValue",
    "size",
    "avgPrice",
    "liqPrice",
    "bustPrice",
    "markPrice",
    "positionValue",
    "leverage",
    "autoAddMargin",
    "positionStatus",
    "positionIM",
    "positionMM",
    "takeProfit",
    "stopLoss",
    "trailingStop",
    "unrealisedPnl",
    "cumRealisedPnl",
    "createdTime",
    "updatedTime",
]


def positions(call: Call) -> Row:
    args = call.args
    category = args.text("category")
    if not call.linear:
        return {"category": category, "nextPageCursor": "", "list": []}
    name = args.text("symbol")
    if not name and not args.text("settleCoin"):
        raise Refused(10001, "params error: symbol or settleCoin is required")
    account, engine = call.account, call.exchange.engine
    if name:
        chosen = account.legs(call.symbol())
    else:
        symbols = call.symbols()
        chosen = [position for position in account.held() if not symbols or position.symbol in symbols]
    chosen.sort(key=lambda position: position.leg)
    after = args.text("cursor")
    chosen = [position for position in chosen if position.leg > after]
    page = chosen[: args.integer("limit")]
    return {
        "category": category,
        "nextPageCursor": page[-1].leg if len(chosen) > len(page) else "",
        "list": [position_row(engine.position_view(account, position)) for position in page],
    }


def set_leverage(call: Call) -> Row:
    only_linear(call)
    symbol = call.symbol()
    buy, sell = call.args.number("buyLeverage"), call.args.number("sellLeverage")
    if buy is None or sell is None:
        raise Refused(10001, "params error: buyLeverage and sellLeverage are required")
    settings.set_leverage(call.exchange.engine, call.account, symbol, buy, sell)
    return {}


def switch_mode(call: Call) -> Row:
    only_linear(call)
    args = call.args
    engine, mode = call.exchange.engine, args.integer("mode")
    if args.text("symbol"):
        settings.switch_mode(engine, call.account, call.symbol(), mode)
    elif args.text("coin"):
        settings.switch_coin(engine, call.account, args.text("coin"), mode)
    else:
        raise Refused(10001, "params error: symbol or coin is required")
    return {}


def switch_isolated(call: Call) -> Row:
    """Refused: a unified account has one margin mode for all symbols."""
    raise Refused(100028, "unified account is forbidden")


def add_margin(call: Call) -> Row:
    only_linear(call)
    engine, account, symbol, idx = call.exchange.engine, call.account, call.symbol(), call.args.integer("positionIdx")
    check_idx(account, symbol, idx)
    amount = call.args.number("margin") or ZERO
    if amount % Decimal("0.0001"):
        raise Refused(10001, "params error: margin has at most 4 decimals")
    position = settings.add_margin(engine, account, symbol, idx, amount)
    row = position_row(engine.position_view(account, position))
    return {"category": call.args.text("category"), **{name: row[name] for name in ADDED_MARGIN}}


def trading_stop(call: Call) -> Row:
    only_linear(call)
    args = call.args
    request = settings.TradingStop(
        symbol=call.symbol(),
        idx=args.integer("positionIdx"),
        mode=args.text("tpslMode") or "Full",
        take_profit=args.number("takeProfit"),
        stop_loss=args.number("stopLoss"),
        trailing_stop=args.number("trailingStop"),
        active_price=args.number("activePrice"),
        tp_trigger_by=args.text("tpTriggerBy"),
        sl_trigger_by=args.text("slTriggerBy"),
        tp_size=args.number("tpSize"),
        sl_size=args.number("slSize"),
        tp_order_type=args.text("tpOrderType") or "Market",
        sl_order_type=args.text("slOrderType") or "Market",
        tp_limit_price=args.number("tpLimitPrice"),
        sl_limit_price=args.number("slLimitPrice"),
    )
    settings.set_trading_stop(call.exchange.engine, call.account, request)
    return {}


def closed_pnl(call: Call) -> Row:
    category = call.args.text("category")
    if not call.linear:
        return {"category": category, "nextPageCursor": "", "list": []}
    start, end = call.window()
    query = call.history(call.args.integer("limit"), from_ms=start, to_ms=end, symbols=call.symbols())
    page = call.exchange.storage.page("closed_pnl", query, ClosedPnl)
    return {"category": category, "nextPageCursor": page.cursor, "list": [closed_row(row) for row in page.rows]}


ENDPOINTS = (
    Endpoint(
        "GET",
        "/v5/position/list",
        positions,
        (CATEGORY, ANY_SYMBOL, Param("baseCoin"), Param("settleCoin"), limit(20, 200), CURSOR),
        calls=50,
    ),
    Endpoint(
        "POST",
        "/v5/position/set-leverage",
        set_leverage,
        (
            CATEGORY,
            SYMBOL,
            Param("buyLeverage", "number", required=True),
            Param("sellLeverage", "number", required=True),
        ),
        writes=True,
        calls=10,
    ),
    Endpoint(
        "POST",
        "/v5/position/switch-mode",
        switch_mode,
        (CATEGORY, ANY_SYMBOL, Param("coin"), Param("mode", "int", required=True, choices=("0", "3"))),
        writes=True,
        calls=10,
    ),
    Endpoint(
        "POST",
        "/v5/position/switch-isolated",
        switch_isolated,
        (
            CATEGORY,
            SYMBOL,
            Param("tradeMode", "int", choices=("0", "1")),
            Param("buyLeverage", "number"),
            Param("sellLeverage", "number"),
        ),
        writes=True,
        calls=10,
    ),
    Endpoint(
        "POST",
        "/v5/position/add-margin",
        add_margin,
        (
            CATEGORY,
            SYMBOL,
            Param("margin", "number", required=True),
            Param("positionIdx", "int", choices=("0", "1", "2")),
        ),
        writes=True,
        calls=10,
    ),
    Endpoint(
        "POST",
        "/v5/position/trading-stop",
        trading_stop,
        (
            CATEGORY,
            SYMBOL,
            Param("tpslMode", choices=("Full", "Partial")),
            Param("positionIdx", "int", choices=("0", "1", "2")),
            Param("takeProfit", "number"),
            Param("stopLoss", "number"),
            Param("trailingStop", "number"),
            Param("activePrice", "number"),
            Param("tpTriggerBy", choices=TRIGGER_BY),
            Param("slTriggerBy", choices=TRIGGER_BY),
            Param("tpSize", "number"),
            Param("slSize", "number"),
            Param("tpLimitPrice", "number"),
            Param("slLimitPrice", "number"),
            Param("tpOrderType", choices=("Market", "Limit")),
            Param("slOrderType", choices=("Market", "Limit")),
        ),
        writes=True,
        calls=10,
    ),
    Endpoint(
        "GET",
        "/v5/position/closed-pnl",
        closed_pnl,
        (CATEGORY, ANY_SYMBOL, *WINDOW, limit(50, 100), CURSOR),
        calls=50,
    ),
)

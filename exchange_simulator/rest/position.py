"""Position endpoints."""

from exchange_simulator.engine import settings
from exchange_simulator.engine.model import ClosedPnl, Refused
from exchange_simulator.render import Row, closed_row, position_row
from exchange_simulator.rest.args import ANY_SYMBOL, CATEGORY, CURSOR, SYMBOL, WINDOW, Param, limit
from exchange_simulator.rest.endpoint import Call, Endpoint
from exchange_simulator.rest.order import TRIGGER_BY, only_linear


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
        chosen = [account.position(call.symbol())]
    else:
        symbols = call.symbols()
        chosen = [position for position in account.held() if not symbols or position.symbol in symbols]
    chosen.sort(key=lambda position: position.symbol)
    after = args.text("cursor")
    chosen = [position for position in chosen if position.symbol > after]
    page = chosen[: args.integer("limit")]
    return {
        "category": category,
        "nextPageCursor": page[-1].symbol if len(chosen) > len(page) else "",
        "list": [position_row(engine.position_view(account, position)) for position in page],
    }


def set_leverage(call: Call) -> Row:
    only_linear(call)
    symbol = call.symbol()
    buy, sell = call.args.number("buyLeverage"), call.args.number("sellLeverage")
    if buy is None or sell is None or buy != sell:
        raise Refused(10001, "params error: buyLeverage and sellLeverage must be equal")
    settings.set_leverage(call.exchange.engine, call.account, symbol, buy)
    return {}


def switch_mode(call: Call) -> Row:
    only_linear(call)
    args = call.args
    if args.text("symbol"):
        symbols: tuple[str, ...] = (call.symbol(),)
    elif args.text("coin"):
        symbols = tuple(call.exchange.market.instruments)
    else:
        raise Refused(10001, "params error: symbol or coin is required")
    settings.switch_mode(call.exchange.engine, call.account, symbols, args.integer("mode"))
    return {}


def trading_stop(call: Call) -> Row:
    only_linear(call)
    args = call.args
    if args.integer("positionIdx"):
        raise Refused(10001, "position idx not match position mode")
    request = settings.TradingStop(
        symbol=call.symbol(),
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

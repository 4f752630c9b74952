"""Order and execution endpoints."""

from decimal import Decimal
from typing import Any

from exchange_simulator.engine import orders
from exchange_simulator.engine.account import Account
from exchange_simulator.engine.amend import Amendment
from exchange_simulator.engine.amend import amend as amend_order
from exchange_simulator.engine.model import ZERO, Execution, Order, Refused
from exchange_simulator.render import Row, execution_row, order_row
from exchange_simulator.rest.args import ANY_SYMBOL, CATEGORY, CURSOR, SYMBOL, WINDOW, Args, Param, limit
from exchange_simulator.rest.endpoint import DAY_MS, Call, Endpoint
from exchange_simulator.storage import WAITED, Query, order_kinds

TRIGGER_BY = ("LastPrice", "IndexPrice", "MarkPrice")
FINAL = ("Filled", "Triggered", "Cancelled", "Rejected", "Deactivated", "PartiallyFilledCanceled")
FILTERS = ("Order", "StopOrder", "OpenOrder", "tpslOrder", "OcoOrder", "BidirectionalTpslOrder")
UNFILLED = tuple(  # shown for one day, since they have no fills
    f"{status}{mark}" for status in ("Cancelled", "Rejected", "Deactivated") for mark in ("", WAITED)
)
MOST_CANCELLED = 500
RECENTLY_CLOSED = 500
_EMPTY: Row = {"list": [], "nextPageCursor": ""}

CREATE_PARAMS = (
    CATEGORY,
    SYMBOL,
    Param("side", required=True, choices=("Buy", "Sell")),
    Param("orderType", required=True, choices=("Market", "Limit")),
    Param("qty", "number", required=True),
    Param("price", "number"),
    Param("timeInForce", choices=("GTC", "IOC", "FOK", "PostOnly", "RPI")),
    Param("positionIdx", "int", choices=("0", "1", "2")),
    Param("orderLinkId"),
    Param("reduceOnly", "flag"),
    Param("closeOnTrigger", "flag"),
    Param("triggerPrice", "number"),
    Param("triggerDirection", "int", choices=("0", "1", "2")),
    Param("triggerBy", choices=TRIGGER_BY),
    Param("takeProfit", "number"),
    Param("stopLoss", "number"),
    Param("tpTriggerBy", choices=TRIGGER_BY),
    Param("slTriggerBy", choices=TRIGGER_BY),
    Param("tpslMode", choices=("Full", "Partial")),
    Param("tpOrderType", choices=("Market", "Limit")),
    Param("slOrderType", choices=("Market", "Limit")),
    Param("tpLimitPrice", "number"),
    Param("slLimitPrice", "number"),
    Param("smpType", choices=("None", "CancelMaker", "CancelTaker", "CancelBoth")),
    Param("slippageToleranceType", choices=("TickSize", "Percent")),
    Param("slippageTolerance", "number"),
    Param("bboSideType", choices=("Queue", "Counterparty")),
    Param("bboLevel", choices=("1", "2", "3", "4", "5")),
    Param("isLeverage", "int"),
    Param("orderFilter", choices=FILTERS),
    Param("marketUnit", choices=("baseCoin", "quoteCoin")),
    Param("orderIv"),
    Param("mmp", "flag"),
    Param("rpiTakerAccess", "flag"),
)
AMEND_PARAMS = (
    CATEGORY,
    SYMBOL,
    Param("orderId"),
    Param("orderLinkId"),
    Param("qty", "number"),
    Param("price", "number"),
    Param("triggerPrice", "number"),
    Param("triggerBy", choices=TRIGGER_BY),
    Param("takeProfit", "number"),
    Param("stopLoss", "number"),
    Param("tpTriggerBy", choices=TRIGGER_BY),
    Param("slTriggerBy", choices=TRIGGER_BY),
    Param("tpslMode", choices=("Full", "Partial")),
    Param("tpLimitPrice", "number"),
    Param("slLimitPrice", "number"),
    Param("orderIv"),
)
CANCEL_PARAMS = (CATEGORY, SYMBOL, Param("orderId"), Param("orderLinkId"), Param("orderFilter", choices=FILTERS))
_SELECT = (CATEGORY, ANY_SYMBOL, Param("baseCoin"), Param("settleCoin"), Param("orderId"), Param("orderLinkId"))


def only_linear(call: Call) -> None:
    """Refuses writes for anything but linear contracts."""
    if not call.linear:
        raise Refused(10001, f"params error: category {call.args.text('category')} is not traded on this exchange")


def new_order(call: Call, args: Args) -> orders.NewOrder:
    """Converts a request of `order/create` for the engine."""
    if args.text("timeInForce") == "RPI":
        raise Refused(10001, "params error: timeInForce RPI is for market makers alone")
    price = args.number("price")
    if args.text("bboSideType"):
        price = _best_bid_offer(call, args)
    return orders.NewOrder(
        symbol=args.text("symbol"),
        side=args.text("side"),
        order_type=args.text("orderType"),
        qty=args.number("qty") or ZERO,
        price=price,
        time_in_force=args.text("timeInForce"),
        link_id=args.text("orderLinkId"),
        reduce_only=args.flag("reduceOnly"),
        close_on_trigger=args.flag("closeOnTrigger"),
        trigger_price=args.number("triggerPrice") or None,
        trigger_direction=args.integer("triggerDirection"),
        trigger_by=args.text("triggerBy"),
        take_profit=args.number("takeProfit") or None,
        stop_loss=args.number("stopLoss") or None,
        tp_trigger_by=args.text("tpTriggerBy"),
        sl_trigger_by=args.text("slTriggerBy"),
        tpsl_mode=args.text("tpslMode"),
        tp_order_type=args.text("tpOrderType") or "Market",
        sl_order_type=args.text("slOrderType") or "Market",
        tp_limit_price=args.number("tpLimitPrice") or None,
        sl_limit_price=args.number("slLimitPrice") or None,
        smp_type=args.text("smpType"),
        slippage_type=args.text("slippageToleranceType"),
        slippage=args.number("slippageTolerance"),
        idx=args.integer("positionIdx"),
    )


def _best_bid_offer(call: Call, args: Args) -> Decimal:
    """The price of a visible book level, on the order's own side (`Queue`) or the opposite side (`Counterparty`)."""
    bids, asks = call.exchange.quotes.levels(call.symbol(), 5)
    own, other = (bids, asks) if args.text("side") == "Buy" else (asks, bids)
    levels = own if args.text("bboSideType") == "Queue" else other
    if not levels:
        raise Refused(110003, "There is no order on that side of the book")
    return levels[int(args.text("bboLevel") or "1") - 1][0]


def create(call: Call) -> Row:
    only_linear(call)
    new = new_order(call, call.args)
    account = call.account
    call.exchange.check_link(account, new.link_id)
    order = orders.create(call.exchange.engine, account, new)
    return {"orderId": order.order_id, "orderLinkId": order.link_id}


def _named(call: Call, args: Args) -> Order:
    """The open order a request names. Raises `Refused` when it names none, or one that is closed or unknown."""
    order_id, link_id = args.text("orderId"), args.text("orderLinkId")
    if not order_id and not link_id:
        raise Refused(10001, "params error: orderId or orderLinkId is required")
    order = orders.find(call.account, args.text("symbol"), order_id, link_id)
    if order is None:
        raise Refused(110001, "order not exists or too late to cancel")
    return order


def amendment(args: Args) -> Amendment:
    """Converts a request of `order/amend` for the engine."""
    return Amendment(
        qty=args.number("qty"),
        price=args.number("price"),
        trigger_price=args.number("triggerPrice"),
        trigger_by=args.text("triggerBy"),
        take_profit=args.number("takeProfit"),
        stop_loss=args.number("stopLoss"),
        tp_trigger_by=args.text("tpTriggerBy"),
        sl_trigger_by=args.text("slTriggerBy"),
        tpsl_mode=args.text("tpslMode"),
        tp_limit_price=args.number("tpLimitPrice"),
        sl_limit_price=args.number("slLimitPrice"),
    )


def amend(call: Call) -> Row:
    only_linear(call)
    order = _named(call, call.args)
    amend_order(call.exchange.engine, call.account, order, amendment(call.args))
    return {"orderId": order.order_id, "orderLinkId": order.link_id}


def cancel(call: Call) -> Row:
    only_linear(call)
    order = _named(call, call.args)
    orders.cancel(call.exchange.engine, call.account, order)
    return {"orderId": order.order_id, "orderLinkId": order.link_id}


def _fits(order: Order, order_filter: str, stop_type: str = "") -> bool:
    """Whether an order matches a filter: `Order` for live orders, `StopOrder` for conditional orders and stops."""
    if not order_filter:
        return True
    if order_filter == "Order":
        return not order.waiting
    if order_filter in ("StopOrder", "tpslOrder"):
        return order.waiting and (not stop_type or order.stop_order_type == stop_type)
    return order_filter == "OpenOrder"


def cancel_all(call: Call) -> Row:
    args = call.args
    if not (args.text("symbol") or args.text("baseCoin") or args.text("settleCoin")):
        raise Refused(10001, "params error: symbol, baseCoin or settleCoin is required")
    if not call.linear:
        return {"list": [], "success": "1"}
    symbols = call.symbols()
    account = call.account
    chosen = [
        order
        for order in account.orders.values()
        if (not symbols or order.symbol in symbols)
        and _fits(order, args.text("orderFilter"), args.text("stopOrderType"))
    ][:MOST_CANCELLED]
    orders.cancel_many(call.exchange.engine, account, chosen)
    return {"list": [{"orderId": o.order_id, "orderLinkId": o.link_id} for o in chosen], "success": "1"}


def _open_page(call: Call, chosen: list[Order], size: int) -> tuple[list[Order], str]:
    """A page of open orders, newest first; each order appears once even when others close between pages."""
    chosen.sort(key=lambda order: (order.created_ms, order.serial), reverse=True)
    after = call.cursor()
    if after is not None:
        chosen = [order for order in chosen if (order.created_ms, order.serial) < after]
    page = chosen[:size]
    more = len(chosen) > size
    return page, f"{page[-1].created_ms}%3A{page[-1].serial}" if more else ""


def realtime(call: Call) -> Row:
    args = call.args
    category = args.text("category")
    order_id, link_id = args.text("orderId"), args.text("orderLinkId")
    if not call.linear:
        return {"category": category, **_EMPTY}
    if not (order_id or link_id or args.text("symbol") or args.text("baseCoin") or args.text("settleCoin")):
        raise Refused(10001, "params error: symbol, baseCoin or settleCoin is required")
    account, size = call.account, args.integer("limit")
    if order_id or link_id:
        found = _by_id(call, account, order_id, link_id)
        return {"category": category, "list": [order_row(order) for order in found], "nextPageCursor": ""}
    symbols = call.symbols()
    order_filter = args.text("orderFilter")
    if args.integer("openOnly") == 0:
        chosen = [
            order
            for order in account.orders.values()
            if (not symbols or order.symbol in symbols) and _fits(order, order_filter)
        ]
        page, cursor = _open_page(call, chosen, size)
        return {"category": category, "list": [order_row(order) for order in page], "nextPageCursor": cursor}
    oldest = call.exchange.storage.before_recent(account.uid, RECENTLY_CLOSED)
    query = call.history(size, symbols=symbols, newer_than=oldest, kinds=_closed_kinds("", order_filter))
    closed = call.exchange.storage.page("orders", query, Order)
    return {"category": category, "list": [order_row(order) for order in closed.rows], "nextPageCursor": closed.cursor}


def _by_id(call: Call, account: Account, order_id: str, link_id: str) -> list[Order]:
    """Finds an order by id among the open ones, then among the closed ones."""
    found = account.orders.get(order_id) if order_id else account.links.get(link_id)
    if found is not None:
        return [found]
    query = Query(uid=account.uid, order_id=order_id, link_id=link_id, from_ms=call.kept_ms or None, limit=1)
    return call.exchange.storage.page("orders", query, Order).rows


def _closed_kinds(status: str, order_filter: str) -> tuple[str, ...]:
    """The kinds of closed orders selected by `orderStatus` and `orderFilter`; empty for all."""
    if order_filter in ("", "OpenOrder"):
        return order_kinds(status) if status else ()
    if order_filter in ("OcoOrder", "BidirectionalTpslOrder"):
        return ("-",)
    waited = order_filter != "Order"
    return tuple(kind for each in ((status,) if status else FINAL) for kind in order_kinds(each, waited))


def history(call: Call) -> Row:
    args = call.args
    category = args.text("category")
    if not call.linear:
        return {"category": category, **_EMPTY}
    size = args.integer("limit")
    order_id, link_id = args.text("orderId"), args.text("orderLinkId")
    passing: dict[str, Any] = {"passing_kinds": UNFILLED, "passing_ms": call.exchange.now_ms - DAY_MS}
    if order_id or link_id:
        kept = call.kept_ms or None
        query = call.history(size, order_id=order_id, link_id=link_id, from_ms=kept, **passing)
        page = call.exchange.storage.page("orders", query, Order)
    else:
        status = args.text("orderStatus")
        if status and status not in FINAL:
            raise Refused(181017, "OrderStatus must be final status")
        start, end = call.window()
        kinds = _closed_kinds(status, args.text("orderFilter"))
        start = max(start, call.kept_ms)
        query = call.history(size, from_ms=start, to_ms=end, symbols=call.symbols(), kinds=kinds, **passing)
        page = call.exchange.storage.page("orders", query, Order)
    rows = [order_row(order) for order in page.rows]
    return {"category": category, "list": rows, "nextPageCursor": page.cursor}


def executions(call: Call) -> Row:
    args = call.args
    category = args.text("category")
    if not call.linear:
        return {"category": category, **_EMPTY}
    size = args.integer("limit")
    order_id, link_id = args.text("orderId"), args.text("orderLinkId")
    if order_id or link_id:
        query = call.history(size, order_id=order_id, link_id=link_id)
    else:
        start, end = call.window()
        kind = args.text("execType")
        query = call.history(size, from_ms=start, to_ms=end, symbols=call.symbols(), kinds=(kind,) if kind else ())
    page = call.exchange.storage.page("executions", query, Execution)
    rows = [execution_row(row) for row in page.rows]
    return {"category": category, "list": rows, "nextPageCursor": page.cursor}


ENDPOINTS = (
    Endpoint("POST", "/v5/order/create", create, CREATE_PARAMS, writes=True, calls=10),
    Endpoint("POST", "/v5/order/amend", amend, AMEND_PARAMS, writes=True, calls=10),
    Endpoint("POST", "/v5/order/cancel", cancel, CANCEL_PARAMS, writes=True, calls=10),
    Endpoint(
        "POST",
        "/v5/order/cancel-all",
        cancel_all,
        (
            CATEGORY,
            ANY_SYMBOL,
            Param("baseCoin"),
            Param("settleCoin"),
            Param("orderFilter", choices=FILTERS),
            Param("stopOrderType"),
        ),
        writes=True,
        calls=10,
    ),
    Endpoint(
        "GET",
        "/v5/order/realtime",
        realtime,
        (
            *_SELECT,
            Param("openOnly", "int", low=0, high=2),
            Param("orderFilter", choices=FILTERS),
            limit(20, 50),
            CURSOR,
        ),
        calls=50,
    ),
    Endpoint(
        "GET",
        "/v5/order/history",
        history,
        (*_SELECT, Param("orderFilter", choices=FILTERS), Param("orderStatus"), *WINDOW, limit(20, 50), CURSOR),
        calls=50,
    ),
    Endpoint(
        "GET",
        "/v5/execution/list",
        executions,
        (*_SELECT, *WINDOW, Param("execType"), limit(50, 100), CURSOR),
        calls=50,
    ),
)

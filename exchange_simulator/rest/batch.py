"""Order batches: each item succeeds or fails independently, with its code in `retExtInfo.list`."""

from collections.abc import Callable, Sequence
from typing import Any

from exchange_simulator.engine.model import Refused
from exchange_simulator.render import Row
from exchange_simulator.rest import order
from exchange_simulator.rest.args import CATEGORY, Param, check
from exchange_simulator.rest.endpoint import Call, Endpoint

MOST = 20
_REQUEST = (CATEGORY, Param("request", "list", required=True))


def _each(call: Call, params: Sequence[Param], act: Callable[[Call], Row]) -> Row:
    """Runs the requests one by one; those beyond the rate limit get 10006."""
    items = call.args.items("request")
    if not 1 <= len(items) <= MOST:
        raise Refused(10001, f"params error: request must hold 1 to {MOST} orders")
    rows: list[Row] = []
    codes: list[dict[str, Any]] = []
    for number, item in enumerate(items):
        row: Row = {"category": call.args.text("category"), "symbol": "", "orderId": "", "orderLinkId": ""}
        code, message = 0, "OK"
        try:
            if not isinstance(item, dict):
                raise Refused(10001, "params error: an order is not a JSON object")
            row["symbol"] = str(item.get("symbol", ""))
            row["orderLinkId"] = str(item.get("orderLinkId", ""))
            if number >= call.granted:
                raise Refused(10006, "Too many visits. Exceeded the API Rate Limit.")
            sent = {**item, "category": call.args.text("category")}
            row |= act(Call(call.exchange, check(params, sent), call.key))
        except Refused as refusal:
            code, message = refusal.code, refusal.message
        rows.append(row)
        codes.append({"code": code, "msg": message})
    call.extra["list"] = codes
    return {"list": rows}


def create(call: Call) -> Row:
    result = _each(call, order.CREATE_PARAMS, order.create)
    for row in result["list"]:
        row["createAt"] = str(call.exchange.now_ms) if row["orderId"] else ""
    return result


def amend(call: Call) -> Row:
    return _each(call, order.AMEND_PARAMS, order.amend)


def cancel(call: Call) -> Row:
    return _each(call, order.CANCEL_PARAMS, order.cancel)


ENDPOINTS = tuple(
    Endpoint("POST", f"/v5/order/{name}-batch", handler, _REQUEST, writes=True, calls=10, batch=True)
    for name, handler in (("create", create), ("amend", amend), ("cancel", cancel))
)

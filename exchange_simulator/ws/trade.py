"""`/v5/trade`: orders over a WebSocket. Same endpoints and limits as over REST, in their own frame format."""

import time
from typing import Any

import msgspec
from aiohttp import web

from exchange_simulator.engine.model import Refused
from exchange_simulator.faults import Fault
from exchange_simulator.keys import check_permission
from exchange_simulator.rest.endpoint import DEMO
from exchange_simulator.rest.server import ENDPOINTS, Rest
from exchange_simulator.ws.session import IDLE_S, PrivateSession

OPS = {f"order.{name}": ENDPOINTS["POST", f"/v5/order/{name}"] for name in ("create", "amend", "cancel")} | {
    f"order.{name}-batch": ENDPOINTS["POST", f"/v5/order/{name}-batch"] for name in ("create", "amend", "cancel")
}
IDS_KEPT = 10_000


class TradeSession(PrivateSession):
    """A connection that sends orders. Responses carry the `reqId` of their request."""

    kind = "private"

    def __init__(self, rest: Rest, socket: web.WebSocketResponse, idle_s: float = IDLE_S) -> None:
        super().__init__(rest.exchange, socket, idle_s, rest.clocks)
        self.rest = rest
        self._used: dict[str, None] = {}  # the newest request ids

    def _handle(self, raw: str) -> None:
        try:
            message = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            message = None
        if not isinstance(message, dict):
            self._tell("", None, 10001, "Params Error", {})
            return
        op, req_id = str(message.get("op", "")), message.get("reqId", message.get("req_id"))
        args = message.get("args")
        listed: list[Any] = args if isinstance(args, list) else []
        if op == "ping":
            now = str(time.time_ns() // 1_000_000)
            self.reply({"retCode": 0, "retMsg": "OK", "op": "pong", "data": [now], "connId": self.conn_id})
        elif op == "auth":
            self._auth(req_id, listed)
        elif op in OPS:
            self._order(op, req_id, message.get("header"), listed)
        else:
            self._tell(op, req_id, 10404, f"op {op} is not found", {})

    def _tell(self, op: str, req_id: Any, code: int, text: str, more: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"retCode": code, "retMsg": text, "op": op, "connId": self.conn_id, **more}
        self.reply(answer if req_id is None else {"reqId": req_id, **answer})

    def _auth(self, req_id: Any, args: list[Any]) -> None:
        if self.key is not None:
            self._tell("auth", req_id, 20001, "Repeat auth", {})
            return
        try:
            key = self._login(args)
            if self.exchange.account(key).demo:
                raise Refused(10001, DEMO)
            self.key = key
        except Refused as refusal:
            self._tell("auth", req_id, 10004 if refusal.message == "Invalid sign" else 10001, refusal.message, {})
            return
        self.logged_in(self)
        self._tell("auth", req_id, 0, "OK", {})

    def _check_id(self, req_id: Any) -> None:
        """Checks a `reqId`: at most 36 characters and unique per connection."""
        if req_id is None:
            return
        if not isinstance(req_id, str) or len(req_id) > 36:
            raise Refused(10001, "params error: reqId is a text of at most 36 characters")
        if req_id in self._used:
            raise Refused(20006, "reqId is duplicated")
        self._used[req_id] = None
        if len(self._used) > IDS_KEPT:
            del self._used[next(iter(self._used))]

    def _spoil(self, fault: Fault, op: str, req_id: Any) -> bool:
        """Applies an injected fault: answers with its code or not at all; False when there is none."""
        if fault.ret_code is not None:
            text = fault.ret_msg or "simulated fault"
            self._tell(op, req_id, fault.ret_code, text, {"data": {}, "retExtInfo": {}, "header": {}})
        return fault.nothing or fault.ret_code is not None

    def _order(self, op: str, req_id: Any, header: Any, args: list[Any]) -> None:
        try:
            key = self.key
            if key is None:
                raise Refused(10004, "auth is needed first")
            headers = header if isinstance(header, dict) else {}
            stamp, window = str(headers.get("X-BAPI-TIMESTAMP", "")), str(headers.get("X-BAPI-RECV-WINDOW", ""))
            self.rest.clocks.bind(key.api_key, self.rest.clocks.check(key.api_key, stamp, window))
            check_permission(key, OPS[op].group)
            if not args or not isinstance(args[0], dict):
                raise Refused(10001, "params error: args must hold one JSON object")
            self._check_id(req_id)
            if not self.rest.limits.frame(self.address):
                raise Refused(10403, "Too many requests of this IP")
        except Refused as refusal:
            self._tell(op, req_id, refusal.code, refusal.message, {"data": {}, "retExtInfo": {}, "header": {}})
            return
        fault = self.rest.faults.for_call("POST", OPS[op].path, key.api_key)
        if fault is not None and not fault.after and self._spoil(fault, op, req_id):
            return
        answer = self.rest.carry_out(OPS[op], key, args[0])
        if fault is not None and fault.after and self._spoil(fault, op, req_id):
            return
        told = answer.standing.headers() if answer.standing is not None else {}
        told |= {"Traceid": "", "Timenow": str(self.rest.shown_ms)}
        more = {"data": answer.result, "retExtInfo": answer.extra, "header": told}
        self._tell(op, req_id, answer.code, answer.message, more)

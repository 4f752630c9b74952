"""Fault injection: network failures, broken servers and bad timing.

Each fault defines its scope (a stream, a topic, a path, a key), its kind, and its duration (`times`; 0 until it is
removed). A counting fault (`every`) applies to each n-th push.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from aiohttp import web

from exchange_simulator.engine.model import Order
from exchange_simulator.engine.state import nothing_rejected
from exchange_simulator.ws.hub import encode

if TYPE_CHECKING:
    from exchange_simulator.exchange import Exchange
    from exchange_simulator.ws.session import Session

Kind = Literal[
    "cut",
    "silence",
    "drop",
    "duplicate",
    "delay",
    "reorder",
    "refuse-connection",
    "refuse-login",
    "refuse-subscription",
    "answer",
    "skew",
    "revoke",
    "reject",
    "drift",
    "push",
]
Stream = Literal["private", "public", "all"]
PUSH_KINDS = frozenset({"drop", "duplicate", "delay", "reorder", "drift"})


class Fault(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One fault, as accepted by `POST /_sim/faults`."""

    kind: Kind
    stream: Stream = "all"
    topic: str = ""  # topic prefix of affected pushes; "" for all
    key: str = ""  # connections and calls of this API key; "" for all
    path: str = ""  # path prefix of affected calls; "" for all
    method: str = ""
    symbol: str = ""  # calls with this symbol in their query, and orders in it; "" for all
    every: int = 1
    ms: int = 0  # delay of a push or response; clock skew
    times: int = 0
    ret_code: int | None = None
    ret_msg: str = ""
    status: int | None = None
    garbage: bool = False
    nothing: bool = False
    reason: str = "EC_Others"  # of a rejected order
    field: str = ""  # field of rows that gets `value`: undocumented by Bybit, or known with a new value
    value: str = ""
    after: bool = False  # the call is executed first, then its response is corrupted
    id: int = 0
    struck: int = 0
    seen: int = 0


class Faults:
    """The faults in force."""

    def __init__(self, exchange: "Exchange", sessions: Callable[[], Iterable["Session"]]) -> None:
        self._exchange = exchange
        self._sessions = sessions
        self.active: dict[int, Fault] = {}
        self._last_id = 0
        self._held: dict[int, bytes] = {}

    # --- adding and removing ------------------------------------------------------------------------------------

    def add(self, fault: Fault) -> int:
        """Activates a fault; a one-off event (`cut`, `push`) is executed at once. Returns its id."""
        if fault.every < 1 or fault.times < 0:
            raise ValueError("every must be at least 1 and times at least 0")
        self._last_id += 1
        fault.id = self._last_id
        if fault.kind == "cut":
            fault.struck = self.cut(fault)
            return fault.id
        if fault.kind == "push":
            fault.struck = self.push(fault)
            return fault.id
        if fault.kind == "revoke":
            self._revoke(fault.key, revoked=True)
        self.active[fault.id] = fault
        self._apply()
        return fault.id

    def remove(self, fault_id: int | None = None) -> None:
        """Removes one fault, or all."""
        gone = list(self.active) if fault_id is None else [fault_id]
        for number in gone:
            fault = self.active.pop(number)
            if fault.kind == "revoke":
                self._revoke(fault.key, revoked=False)
        self._apply()

    def _revoke(self, name: str, revoked: bool) -> None:
        key = self._exchange.keys.get(name)
        if key is None:
            raise ValueError(f"no key is named {name!r}")
        key.revoked = revoked

    def _of(self, *kinds: str) -> list[Fault]:
        return [fault for fault in self.active.values() if fault.kind in kinds]

    def _strike(self, fault: Fault) -> None:
        fault.struck += 1
        if fault.times and fault.struck >= fault.times:
            self.active.pop(fault.id, None)

    # --- streams ------------------------------------------------------------------------------------------------

    def cut(self, fault: Fault) -> int:
        """Cuts the TCP connections in a fault's scope; returns how many."""
        struck = [session for session in self._sessions() if self._meant(fault, session)]
        for session in struck:
            session.abort()
        return len(struck)

    def push(self, fault: Fault) -> int:
        """Sends one message of a topic that nobody subscribed to; returns on how many connections."""
        struck = [session for session in self._sessions() if self._meant(fault, session)]
        for session in struck:
            now = self._exchange.now_ms
            body = {
                "id": str(fault.id),
                "topic": fault.topic,
                "creationTime": now,
                "data": [{fault.field: fault.value}],
            }
            session.push_raw(encode(body))
        return len(struck)

    def _meant(self, fault: Fault, session: "Session") -> bool:
        if fault.stream not in ("all", session.kind):
            return False
        return not fault.key or (session.key is not None and session.key.api_key == fault.key)

    def _rejects(self, order: Order) -> str:
        """The reason why an accepted order is rejected; "" when it is not."""
        for fault in self._of("reject"):
            if fault.symbol not in ("", order.symbol) or not self._owns(fault.key, order.uid):
                continue
            fault.seen += 1
            if fault.seen % fault.every == 0:
                self._strike(fault)
                return fault.reason
        return ""

    def _owns(self, name: str, uid: int) -> bool:
        key = self._exchange.keys.get(name)
        return not name or (key is not None and key.uid == uid)

    def _apply(self) -> None:
        self._exchange.engine.rejects = self._rejects if self._of("reject") else nothing_rejected
        for session in self._sessions():
            self.touch(session)

    def touch(self, session: "Session") -> None:
        """Applies the active faults to a session that is new or newly logged in."""
        session.silent = any(self._meant(fault, session) for fault in self._of("silence"))
        pushes = any(self._meant(fault, session) for fault in self._of(*PUSH_KINDS))
        session.filters = self.filter if pushes else None
        session.refusing = frozenset(
            fault.kind for fault in self._of("refuse-login", "refuse-subscription") if self._meant(fault, session)
        )

    def refuses_connection(self, stream: str) -> bool:
        """Whether a new stream connection is refused."""
        for fault in self._of("refuse-connection"):
            if fault.stream in ("all", stream):
                self._strike(fault)
                return True
        return False

    def filter(self, session: "Session", topic: str, message: bytes) -> list[bytes]:
        """The frames actually sent now in place of one push."""
        out = [message]
        for fault in self._of(*PUSH_KINDS):
            if not self._meant(fault, session) or not topic.startswith(fault.topic):
                continue
            if fault.kind == "drift" and not fault.topic:  # applies to calls
                continue
            fault.seen += 1
            struck = fault.seen % fault.every == 0
            if fault.kind == "drift":
                if struck:
                    self._strike(fault)
                    out = [_drifted(part, fault) for part in out]
            elif fault.kind == "reorder":
                out = self._reorder(fault, session, out, struck)
            elif struck and fault.kind == "drop":
                self._strike(fault)
                return []
            elif struck and fault.kind == "duplicate":
                self._strike(fault)
                out = out * 2
            elif struck and fault.kind == "delay":
                self._strike(fault)
                loop = asyncio.get_running_loop()
                for part in out:
                    loop.call_later(fault.ms / 1000, session.push_raw, part)
                return []
        return out

    def _reorder(self, fault: Fault, session: "Session", out: list[bytes], struck: bool) -> list[bytes]:
        """Holds each n-th push back until the next one has been sent."""
        held = self._held.pop(id(session), None)
        if held is not None:
            return [*out, held]
        if struck:
            self._strike(fault)
            self._held[id(session)] = out[0]
            return out[1:]
        return out

    def drift(self, path: str, result: Any) -> None:
        """Adds the requested field to the rows of a response."""
        for fault in self._of("drift") if self.active else ():
            if fault.path and path.startswith(fault.path) and isinstance(result, dict):
                fault.seen += 1
                if fault.seen % fault.every == 0:
                    self._strike(fault)
                    rows = result.get("list", result.get("rows"))
                    for row in rows if isinstance(rows, list) else [result]:
                        if isinstance(row, dict):
                            row[fault.field] = fault.value

    def forget(self, session: "Session") -> None:
        self._held.pop(id(session), None)

    # --- calls --------------------------------------------------------------------------------------------------

    @property
    def skew_ms(self) -> int:
        """The clock skew of the exchange in milliseconds."""
        return sum(fault.ms for fault in self._of("skew"))

    def for_call(self, method: str, path: str, api_key: str, symbol: str = "") -> Fault | None:
        """The fault that applies to a call, if any."""
        for fault in self._of("answer"):
            if (fault.key and fault.key != api_key) or (fault.symbol and fault.symbol != symbol):
                continue
            if not path.startswith(fault.path) or (fault.method and fault.method != method):
                continue
            fault.seen += 1
            if fault.seen % fault.every == 0:
                self._strike(fault)
                return fault
        return None

    async def spoil(self, fault: Fault, request: web.BaseRequest, now_ms: int) -> web.StreamResponse | None:
        """The corrupted response of a call; None when it is only delayed."""
        if fault.ms:
            await asyncio.sleep(fault.ms / 1000)
        if fault.nothing:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        if fault.garbage:
            return web.Response(body=b"<html>\x00\xffnot json", content_type="text/html")
        if fault.status is not None:
            return web.Response(status=fault.status, text="the exchange is troubled")
        if fault.ret_code is not None:
            body = {
                "retCode": fault.ret_code,
                "retMsg": fault.ret_msg or "simulated fault",
                "result": {},
                "retExtInfo": {},
                "time": now_ms,
            }
            return web.Response(body=msgspec.json.encode(body), content_type="application/json")
        return None


def _drifted(frame: bytes, fault: Fault) -> bytes:
    """A push whose rows have the changed field, re-encoded as a frame."""
    message = msgspec.json.decode(frame[frame.index(b"{") :])
    rows = message.get("data")
    for row in rows if isinstance(rows, list) else [rows]:
        if isinstance(row, dict):
            row[fault.field] = fault.value
    return encode(message)

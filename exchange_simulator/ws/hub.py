"""Subscriptions by account and by topic; each message is encoded once for all subscribers."""

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from exchange_simulator.engine.ids import IdSource
from exchange_simulator.engine.model import Event, Execution, Order, PositionView, WalletView
from exchange_simulator.render import Row, execution_row, fast_execution_row, order_row, position_row, wallet_row

_json = msgspec.json.encode
PRIVATE_TOPICS = ("order", "execution", "execution.fast", "position", "wallet")
CATEGORISED = ("order", "execution", "execution.fast", "position")
CATEGORIES = ("linear", "inverse", "spot", "option")


def encode(message: object) -> bytes:
    """Encodes a message as a complete server text frame, so that it is built once and sent to everyone."""
    body = _json(message)
    size = len(body)
    if size < 126:
        return bytes((0x81, size)) + body
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + body
    return b"\x81\x7f" + size.to_bytes(8, "big") + body


class Listener(Protocol):
    """One connected client."""

    def push(self, topic: str, frame: bytes) -> None: ...


def base_topic(topic: str) -> str:
    """`order.linear` -> `order`."""
    head, _, tail = topic.rpartition(".")
    return head if tail in CATEGORIES and head in CATEGORISED else topic


def shown_to(topic: str) -> bool:
    """Whether a subscription to this topic receives linear rows."""
    tail = topic.rpartition(".")[2]
    return tail not in CATEGORIES or tail == "linear"


class Hub:
    """Subscriptions of all streams."""

    def __init__(self) -> None:
        self.private: dict[int, dict[str, set[Listener]]] = {}
        self.public: dict[str, set[Listener]] = {}
        self._ids = IdSource(0)
        self.pushed = 0

    # --- subscriptions ------------------------------------------------------------------------------------------

    def join_private(self, uid: int, topic: str, listener: Listener) -> None:
        self.private.setdefault(uid, {}).setdefault(topic, set()).add(listener)

    def leave_private(self, uid: int, topic: str, listener: Listener) -> None:
        topics = self.private.get(uid, {})
        topics.get(topic, set()).discard(listener)
        if not topics.get(topic):
            topics.pop(topic, None)
        if not topics:
            self.private.pop(uid, None)

    def join_public(self, topic: str, listener: Listener) -> None:
        self.public.setdefault(topic, set()).add(listener)

    def leave_public(self, topic: str, listener: Listener) -> None:
        self.public.get(topic, set()).discard(listener)
        if not self.public.get(topic):
            self.public.pop(topic, None)

    # --- private ------------------------------------------------------------------------------------------------

    def tell(self, events: Iterable[Event], now_ms: int) -> None:
        """Pushes events to the accounts they belong to. Adjacent rows of one kind share a message."""
        if not self.private:
            return
        uid, kind = 0, ""
        batch: list[Event] = []
        for event in events:
            if not isinstance(event, Order | Execution | PositionView | WalletView):
                continue
            owner, name = event.uid, _TOPIC_OF[type(event)]
            if batch and (owner != uid or name != kind or name != "execution"):
                self._send(uid, kind, batch, now_ms)
                batch = []
            uid, kind = owner, name
            batch.append(event)
        if batch:
            self._send(uid, kind, batch, now_ms)

    def _send(self, uid: int, kind: str, batch: list[Event], now_ms: int) -> None:
        topics = self.private.get(uid)
        if not topics:
            return
        data: list[Row] | None = None
        for topic, listeners in topics.items():
            base = base_topic(topic)
            if not shown_to(topic) or not listeners:
                continue
            if base == kind:
                if data is None:
                    data = [_row(event) for event in batch]
                rows: list[Row] = data
            elif base == "execution.fast" and kind == "execution":
                rows = [fast_execution_row(e) for e in batch if isinstance(e, Execution) and e.exec_type == "Trade"]
                if not rows:
                    continue
            else:
                continue
            message: dict[str, Any] = {"topic": topic, "creationTime": now_ms, "data": rows}
            if base != "execution.fast":
                message = {"id": self._ids.new(str(uid)), **message}
            raw = encode(message)
            for listener in listeners:
                self.pushed += 1
                listener.push(topic, raw)

    # --- public -------------------------------------------------------------------------------------------------

    def publish(self, topic: str, message: Row) -> None:
        """Pushes one message to the subscribers of a public topic."""
        listeners = self.public.get(topic)
        if listeners:
            raw = encode(message)
            for listener in listeners:
                self.pushed += 1
                listener.push(topic, raw)


_TOPIC_OF: dict[type, str] = {
    Order: "order",
    Execution: "execution",
    PositionView: "position",
    WalletView: "wallet",
}


def _row(event: Event) -> Row:
    if isinstance(event, Order):
        return order_row(event, stream=True)
    if isinstance(event, Execution):
        return execution_row(event, stream=True)
    if isinstance(event, PositionView):
        return position_row(event, stream=True)
    if isinstance(event, WalletView):
        return wallet_row(event)
    raise TypeError(f"{type(event).__name__} has no topic")

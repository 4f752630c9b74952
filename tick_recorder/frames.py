"""Decodes frames of the public stream into rows, in one pass; prices stay text until they are stored.

A malformed row is `Unreadable` by itself: the other rows of its frame are kept.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from alpha.bybit.messages import UNREADABLE, Envelope
from alpha.errors import Rejected
from tick_recorder.schema import EARLIEST_MS, LATEST_MS, Kind

_TRADE, _BOOK, _LIQUIDATION = "publicTrade", "orderbook", "allLiquidation"
_DATA = (b'{"topic":"publicTrade.', b'{"topic":"orderbook.', b'{"topic":"allLiquidation.')


class Trade(msgspec.Struct, gc=False):
    """One public trade; `side` is the taker's. `received_us` and `ordinal` are set by the recorder."""

    ts: int = msgspec.field(name="T")
    side: Literal["Buy", "Sell"] = msgspec.field(name="S")
    size: str = msgspec.field(name="v")
    price: str = msgspec.field(name="p")
    id: str = msgspec.field(name="i")
    seq: int = 0
    block: bool = msgspec.field(name="BT", default=False)
    rpi: bool = msgspec.field(name="RPI", default=False)
    received_us: int | None = msgspec.field(name="_received", default=None)
    ordinal: int = msgspec.field(name="_ordinal", default=0)


class Liquidation(msgspec.Struct, gc=False):
    """One liquidation; `side` is that of the liquidated position."""

    ts: int = msgspec.field(name="T")
    side: Literal["Buy", "Sell"] = msgspec.field(name="S")
    size: str = msgspec.field(name="v")
    price: str = msgspec.field(name="p")
    received_us: int | None = msgspec.field(name="_received", default=None)
    ordinal: int = msgspec.field(name="_ordinal", default=0)


class BookData(msgspec.Struct, gc=False):
    """The data of an order book frame: (price, size) levels, update id and sequence number."""

    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    u: int
    seq: int = 0


class _Frame(msgspec.Struct, gc=False):
    topic: str
    type: str = ""
    ts: int = 0
    cts: int = 0


class TradeFrame(_Frame, gc=False):
    """A frame of `publicTrade`."""

    data: list[Trade] = []


class BookFrame(_Frame, gc=False):
    """A frame of `orderbook`; `cts` is the matching engine's time, comparable with a trade's."""

    data: BookData = msgspec.field(default_factory=lambda: BookData([], [], 0))

    @property
    def time_ms(self) -> int:
        """The matching engine's timestamp in milliseconds, or the sending time if it is absent."""
        return self.cts or self.ts


class LiquidationFrame(_Frame, gc=False):
    """A frame of `allLiquidation`."""

    data: list[Liquidation] = []


class Unreadable(Rejected):
    """A malformed frame or row; `text` is its raw text."""

    def __init__(self, message: str, text: bytes) -> None:
        super().__init__(message)
        self.text = text


AnyFrame = TradeFrame | BookFrame | LiquidationFrame
_trades = msgspec.json.Decoder(TradeFrame)
_books = msgspec.json.Decoder(BookFrame)
_liquidations = msgspec.json.Decoder(LiquidationFrame)
_decoders: dict[str, Callable[[bytes], AnyFrame]] = {
    _TRADE: _trades.decode,
    _BOOK: _books.decode,
    _LIQUIDATION: _liquidations.decode,
}
_envelopes = msgspec.json.Decoder(Envelope)
_rows = msgspec.json.Decoder(list[msgspec.Raw])
_row_readers: dict[str, Callable[[msgspec.Raw], Trade | Liquidation]] = {
    _TRADE: msgspec.json.Decoder(Trade).decode,
    _LIQUIDATION: msgspec.json.Decoder(Liquidation).decode,
}


def topic_of(kind: Kind, symbol: str, depth: int) -> str:
    """The topic that delivers this kind."""
    return {
        Kind.TRADES: f"{_TRADE}.{symbol}",
        Kind.BBO: f"{_BOOK}.1.{symbol}",
        Kind.DEPTH: f"{_BOOK}.{depth}.{symbol}",
        Kind.LIQUIDATIONS: f"{_LIQUIDATION}.{symbol}",
    }[kind]


def is_data(frame: str | bytes) -> bool:
    """True if the prefix identifies a data frame; other frames must be decoded to tell."""
    return isinstance(frame, bytes) and frame.startswith(_DATA)


def decode(frame: bytes) -> AnyFrame | None:
    """The frame with its rows; None for an unknown topic. Unreadable if it is malformed."""
    # dispatch on the prefix if possible, which saves a pass
    try:
        if frame.startswith(_DATA[0]):
            return _trades.decode(frame)
        if frame.startswith(_DATA[1]):
            return _books.decode(frame)
        found = _decoders.get(_envelopes.decode(frame).topic.partition(".")[0])
        return None if found is None else found(frame)
    except UNREADABLE as fault:
        raise Unreadable(f"A frame cannot be read: {fault}.", frame) from None


def salvage(frame: bytes) -> Iterator[Trade | Liquidation | Unreadable]:
    """Decode row by row a frame that `decode` rejected. Unreadable if the frame itself is malformed."""
    try:
        envelope = _envelopes.decode(frame)
        name = envelope.topic.partition(".")[0]
        read = _row_readers.get(name)
        if read is None:
            raise Unreadable("A frame cannot be read, and has no rows of its own.", frame)
        rows = _rows.decode(envelope.data)
    except UNREADABLE as fault:
        raise Unreadable(f"A frame cannot be read: {fault}.", frame) from None
    for row in rows:
        try:
            yield read(row)
        except UNREADABLE as fault:
            yield Unreadable(f"A row of {envelope.topic} cannot be read: {fault}.", bytes(row))


def is_time(ts_ms: int) -> bool:
    """Whether the timestamp is plausible."""
    return EARLIEST_MS <= ts_ms < LATEST_MS

"""What the public stream says, as rows. A frame is decoded in one pass; prices stay text until they are stored.

A row that cannot be read is `Unreadable`, by itself: its neighbours in the same frame are taken.
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
    """One public trade; `side` is the taker's. `received_us` and `ordinal` are ours."""

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
    """One liquidation; `side` is that of the position that was taken over."""

    ts: int = msgspec.field(name="T")
    side: Literal["Buy", "Sell"] = msgspec.field(name="S")
    size: str = msgspec.field(name="v")
    price: str = msgspec.field(name="p")
    received_us: int | None = msgspec.field(name="_received", default=None)
    ordinal: int = msgspec.field(name="_ordinal", default=0)


class BookData(msgspec.Struct, gc=False):
    """The data of an order book's frame: levels of price and size, an update number and a sequence number."""

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
        """The matching engine's time, or that of sending where it is absent."""
        return self.cts or self.ts


class LiquidationFrame(_Frame, gc=False):
    """A frame of `allLiquidation`."""

    data: list[Liquidation] = []


class Unreadable(Rejected):
    """A frame or a row that cannot be read; `text` is what came."""

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
    """The topic that brings this kind."""
    return {
        Kind.TRADES: f"{_TRADE}.{symbol}",
        Kind.BBO: f"{_BOOK}.1.{symbol}",
        Kind.DEPTH: f"{_BOOK}.{depth}.{symbol}",
        Kind.LIQUIDATIONS: f"{_LIQUIDATION}.{symbol}",
    }[kind]


def is_data(frame: str | bytes) -> bool:
    """True for a frame that surely is data, by its beginning; the others are looked at one by one."""
    return isinstance(frame, bytes) and frame.startswith(_DATA)


def decode(frame: bytes) -> AnyFrame | None:
    """The frame with its rows; None for a topic of no interest. Unreadable when it is no frame of Bybit's form."""
    # by its beginning where that tells, because that saves a pass
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
    """Row by row what `decode` could not read as a whole. Unreadable when the frame itself cannot be read."""
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
    """True for a time that can be one."""
    return EARLIEST_MS <= ts_ms < LATEST_MS

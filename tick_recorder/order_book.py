"""An order book rebuilt from snapshots and deltas, verified by update id."""

from dataclasses import dataclass

import msgspec

from tick_recorder.frames import BookFrame


class Depth(msgspec.Struct, gc=False):
    """A row of kind `depth`, prices as text."""

    ts: int
    snapshot: bool
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    update_id: int
    seq: int
    received_us: int | None = None
    ordinal: int = 0


class Bbo(msgspec.Struct, gc=False):
    """A row of kind `bbo`; a side without orders is None."""

    ts: int
    bid_price: str | None
    bid_size: str | None
    ask_price: str | None
    ask_size: str | None
    update_id: int
    seq: int
    received_us: int | None = None
    ordinal: int = 0


class BookBroken(Exception):
    """An update is missing: the book is unknown until the next snapshot."""


@dataclass(slots=True)
class OrderBook:
    """The levels of one symbol. `bids` and `asks` are price to size, as text."""

    bids: dict[str, str]
    asks: dict[str, str]
    update_id: int | None = None
    seq: int = 0

    @classmethod
    def new(cls) -> "OrderBook":
        """An unknown book."""
        return cls({}, {})

    @property
    def known(self) -> bool:
        """True once a snapshot was received."""
        return self.update_id is not None

    def lose(self) -> None:
        """Discard the book and wait for a snapshot."""
        self.update_id = None

    def apply(self, frame: BookFrame) -> bool:
        """Apply a frame; False if it changes nothing (a duplicate, or a delta before the first snapshot).

        BookBroken if the update before this one is missing.
        """
        data = frame.data
        if frame.type == "snapshot":
            # every snapshot replaces the book, even one with u = 1 after a restart of the exchange
            self.bids, self.asks = dict(data.b), dict(data.a)
        else:
            if self.update_id is None or data.u <= self.update_id:
                return False
            if data.u != self.update_id + 1:
                self.lose()
                raise BookBroken
            for side, changes in ((self.bids, data.b), (self.asks, data.a)):
                for price, size in changes:
                    if float(size) == 0.0:
                        side.pop(price, None)
                    else:
                        side[price] = size
        self.update_id, self.seq = data.u, data.seq
        return True

    def snapshot(self, ts_ms: int) -> Depth:
        """All levels, best first."""
        bids = sorted(self.bids.items(), key=lambda level: -float(level[0]))
        asks = sorted(self.asks.items(), key=lambda level: float(level[0]))
        return Depth(ts_ms, True, bids, asks, self.update_id or 0, self.seq)

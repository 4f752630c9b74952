"""What the public topics say: candles, tickers, trades, order books, liquidations."""

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol

from exchange_simulator.candles import Candles
from exchange_simulator.engine.ids import IdSource
from exchange_simulator.engine.model import Liquidated
from exchange_simulator.engine.state import Engine
from exchange_simulator.maintenance import Maintenance
from exchange_simulator.market.model import Market, walk
from exchange_simulator.market.ticks import Print, TickMarket
from exchange_simulator.quotes import Quotes
from exchange_simulator.render import Row, text
from exchange_simulator.timeline import Timeline
from exchange_simulator.ws.hub import Hub

BOOK_DEPTHS = (1, 50, 200, 1000)
ALERT_S = 1.0  # between two pushes of `adlAlert`
TAPE_LENGTH = 1_000  # public trades that are kept of a symbol, as many as can be asked for
REPEAT_S = 3.0  # a book of one level that has not changed is pushed again after that


class FeedSource(Protocol):
    """What the public topics show: the parts of an exchange."""

    engine: Engine
    hub: Hub
    market: Market
    timeline: Timeline
    candles: Candles
    quotes: Quotes
    maintenance: Maintenance
    drawdowns: dict[str, Decimal]

    @property
    def now_ms(self) -> int: ...


class PublicFeed:
    """Builds the messages of the public topics that somebody listens to."""

    def __init__(self, exchange: FeedSource, seed: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.exchange = exchange
        self._ids = IdSource(seed)
        self._tickers: dict[str, dict[str, str]] = {}
        self._books: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
        self._updates: dict[str, int] = {}
        self._traded: dict[str, tuple[int, int]] = {}
        self._tapes: dict[str, deque[Row]] = {}  # the newest trades of every symbol that was ever listened to
        self._sent: dict[str, float] = {}  # when a book of one level was last pushed, by the clock
        self._clock = clock
        self._announced: list[Row] = []
        self._cross = 0

    # --- candles ------------------------------------------------------------------------------------------------

    def bars_closed(self, time_ms: int) -> None:
        """Pushes each listened candle that ended at `time_ms`, confirmed."""
        candles = self.exchange.candles
        for topic in [topic for topic in self.exchange.hub.public if topic.startswith("kline.")]:
            _, interval, symbol = topic.split(".")
            bar = candles.closed(symbol, interval, time_ms)
            if bar is not None:
                row = candles.topic_row(symbol, interval, bar, confirm=True, now_ms=time_ms)
                self._kline(topic, row, time_ms)

    def _kline(self, topic: str, row: dict[str, object], now_ms: int) -> None:
        self.exchange.hub.publish(topic, {"topic": topic, "data": [row], "ts": now_ms, "type": "snapshot"})

    # --- everything else ----------------------------------------------------------------------------------------

    def refresh(self, candles: bool = True) -> None:
        """Pushes the present state of every listened topic, as far as it has changed; forming candles if asked to."""
        exchange = self.exchange
        now = exchange.now_ms
        for topic in list(exchange.hub.public):
            kind, _, rest = topic.partition(".")
            if kind == "kline":
                interval, _, symbol = rest.partition(".")
                bar = exchange.candles.forming(symbol, interval) if candles else None
                if bar is not None:
                    row = exchange.candles.topic_row(symbol, interval, bar, confirm=False, now_ms=now)
                    self._kline(topic, row, now)
            elif kind == "tickers":
                self._ticker(topic, rest, now)
            elif kind == "orderbook":
                depth, _, symbol = rest.partition(".")
                self._book(topic, symbol, int(depth), now)
            elif kind == "system":
                self._status(topic, now)
            elif kind == "adlAlert" and self._clock() - self._sent.get(topic, 0.0) >= ALERT_S:
                self._sent[topic] = self._clock()
                exchange.hub.publish(topic, self._alert(topic, rest, now))
        if isinstance(exchange.market, TickMarket):
            return  # its trades are pushed one by one
        # whoever was listened to once goes on trading: who was cut off finds what he missed in the newest trades
        for symbol in self._tapes:
            self._trade(f"publicTrade.{symbol}", symbol, now)

    def _status(self, topic: str, now: int) -> None:
        """Announced maintenance, whenever it changes."""
        rows = self.exchange.maintenance.rows()
        if rows != self._announced:
            self._announced = rows
            self.exchange.hub.publish(topic, {"topic": topic, "ts": now, "data": rows})

    def _alert(self, topic: str, coin: str, now: int) -> Row:
        """The state of the insurance pool for every symbol of a coin, in JSON numbers as Bybit sends them."""
        engine = self.exchange.engine
        balance = float(engine.insurance)
        data = [
            {
                "c": coin,
                "s": symbol,
                "b": balance,
                "mb": max(balance, float(engine.rules.insurance_fund)),
                "i_pr": -0.3,
                "pr": float(self.exchange.drawdowns.get(symbol, 0)),
                "adl_tt": 10_000,
                "adl_sr": -0.25,
            }
            for symbol in self.exchange.market.instruments
            if engine.coin_of(symbol) == coin
        ]
        return {"topic": topic, "type": "snapshot", "ts": now, "data": data}

    def first(self, topic: str) -> Row | None:
        """The snapshot that a new subscriber of a topic gets: what is now, told first to those who listen already, so that
        the changes that follow are changes for both.
        """
        exchange = self.exchange
        now = exchange.now_ms
        kind, _, rest = topic.partition(".")
        if kind == "system":
            self._announced = exchange.maintenance.rows()
            return {"topic": topic, "ts": now, "data": self._announced} if self._announced else None
        if kind == "adlAlert":
            return self._alert(topic, rest, now)
        if kind == "tickers":
            self._ticker(topic, rest, now)
            self._cross += 1
            return {"topic": topic, "type": "snapshot", "data": self._tickers[topic], "cs": self._cross, "ts": now}
        if kind == "kline":
            interval, _, symbol = rest.partition(".")
            bar = exchange.candles.forming(symbol, interval)
            if bar is None:
                return None
            row = exchange.candles.topic_row(symbol, interval, bar, confirm=False, now_ms=now)
            return {"topic": topic, "data": [row], "ts": now, "type": "snapshot"}
        if kind == "orderbook":
            depth, _, symbol = rest.partition(".")
            self._book(topic, symbol, int(depth), now)
            bids, asks = self._books[topic]
            return self._book_message(topic, symbol, "snapshot", bids, asks, now, repeat=True)
        if kind == "publicTrade":
            self._tapes.setdefault(rest, deque(maxlen=TAPE_LENGTH))
        return None

    def _ticker_data(self, symbol: str) -> dict[str, str]:
        row = self.exchange.quotes.ticker(symbol)
        row["tickDirection"] = self.exchange.engine.books[symbol].tick_direction
        delivery_ms = self.exchange.engine.instruments[symbol].delivery_ms
        row["deliveryTime"] = (
            f"{datetime.fromtimestamp(delivery_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}" if delivery_ms else ""
        )
        return row

    def _ticker(self, topic: str, symbol: str, now: int) -> None:
        data = self._ticker_data(symbol)
        known = self._tickers.get(topic, {})
        changed = {name: value for name, value in data.items() if known.get(name) != value}
        if not changed:
            return
        self._tickers[topic] = data
        self._cross += 1
        message: Row = {
            "topic": topic,
            "type": "delta",
            "data": {"symbol": symbol, **changed},
            "cs": self._cross,
            "ts": now,
        }
        self.exchange.hub.publish(topic, message)

    def _trade(self, topic: str, symbol: str, now: int) -> None:
        forming = self.exchange.timeline.forming(symbol)
        if forming is None:
            return
        book = self.exchange.engine.books[symbol]
        start, done = self._traded.get(symbol, (0, 0))
        volume = forming.volume - (done if start == forming.start_ms else 0)
        self._traded[symbol] = (forming.start_ms, forming.volume)
        if volume <= 0:
            return
        up = book.tick_direction.endswith("PlusTick")
        row = {
            "T": now,
            "s": symbol,
            "S": "Buy" if up else "Sell",
            "v": text(book.instrument.qty(volume)),
            "p": text(book.last),
            "L": book.tick_direction,
            "i": self._ids.new(f"trade/{symbol}"),
            "BT": False,
            "RPI": False,
            "seq": book.next_seq(),
        }
        self._tapes[symbol].append(row)
        self.exchange.hub.publish(topic, {"topic": topic, "type": "snapshot", "ts": now, "data": [row]})

    def printed(self, trade: Print) -> None:
        """Pushes a recorded trade as it was."""
        topic, symbol = f"publicTrade.{trade.symbol}", trade.symbol
        if symbol not in self._tapes:
            return
        row = self._printed_row(trade)
        self._tapes[symbol].append(row)
        self.exchange.hub.publish(topic, {"topic": topic, "type": "snapshot", "ts": trade.time_ms, "data": [row]})

    def _printed_row(self, trade: Print) -> Row:
        book = self.exchange.engine.books[trade.symbol]
        return {
            "T": trade.time_ms,
            "s": trade.symbol,
            "S": trade.side,
            "v": text(book.instrument.qty(trade.qty)),
            "p": text(book.instrument.price(trade.price)),
            "L": book.tick_direction,
            "i": trade.trade_id,
            "BT": False,
            "RPI": False,
            "seq": book.next_seq(),
        }

    def quoted(self, symbol: str) -> None:
        """Pushes a recorded best bid and offer, if it has changed."""
        topic = f"orderbook.1.{symbol}"
        if topic in self.exchange.hub.public:
            self._book(topic, symbol, 1, self.exchange.now_ms)

    def recent_trades(self, symbol: str, limit: int) -> list[Row]:
        """The newest public trades, newest first: those that were pushed, and before them one a point of each bar walked."""
        pushed = [_recent(row) for row in reversed(self._tapes.get(symbol, ()))][:limit]
        if len(pushed) == limit:
            return pushed
        oldest_ms = int(str(pushed[-1]["time"])) if pushed else None
        if isinstance(market := self.exchange.market, TickMarket):
            before_ms = self.exchange.now_ms + 1 if oldest_ms is None else oldest_ms
            stored = market.trades_before(symbol, before_ms, limit - len(pushed))
            return pushed + [_recent(self._printed_row(trade)) for trade in stored]
        walked = [
            row for row in self._walked_trades(symbol, limit) if oldest_ms is None or int(str(row["time"])) < oldest_ms
        ]
        return (pushed + walked)[:limit]

    def _walked_trades(self, symbol: str, limit: int) -> list[Row]:
        timeline, instrument = self.exchange.timeline, self.exchange.market.instruments[symbol]
        count = limit // 4 + 1
        bars = self.exchange.market.bars(symbol, timeline.bar_start - count * timeline.base_ms, timeline.bar_start)
        rows: list[Row] = []
        for bar in bars:
            ticks = walk(bar, timeline.path)
            for number, price in enumerate(ticks):
                time_ms = bar.start_ms + number * (timeline.base_ms - 1) // 3
                rows.append(
                    {
                        "execId": IdSource(time_ms).new(f"trade/{symbol}"),
                        "symbol": symbol,
                        "price": text(instrument.price(price)),
                        "size": text(instrument.qty(max(bar.volume // 4, 1))),
                        "side": "Buy" if number and price > ticks[number - 1] else "Sell",
                        "time": str(time_ms),
                        "isBlockTrade": False,
                        "isRPITrade": False,
                        "seq": str(time_ms),
                    }
                )
        return rows[::-1][:limit]

    def _sides(self, symbol: str, depth: int) -> tuple[dict[str, str], dict[str, str]]:
        bids, asks = self.exchange.quotes.levels(symbol, depth)
        return {text(p): text(s) for p, s in bids}, {text(p): text(s) for p, s in asks}

    def _book(self, topic: str, symbol: str, depth: int, now: int) -> None:
        bids, asks = self._sides(symbol, depth)
        known = self._books.get(topic)
        if known == (bids, asks):
            if depth == 1 and self._clock() - self._sent.get(topic, 0.0) >= REPEAT_S:
                self._sent[topic] = self._clock()
                message = self._book_message(topic, symbol, "snapshot", bids, asks, now, repeat=True)
                self.exchange.hub.publish(topic, message)
            return
        self._sent[topic] = self._clock()
        self._books[topic] = (bids, asks)
        if known is None or depth == 1:
            message = self._book_message(topic, symbol, "snapshot", bids, asks, now)
        else:
            changes = [
                {price: size for price, size in new.items() if old.get(price) != size}
                | {price: "0" for price in old if price not in new}
                for old, new in zip(known, (bids, asks), strict=True)
            ]
            message = self._book_message(topic, symbol, "delta", changes[0], changes[1], now)
        self.exchange.hub.publish(topic, message)

    def _book_message(
        self,
        topic: str,
        symbol: str,
        kind: str,
        bids: dict[str, str],
        asks: dict[str, str],
        now: int,
        repeat: bool = False,
    ) -> Row:
        if kind == "delta" or topic not in self._updates or (topic.startswith("orderbook.1.") and not repeat):
            self._updates[topic] = self._updates.get(topic, 1) + 1
        self._cross += 1
        return {
            "topic": topic,
            "type": kind,
            "ts": now,
            "data": {
                "s": symbol,
                "b": [[price, size] for price, size in bids.items()],
                "a": [[price, size] for price, size in asks.items()],
                "u": self._updates[topic],
                "seq": self._cross,
            },
            "cts": now,
        }

    def liquidated(self, event: Liquidated) -> None:
        """A position was taken over: `S` is the position's side, `p` the bankruptcy price."""
        topic = f"allLiquidation.{event.symbol}"
        row = {
            "T": event.time_ms,
            "s": event.symbol,
            "S": event.side,
            "v": text(event.qty),
            "p": text(event.price),
        }
        self.exchange.hub.publish(topic, {"topic": topic, "type": "snapshot", "ts": event.time_ms, "data": [row]})


def _recent(row: Row) -> Row:
    """A pushed trade as a row of `market/recent-trade`."""
    return {
        "execId": row["i"],
        "symbol": row["s"],
        "price": row["p"],
        "size": row["v"],
        "side": row["S"],
        "time": str(row["T"]),
        "isBlockTrade": row["BT"],
        "isRPITrade": row["RPI"],
        "seq": str(row["seq"]),
    }

"""A sender of public trades and quotes that keeps a ledger of everything it sent, and a REST interface for the newest trades.

In a test's own loop (`TickExchange`), or as a process that floods with frames encoded beforehand:
`python -m tick_recorder.tests.exchange --symbols 33 --burst 20000:10 --steady 5000:300`.
"""

import argparse
import asyncio
import json
import random
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

NEWEST = 1_000


@dataclass
class Sent:
    """What was sent of one symbol: trades as `(id, ts, price, size)`, quotes as `(update number, ts)`."""

    trades: list[tuple[str, int, str, str]] = field(default_factory=list)
    quotes: list[tuple[int, int]] = field(default_factory=list)
    newest: deque[dict[str, object]] = field(default_factory=lambda: deque(maxlen=NEWEST))
    update: int = 0
    depth_update: int = 0


class _Client(WSListener):
    def __init__(self, exchange: "TickExchange") -> None:
        self.exchange = exchange
        self.topics: set[str] = set()
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.exchange.clients.add(self)
        self.exchange.connections += 1

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.exchange.clients.discard(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        message = msgspec.json.decode(frame.get_payload_as_bytes())
        operation, args = message["op"], message.get("args", [])
        answer: dict[str, Any] = {"success": True, "ret_msg": "", "op": operation, "req_id": message.get("req_id")}
        if operation == "ping":
            answer["ret_msg"] = "pong"
        elif any(topic.rpartition(".")[2] in self.exchange.unknown for topic in args):
            answer |= {"success": False, "ret_msg": f"error:handler not found,topic:{args[0]}"}
            args = []
        if not self.exchange.silent:
            transport.send(WSMsgType.TEXT, msgspec.json.encode(answer))
        if operation == "subscribe":
            self.topics |= set(args)
            for topic in args:
                for first in self.exchange.first(topic):
                    transport.send(WSMsgType.TEXT, first)
        elif operation == "unsubscribe":
            self.topics -= set(args)


class TickExchange:
    """The exchange. `async with` opens it; `url` and `ws_url` are where it answers."""

    def __init__(self, seed: int = 1) -> None:
        self.sent: dict[str, Sent] = {}
        self.clients: set[_Client] = set()
        self.connections = 0
        self.unknown: set[str] = set()
        self.rest_down = False
        self.silent = False
        self.rest_requests = 0
        self._random = random.Random(seed)
        self._seq = 0

    async def __aenter__(self) -> "TickExchange":
        def accept(_: WSUpgradeRequest) -> WSListener:
            return _Client(self)

        self._server = await ws_create_server(accept, "127.0.0.1", 0)
        self.ws_url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()
        await self._server.wait_closed()
        await self._runner.cleanup()

    def environment(self) -> dict[str, str]:
        """How the recorder reaches it."""
        return {"BYBIT_REST_URL": self.url, "BYBIT_WS_URL": self.ws_url}

    def cut(self) -> None:
        """Cut every connection."""
        for client in list(self.clients):
            if client.transport is not None:
                client.transport.disconnect(False)

    def of(self, symbol: str) -> Sent:
        """What was sent of a symbol."""
        return self.sent.setdefault(symbol, Sent())

    # -- sending ------------------------------------------------------------------------------------------------

    def trade(self, symbol: str, count: int = 1, *, ts: int | None = None, **changed: object) -> None:
        """Trades of one millisecond, in one frame. `changed` are fields of the last one."""
        ts = ts or time.time_ns() // 1_000_000
        rows = [self._row(symbol, ts) for _ in range(count)]
        rows[-1] |= changed
        self.push(f"publicTrade.{symbol}", rows, ts)

    def _row(self, symbol: str, ts: int) -> dict[str, object]:
        self._seq += 1
        row: dict[str, object] = {
            "T": ts,
            "s": symbol,
            "S": self._random.choice(("Buy", "Sell")),
            "v": f"{self._random.randrange(1, 5_000) / 1_000:.3f}",
            "p": f"{37_000 + self._random.randrange(1_000) / 10:.1f}",
            "L": "PlusTick",
            "i": str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            "BT": False,
            "RPI": False,
            "seq": self._seq,
        }
        sent = self.of(symbol)
        sent.trades.append((str(row["i"]), ts, str(row["p"]), str(row["v"])))
        sent.newest.append(row)
        return row

    def quote(self, symbol: str, *, ts: int | None = None, bid: str = "37000.1", ask: str = "37000.2") -> None:
        """A new best bid and offer."""
        ts = ts or time.time_ns() // 1_000_000
        sent = self.of(symbol)
        sent.update += 1
        sent.quotes.append((sent.update, ts))
        self.send(f"orderbook.1.{symbol}", self._quote(symbol, ts, bid, ask))

    def _quote(self, symbol: str, ts: int, bid: str = "37000.1", ask: str = "37000.2") -> bytes:
        data = {"s": symbol, "b": [[bid, "1.5"]], "a": [[ask, "2.5"]], "u": self.of(symbol).update, "seq": self._seq}
        topic = f"orderbook.1.{symbol}"
        return msgspec.json.encode({"topic": topic, "type": "snapshot", "ts": ts, "data": data, "cts": ts})

    def depth(
        self, symbol: str, *, skip: int = 0, ts: int | None = None, bids: Iterable[Any] = (), asks: Iterable[Any] = ()
    ) -> None:
        """A change of the order book; `skip` updates are lost before it."""
        ts = ts or time.time_ns() // 1_000_000
        sent = self.of(symbol)
        sent.depth_update += 1 + skip
        data = {"s": symbol, "b": list(bids), "a": list(asks), "u": sent.depth_update, "seq": self._seq}
        topic = f"orderbook.50.{symbol}"
        self.send(topic, msgspec.json.encode({"topic": topic, "type": "delta", "ts": ts, "data": data, "cts": ts}))

    def first(self, topic: str) -> list[bytes]:
        """What a new subscriber gets at once."""
        name, _, symbol = topic.rpartition(".")
        ts = time.time_ns() // 1_000_000
        if name == "orderbook.1" and self.of(symbol).update:
            return [self._quote(symbol, ts)]
        if name == "orderbook.50":
            sent = self.of(symbol)
            sent.depth_update += 1
            levels = [["37000.1", "1"], ["37000.0", "2"]], [["37000.2", "3"], ["37000.3", "4"]]
            data = {"s": symbol, "b": levels[0], "a": levels[1], "u": sent.depth_update, "seq": 1}
            return [msgspec.json.encode({"topic": topic, "type": "snapshot", "ts": ts, "data": data, "cts": ts})]
        return []

    def push(self, topic: str, rows: list[dict[str, object]], ts: int) -> None:
        """Any rows of a topic."""
        self.send(topic, msgspec.json.encode({"topic": topic, "type": "snapshot", "ts": ts, "data": rows}))

    def send(self, topic: str, frame: bytes) -> None:
        """A frame to everybody who listens to the topic."""
        for client in list(self.clients):
            if topic in client.topics and client.transport is not None:
                client.transport.send(WSMsgType.TEXT, frame)

    # -- REST ---------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.Response:
        if self.rest_down:
            return web.Response(status=503)
        now = time.time_ns()
        result: dict[str, object] = {"timeSecond": str(now // 10**9), "timeNano": str(now)}
        if request.path.endswith("/recent-trade"):
            self.rest_requests += 1
            # copied at once: a thread may be encoding the next flood
            rows = list(self.of(request.query["symbol"]).newest)[::-1]
            result = {"category": "linear", "list": [_rest(row) for row in rows][: int(request.query["limit"])]}
        body = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": now // 10**6}
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def _rest(row: dict[str, object]) -> dict[str, object]:
    return {
        "execId": row["i"], "symbol": row["s"], "price": row["p"], "size": row["v"], "side": row["S"],
        "time": str(row["T"]), "isBlockTrade": row["BT"], "isRPITrade": row["RPI"], "seq": str(row["seq"]),
    }  # fmt: skip


# -- the flood ------------------------------------------------------------------------------------------------------


class Flood:
    """Frames for many symbols, encoded beforehand, and sent at a rate: three of four are trades, one is a quote."""

    def __init__(self, exchange: TickExchange, symbols: list[str], frames: int, rate: int, begin_ms: int) -> None:
        self._exchange = exchange
        self.frames: list[tuple[str, bytes]] = []
        # one text each, not one a frame: a million frames wait in memory
        topics = {symbol: (f"publicTrade.{symbol}", f"orderbook.1.{symbol}") for symbol in symbols}
        for number in range(frames):
            symbol = symbols[number % len(symbols)]
            ts = begin_ms + number * 1_000 // rate
            if (number // len(symbols)) % 4 == 3:
                sent = exchange.of(symbol)
                sent.update += 1
                sent.quotes.append((sent.update, ts))
                self.frames.append((topics[symbol][1], exchange._quote(symbol, ts)))
            else:
                topic = topics[symbol][0]
                rows = [exchange._row(symbol, ts)]
                self.frames.append(
                    (topic, msgspec.json.encode({"topic": topic, "type": "snapshot", "ts": ts, "data": rows}))
                )

    async def send(self, rate: int) -> float:
        """Send them all, `rate` a second; returns how many seconds it took."""
        began, sent = time.monotonic(), 0
        while sent < len(self.frames):
            due = min(len(self.frames), int((time.monotonic() - began) * rate))
            for topic, frame in self.frames[sent:due]:
                self._exchange.send(topic, frame)
            sent = due
            await asyncio.sleep(0.005)
        self.frames.clear()
        return time.monotonic() - began


def names(count: int) -> list[str]:
    """So many symbols."""
    return [f"T{number:02d}USDT" for number in range(count)]


async def _flood(arguments: argparse.Namespace) -> None:
    def say(**what: object) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    symbols = names(arguments.symbols)
    topic = f"orderbook.1.{symbols[0]}"
    loop = asyncio.get_running_loop()

    async def resend(quotes: list[bytes]) -> None:
        """The newest quote every 3 s though nothing changes, as the exchange does: a recorder replaces a silent stream."""
        while True:
            await asyncio.sleep(3)
            for quote in quotes:
                exchange.send(topic, quote)

    async with TickExchange() as exchange:
        say(rest=exchange.url, ws=exchange.ws_url)
        while True:
            line = (await loop.run_in_executor(None, sys.stdin.readline)).split()
            if not line:
                return
            # encoded now: what the flood is made of has later numbers
            resending = asyncio.create_task(resend(exchange.first(topic)))
            rate, seconds = int(line[0]), float(line[1])
            begin_ms = time.time_ns() // 1_000_000
            # in a thread: who is connected gets its pongs meanwhile
            flood = await loop.run_in_executor(None, Flood, exchange, symbols, int(rate * seconds), rate, begin_ms)
            say(ready=len(flood.frames))
            await loop.run_in_executor(None, sys.stdin.readline)
            resending.cancel()
            took_s = await flood.send(rate)
            trades, quotes = (
                sum(len(s.trades) for s in exchange.sent.values()),
                sum(len(s.quotes) for s in exchange.sent.values()),
            )
            say(took_s=took_s, trades=trades, quotes=quotes, listeners=len(exchange.clients))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=33)
    asyncio.run(_flood(parser.parse_args()))

"""How fast the simulated exchange is: orders over REST, pushes to ten private streams, candles in replay, memory.

    python -m tests.benchmarks.bench_simulator [--seconds 10] [--executions 1000000] [--candles 300000]

Each figure stands beside a floor measured in the same run: the server's own bare answer for orders, the client's bare
reading for pushes, walking candles nobody trades in for candles.
"""

import argparse
import asyncio
import base64
import gc
import hashlib
import hmac
import itertools
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing.connection import Connection

import numpy as np
import psutil

from exchange_simulator.engine import orders
from exchange_simulator.engine.orders import NewOrder
from exchange_simulator.exchange import Exchange, Setup
from exchange_simulator.keys import parse_account
from exchange_simulator.market import catalogue
from exchange_simulator.market.replay import ReplayMarket

KEY, SECRET = "bench-key", "bench-secret"
STREAMS = 10
CONNECTIONS = 4
START_MS = 1_700_006_400_000
BASE_MS = 300_000


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    value: str
    aim: str
    floor: str


# --- the exchange as a process ------------------------------------------------------------------------------------


@contextmanager
def simulator() -> Iterator[tuple[int, psutil.Process]]:
    """A running exchange with limits off: its port and its process."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "exchange_simulator", "--port", "0", "--no-rate-limits",
            "--account", f"{KEY}:{SECRET}:1000000000", "--symbols", "BTCUSDT", "--speed", "1", "--start", "2025-01-01",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    if process.stdout is None:
        raise RuntimeError("the exchange has no output to read its address from")
    try:
        yield int(process.stdout.readline().rsplit(":", 1)[1]), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def post(path: str, body: bytes) -> bytes:
    """A signed request as bytes."""
    stamp = str(time.time_ns() // 1_000_000)
    sign = hmac.new(SECRET.encode(), f"{stamp}{KEY}5000".encode() + body, hashlib.sha256).hexdigest()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: exchange\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"X-BAPI-API-KEY: {KEY}\r\nX-BAPI-TIMESTAMP: {stamp}\r\nX-BAPI-RECV-WINDOW: 5000\r\nX-BAPI-SIGN: {sign}\r\n\r\n"
    )
    return head.encode() + body


def order(number: int) -> bytes:
    side = "Buy" if number % 2 else "Sell"
    return (
        f'{{"category":"linear","symbol":"BTCUSDT","side":"{side}","orderType":"Market","qty":"0.01",'
        f'"orderLinkId":"b-{number}"}}'
    ).encode()


async def answered(reader: asyncio.StreamReader) -> bytes:
    """Reads one HTTP answer; its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


async def requests(port: int, seconds: float, request: Callable[[int], bytes], numbers: Iterator[int]) -> int:
    """Requests answered with retCode 0 over a few kept connections."""
    done = 0
    end = time.monotonic() + seconds

    async def one() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < end:
            writer.write(request(next(numbers)))
            body = await answered(reader)
            if b'"retCode":0' not in body:
                raise RuntimeError(f"the exchange refused: {body!r}")
            done += 1
        writer.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return done


def bench_orders(seconds: float) -> Row:
    numbers = itertools.count()
    with simulator() as (port, process):

        async def both() -> tuple[int, int, float]:
            bare = b"GET /v5/market/time HTTP/1.1\r\nHost: exchange\r\n\r\n"
            floor = await requests(port, seconds / 2, lambda number: bare, numbers)
            before = cpu_seconds(process)
            placed = await requests(port, seconds, lambda number: post("/v5/order/create", order(number)), numbers)
            return floor, placed, cpu_seconds(process) - before

        floor, placed, cpu = asyncio.run(both())
    return Row(
        "market orders a second over REST, each filled",
        f"{placed / seconds:,.0f}",
        "1,000",
        f"{placed / cpu:,.0f} a second of the exchange's CPU; {floor / seconds * 2:,.0f} market/time a second",
    )


# --- pushes ---------------------------------------------------------------------------------------------------------


def frames_in(data: bytes, rest: bytes) -> tuple[int, bytes]:
    """Whole WebSocket frames in a buffer, and what is left of it."""
    data = rest + data
    at = count = 0
    while len(data) - at >= 2:
        length, head = data[at + 1] & 127, 2
        if length == 126:
            length, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
        elif length == 127:
            length, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
        if len(data) - at < head + length:
            break
        at += head + length
        count += 1
    return count, data[at:]


def masked(text: str) -> bytes:
    """A client's text frame, with a mask of zeros."""
    body = text.encode()
    size = bytes([128 | len(body)]) if len(body) < 126 else bytes([128 | 126]) + len(body).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + body


def listen(port: int, ready: Connection) -> None:
    """Ten private streams in a process of their own; counts frames until told to stop."""

    def connect() -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port))
        nonce = base64.b64encode(os.urandom(16)).decode()
        sock.sendall(
            f"GET /v5/private HTTP/1.1\r\nHost: exchange\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in sock.recv(4096):
            pass
        expires = time.time_ns() // 1_000_000 + 60_000
        sign = hmac.new(SECRET.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256).hexdigest()
        sock.sendall(masked(json.dumps({"op": "auth", "args": [KEY, expires, sign]})))
        sock.recv(4096)
        sock.sendall(masked(json.dumps({"op": "subscribe", "args": ["order", "execution", "position", "wallet"]})))
        sock.recv(4096)
        return sock

    async def run() -> None:
        loop = asyncio.get_running_loop()
        counts = [0] * STREAMS

        async def read(number: int, sock: socket.socket) -> None:
            sock.setblocking(False)
            rest = b""
            while data := await loop.sock_recv(sock, 1 << 18):
                found, rest = frames_in(data, rest)
                counts[number] += found

        tasks = [asyncio.create_task(read(number, connect())) for number in range(STREAMS)]
        ready.send(0)
        while not ready.poll():
            await asyncio.sleep(0.005)
        seen = -1
        while seen != sum(counts):  # everything sent before has been read once nothing comes any more
            seen = sum(counts)
            await asyncio.sleep(0.2)
        ready.send(counts)
        for task in tasks:
            task.cancel()

    asyncio.run(run())


def bench_pushes(seconds: float) -> Row:
    with simulator() as (port, process):
        ours, theirs = multiprocessing.Pipe()
        listener = multiprocessing.get_context("spawn").Process(target=listen, args=(port, theirs), daemon=True)
        listener.start()
        ours.recv()
        began, before = time.monotonic(), cpu_seconds(process)
        placed = asyncio.run(
            requests(port, seconds, lambda number: post("/v5/order/create", order(number)), itertools.count(10**9))
        )
        ours.send("stop")
        counts = ours.recv()
        took, cpu = time.monotonic() - began - 0.2, cpu_seconds(process) - before
        listener.join(timeout=10)
    if len(set(counts)) != 1:
        raise RuntimeError(f"the streams did not get the same pushes: {counts}")
    data = masked("x" * 900) * 20_000
    began = time.perf_counter()
    frames_in(data, b"")
    floor = 20_000 / (time.perf_counter() - began)
    return Row(
        f"pushes a second to {STREAMS} private streams ({placed / seconds:,.0f} orders a second meanwhile)",
        f"{sum(counts) / took:,.0f}",
        "20,000",
        f"{sum(counts) / cpu:,.0f} a second of the exchange's CPU; {floor:,.0f} a second counted by the reader",
    )


# --- candles and memory ---------------------------------------------------------------------------------------------


def replay(candles: int, symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "SOLUSDT")) -> ReplayMarket:
    """Random walks as recorded candles."""
    rng = np.random.default_rng(1)
    rows, instruments = {}, {}
    count = candles // len(symbols)
    for symbol in symbols:
        closes = 500_000 + np.cumsum(rng.integers(-300, 301, count))
        opens = np.concatenate(([500_000], closes[:-1]))
        highs = np.maximum(opens, closes) + rng.integers(0, 200, count)
        lows = np.minimum(opens, closes) - rng.integers(0, 200, count)
        times = START_MS + BASE_MS * np.arange(count)
        rows[symbol] = np.column_stack((times, opens, highs, lows, closes, rng.integers(1, 10_000, count)))
        instruments[symbol] = catalogue.instrument(symbol, price=Decimal(50_000), launch_ms=0, tick=Decimal("0.1"))
    return ReplayMarket(rows, instruments, Decimal("0.0001"))


def exchange(market: ReplayMarket) -> Exchange:
    return Exchange(market, [parse_account(f"{KEY}:{SECRET}:1000000000")], Setup(start_ms=START_MS, rate_limits=False))


def walked(market: ReplayMarket, positions: bool) -> tuple[float, float]:
    """Candles a second through a whole replay: of the wall clock, of the CPU."""
    built = exchange(market)
    account = next(iter(built.engine.accounts.values()))
    if positions:
        for symbol in market.instruments:
            new = NewOrder(
                symbol, "Sell", "Market", Decimal(1), take_profit=Decimal("0.1"), stop_loss=Decimal("19999999.9")
            )
            orders.create(built.engine, account, new)
        built.commit()
    end = market.end_ms
    if end is None:
        raise RuntimeError("a replay has an end")
    began, before = time.perf_counter(), time.process_time()
    built.timeline.advance(end + BASE_MS, fine=False)
    took, cpu = time.perf_counter() - began, time.process_time() - before
    if not built.timeline.ended:
        raise RuntimeError("the replay did not reach its end")
    built.close()
    candles = (end - START_MS) // BASE_MS * len(market.instruments)
    return candles / took, candles / cpu


def bench_candles(candles: int) -> Row:
    market = replay(candles)
    idle, held = walked(market, positions=False), walked(market, positions=True)
    return Row(
        "candles a second in replay, 3 symbols",
        f"{idle[0]:,.0f}",
        "100,000",
        f"{idle[1]:,.0f} a second of CPU; {held[1]:,.0f} with a position and two stops in each",
    )


def bench_memory(executions: int) -> Row:
    built = exchange(replay(3_000))
    account = next(iter(built.engine.accounts.values()))
    process = psutil.Process()

    def trade(count: int) -> None:
        for number in range(count):
            orders.create(
                built.engine, account, NewOrder("BTCUSDT", "Buy" if number % 2 else "Sell", "Market", Decimal("0.01"))
            )
            built.commit()

    trade(10_000)
    gc.collect()
    before = process.memory_info().rss
    began = time.perf_counter()
    trade(executions - 10_000)
    took = time.perf_counter() - began
    gc.collect()
    after = process.memory_info().rss
    count = built.storage.count("executions", account.uid)
    built.close()
    if count != executions:
        raise RuntimeError(f"{count} executions instead of {executions}")
    return Row(
        f"memory after {executions:,} executions",
        f"{after / 2**20:,.0f} MB",
        "bounded",
        f"{before / 2**20:,.0f} MB after 10,000; {(executions - 10_000) / took:,.0f} orders a second without network",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Benchmark of the simulated exchange.")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--candles", type=int, default=300_000)
    found = parser.parse_args()
    rows = [
        bench_orders(found.seconds),
        bench_pushes(found.seconds),
        bench_candles(found.candles),
        bench_memory(found.executions),
    ]
    width = max(len(row.name) for row in rows)
    sys.stdout.write(f"{'simulated exchange':{width}}  {'measured':>10}  {'aim':>8}  beside it\n")
    for row in rows:
        sys.stdout.write(f"{row.name:{width}}  {row.value:>10}  {row.aim:>8}  {row.floor}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

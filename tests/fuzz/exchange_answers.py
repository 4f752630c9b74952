"""REST answers of the exchange, changed on their way: every call of the gateway returns rows that are sound, or raises one sentence.

A proxy between the gateway and a simulated exchange changes bodies, status codes and headers; what is sent is real.
"""

import asyncio
import http.client
import json
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from alpha.bybit.caps import OrderCaps, OrderGuard
from alpha.bybit.client import Gateway
from alpha.bybit.errors import AddressBanned, KeyRefused
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.orders import OrderRequest
from alpha.bybit.place_order import place_order_once
from alpha.bybit.rate_limiter import NoLimit
from alpha.bybit.session import CallPolicy, Credentials
from alpha.clock import Backoff, Clock
from alpha.errors import AlphaError, Unknown
from alpha.model.account import Environment
from tests.fuzz.strange import changed_json, mutated
from tests.support.world import BOTS, Simulator, Trader

_DAY_MS = 86_400_000
_STATUSES = (200, 200, 200, 400, 401, 403, 404, 429, 500, 502, 503, 504)


class _Changing(ThreadingHTTPServer):
    """Forwards to the exchange and changes what comes back."""

    daemon_threads = True

    def __init__(self, port: int, chance: random.Random) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.port, self.chance, self.changes = port, chance, True

    def changed(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and further headers of an answer."""
        chance = self.chance
        kind = chance.random()
        if not self.changes or kind < 0.15:
            return 200, body, {}
        if kind < 0.6:
            return 200, json.dumps(changed_json(chance, json.loads(body))).encode("utf-8", "replace"), {}
        if kind < 0.8:
            return 200, mutated(chance, body.decode()).encode("utf-8", "replace"), {}
        if kind < 0.9:
            headers = {"X-Bapi-Limit-Reset-Timestamp": chance.choice(("", "0", "9" * 40, "abc", "-1"))}
            return chance.choice(_STATUSES), chance.choice((body, b"", b"<html>502</html>", b"null", b"[]")), headers
        code = chance.choice((10000, 10001, 10002, 10006, 10016, 110017, 110065, 110072, 990001, -1, 10**12))
        told = chance.choice(("", "Too many visits!", "x" * 5_000, "a\nb\x00c", "req_timestamp[x],server_timestamp[y]"))
        return 200, json.dumps({"retCode": code, "retMsg": told, "result": {}, "time": 1}).encode(), {}


class _Forward(BaseHTTPRequestHandler):
    server: _Changing

    def _forward(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        connection.request(self.command, self.path, self.rfile.read(length), dict(self.headers.items()))
        body = connection.getresponse().read()
        connection.close()
        status, body, more = self.server.changed(body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _forward  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is printed."""


def rest(chance: random.Random, rounds: int, folder: Path) -> str:
    """Answers of every call: read, or refused in one sentence; a lost answer to an order is never taken for a refusal."""
    return asyncio.run(_rest(chance, rounds, folder))


async def _rest(chance: random.Random, rounds: int, folder: Path) -> str:
    exchange = Simulator(folder, speed="1", options=("--symbols", "BTCUSDT,BTCPERP", "--no-rate-limits"))
    await exchange.start()
    proxy = _Changing(exchange.port, chance)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    seen: Counter[str] = Counter()
    try:
        trader = Trader(exchange.url, BOTS[0])
        for side, qty in (("Buy", "0.02"), ("Sell", "0.01")):
            await trader.order("BTCUSDT", side, qty)
        await trader.close()
        gateway: Gateway | None = None
        for number in range(rounds):
            if gateway is None:
                gateway = _gateway(f"http://127.0.0.1:{proxy.server_address[1]}")
            try:
                _sound(await _call(chance, gateway, number))
                seen["accepted"] += 1
            except AlphaError as fault:
                _one_sentence(str(fault))
                seen["unknown" if isinstance(fault, Unknown) else "refused"] += 1
                if isinstance(fault, KeyRefused | AddressBanned):
                    # nothing more is sent through this one
                    await gateway.close()
                    gateway = None
        if gateway is not None:
            await gateway.close()
    finally:
        proxy.shutdown()
        proxy.server_close()
        exchange.process.kill()
    return ", ".join(f"{count} {what}" for what, count in sorted(seen.items()))


def _one_sentence(said: str) -> None:
    assert len(said) < 2_000, said[:500]
    assert said.isprintable(), said[:500]
    assert "Traceback" not in said


def _gateway(url: str) -> Gateway:
    async def no_halt(_symbol: str) -> str | None:
        return None

    async def at_once(_seconds: float) -> None:
        await asyncio.sleep(0)

    guard = OrderGuard("k", Environment.SIMULATED, OrderCaps(max_order_usdt=Decimal(10**9)), no_halt)
    return Gateway(
        simulated_hosts(url, url.replace("http", "ws")),
        Credentials(BOTS[0].key, BOTS[0].secret),
        NoLimit(),
        account="k",
        guard=guard,
        policy=CallPolicy(backoff=Backoff(tries=2)),
        clock=Clock(sleep=at_once),
    )


async def _call(chance: random.Random, gateway: Gateway, number: int) -> object:
    """One call of the gateway, drawn by chance."""
    end = 1_900_000_000_000
    calls: tuple[Callable[[], Awaitable[object]], ...] = (
        gateway.server_time_ms,
        gateway.instruments,
        gateway.tickers,
        lambda: gateway.recent_trades("BTCUSDT"),
        lambda: gateway.kline("BTCUSDT", "5"),
        gateway.system_status,
        gateway.key_info,
        gateway.account_info,
        gateway.fees_in_mnt,
        gateway.wallet,
        gateway.fee_rates,
        gateway.positions,
        gateway.open_orders,
        lambda: gateway.order_by_link_id("BTCUSDT", "x"),
        lambda: _all(gateway.executions(end - _DAY_MS, end)),
        lambda: _all(gateway.order_history(end - _DAY_MS, end)),
        lambda: _all(gateway.closed_pnl(end - _DAY_MS, end)),
        lambda: _all(gateway.transaction_log(end - _DAY_MS, end)),
        lambda: place_order_once(gateway, _order(number)),
        lambda: gateway.cancel("BTCUSDT", order_id="none"),
        lambda: gateway.set_leverage("BTCUSDT", Decimal(10)),
    )
    return await chance.choice(calls)()


def _order(number: int) -> OrderRequest:
    return OrderRequest(
        symbol="BTCUSDT", side="Buy", qty=Decimal("0.001"), order_link_id=f"f-{number}", reference_price=Decimal(90_000)
    )


async def _all(pages: AsyncIterator[Any]) -> list[object]:
    found: list[object] = []
    async for page in pages:
        found += page.rows
        if len(found) > 10_000:
            break
    return found


def _sound(value: object) -> None:
    if isinstance(value, Decimal):
        assert value.is_finite(), value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _sound(getattr(value, name))
    elif isinstance(value, dict):
        for one in value.values():
            _sound(one)
    elif isinstance(value, list | tuple):
        for one in value:
            _sound(one)

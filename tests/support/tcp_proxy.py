"""A proxy between listener and exchange that can cut, stall, corrupt and delay REST calls and streams."""

import asyncio
import contextlib
import json
import random
import time
from collections import deque
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

from alpha.bybit.signing import rest_signature
from alpha.clock import wall_ms
from demo.ports import free_port

#: Twenty days in milliseconds, added to timestamps and sequence numbers.
_FAR_AHEAD = 20 * 24 * 3_600_000


@dataclass
class PushRules:
    """Faults applied to data frames of the private streams. Shares are fractions of frames in [0, 1]."""

    drop_every: int = 0
    duplicate: float = 0.0
    delay_s: float = 0.0
    reorder: float = 0.0
    garble: float = 0.0
    kinds: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    seen: int = 0


@dataclass
class RestRules:
    """Faults applied to REST calls: a share of them gets a fault of one of these kinds."""

    share: float = 0.0
    kinds: tuple[str, ...] = ()
    clock_ahead_ms: int = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """An order that can open a position and was accepted: by the host under which its sender knows the proxy."""

    host: str
    link_id: str
    #: When the proxy passed it on, on the monotonic clock.
    at_s: float


@dataclass
class Wire:
    """One private connection through the proxy."""

    key: str = ""
    client: web.WebSocketResponse | None = None
    request: web.BaseRequest | None = None


@dataclass
class Proxy:
    """Listens on 127.0.0.1 and forwards everything to `upstream_port`, under rules that a test can change."""

    upstream_port: int
    draw: random.Random
    secrets: dict[str, str]
    push: PushRules = field(default_factory=PushRules)
    rest: RestRules = field(default_factory=RestRules)
    stalled: bool = False
    refusing: bool = False
    revoked: set[str] = field(default_factory=set)
    altered: int = 0
    port: int = field(default_factory=free_port)
    wires: list[Wire] = field(default_factory=list)
    #: The newest orders that could open something.
    opened: deque[Opened] = field(default_factory=lambda: deque(maxlen=10_000))
    _runner: web.ServerRunner | None = None
    _session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Start listening."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """Cut all connections and stop."""
        self.cut()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def environment(self) -> dict[str, str]:
        """Environment that points the listener at this proxy."""
        return {"BYBIT_REST_URL": f"http://127.0.0.1:{self.port}", "BYBIT_WS_URL": f"ws://127.0.0.1:{self.port}"}

    def heal(self) -> None:
        """Remove all faults."""
        self.push, self.rest = PushRules(), RestRules()
        self.stalled = self.refusing = False
        self.revoked.clear()

    def cut(self, key: str | None = None) -> int:
        """Reset the private connections, or those of one key, without a closing handshake."""
        cut = 0
        for wire in self.wires:
            transport = wire.request.transport if wire.request is not None else None
            if transport is not None and (key is None or wire.key == key):
                transport.abort()
                cut += 1
        return cut

    # -- REST ---------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._stream(request)
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in {"host"}}
        refusal = self._refusal(headers)
        if refusal is not None:
            return web.json_response(refusal)
        if self.rest.kinds and self.draw.random() < self.rest.share:
            self.altered += 1
            return await self._rest_fault(request, self.draw.choice(self.rest.kinds))
        if self.rest.clock_ahead_ms and "X-BAPI-TIMESTAMP" in headers:
            headers = self._signed_again(headers, request, body)
        if self._session is None:
            return web.Response(status=502)
        passed_s = time.monotonic()
        try:
            async with self._session.request(
                request.method,
                URL(f"http://127.0.0.1:{self.upstream_port}{request.raw_path}", encoded=True),
                data=body or None,
                headers=headers,
            ) as answer:
                answered = await answer.read()
                if request.path == "/v5/order/create":
                    self._note(request, body, answered, passed_s)
                kept = {name: text for name, text in answer.headers.items() if name.startswith("X-Bapi")}
                return web.Response(
                    status=answer.status,
                    body=answered,
                    headers=kept,
                    content_type=answer.content_type,
                )
        except aiohttp.ClientError:
            return web.Response(status=502)

    def _note(self, request: web.BaseRequest, body: bytes, answered: bytes, passed_s: float) -> None:
        """Keep an accepted order that is not reduce-only."""
        order = json.loads(body)
        if not order.get("reduceOnly") and json.loads(answered)["retCode"] == 0:
            self.opened.append(Opened(request.headers["Host"], order.get("orderLinkId", ""), passed_s))

    def _refusal(self, headers: dict[str, str]) -> dict[str, object] | None:
        """Bybit's response for a revoked key or a wrong clock, or None."""
        key = headers.get("X-BAPI-API-KEY", "")
        now = wall_ms() + self.rest.clock_ahead_ms
        if key in self.revoked:
            return {"retCode": 10003, "retMsg": "API key is invalid.", "result": {}, "retExtInfo": {}, "time": now}
        stamp, window = headers.get("X-BAPI-TIMESTAMP"), int(headers.get("X-BAPI-RECV-WINDOW", "5000"))
        if stamp and self.rest.clock_ahead_ms and not now - window <= int(stamp) < now + 1_000:
            self.altered += 1
            text = (
                "invalid request, please check your server timestamp or recv_window param. "
                f"req_timestamp[{stamp}],server_timestamp[{now}],recv_window[{window}]"
            )
            return {"retCode": 10002, "retMsg": text, "result": {}, "retExtInfo": {}, "time": now}
        return None

    def _signed_again(self, headers: dict[str, str], request: web.BaseRequest, body: bytes) -> dict[str, str]:
        """The same call re-signed with a timestamp that the exchange behind this proxy accepts."""
        key, now = headers["X-BAPI-API-KEY"], wall_ms()
        window = int(headers.get("X-BAPI-RECV-WINDOW", "5000"))
        payload = body.decode() if body else request.raw_path.partition("?")[2]
        signature = rest_signature(key, self.secrets[key], now, window, payload)
        return {**headers, "X-BAPI-TIMESTAMP": str(now), "X-BAPI-SIGN": signature}

    async def _rest_fault(self, request: web.BaseRequest, kind: str) -> web.StreamResponse:
        now = wall_ms()
        if kind == "10006":
            reset = str(now + 100)
            return web.json_response(
                {"retCode": 10006, "retMsg": "Too many visits!", "result": {}, "retExtInfo": {}, "time": now},
                headers={"X-Bapi-Limit-Reset-Timestamp": reset},
            )
        if kind == "10016":
            return web.json_response(
                {"retCode": 10016, "retMsg": "Server error.", "result": {}, "retExtInfo": {}, "time": now}
            )
        if kind == "5xx":
            return web.Response(status=self.draw.choice((500, 502, 503)), text="<html>down</html>")
        if kind == "garbage":
            return web.Response(text='{"retCode":0,"retMsg":"OK","result":{"list":[{"symbol":')
        if kind == "cut" and request.transport is not None:
            request.transport.abort()
        return web.Response(status=504)

    # -- streams ------------------------------------------------------------------------------------------------

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.refusing or self._session is None:
            return web.Response(status=503)
        client = web.WebSocketResponse(autoping=True, heartbeat=None)
        try:
            await client.prepare(request)
        except ConnectionError:  # it has gone again, as behind a network that carried nothing
            return web.Response(status=503)
        private = request.path.endswith("/private")
        wire = Wire(client=client, request=request)
        if private:
            self.wires.append(wire)
        try:
            async with self._session.ws_connect(
                f"ws://127.0.0.1:{self.upstream_port}{request.raw_path}", max_msg_size=0
            ) as upstream:
                up = asyncio.create_task(self._upwards(client, upstream, wire))
                down = asyncio.create_task(self._downwards(client, upstream, private=private))
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
                for task in (up, down):
                    task.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        except (aiohttp.ClientError, OSError):
            pass
        finally:
            if wire in self.wires:
                self.wires.remove(wire)
            if request.transport is not None:
                request.transport.abort()
        return client

    async def _upwards(
        self, client: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse, wire: Wire
    ) -> None:
        async for message in client:
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            if '"auth"' in message.data:
                wire.key = json.loads(message.data)["args"][0]
                if wire.key in self.revoked:
                    refusal = {"success": False, "ret_msg": "API key is invalid.", "op": "auth", "conn_id": "p"}
                    await client.send_str(json.dumps(refusal))
                    continue
            if not self.stalled:
                await upstream.send_str(message.data)

    async def _downwards(
        self, client: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse, *, private: bool
    ) -> None:
        held: deque[str] = deque()
        late: set[asyncio.Task[None]] = set()
        async for message in upstream:
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            if self.stalled:
                continue
            frame: str = message.data
            if not private or '"topic"' not in frame:
                await client.send_str(frame)
                continue
            for piece in self._altered(frame, held):
                if self.push.delay_s:
                    task = asyncio.create_task(self._send_late(client, piece, self.push.delay_s))
                    late.add(task)
                    task.add_done_callback(late.discard)
                else:
                    await client.send_str(piece)
        # frames held back for reordering are not lost when the rule ends: they follow with the next frame

    async def _send_late(self, client: web.WebSocketResponse, frame: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        with contextlib.suppress(ConnectionError, RuntimeError):
            await client.send_str(frame)

    def _altered(self, frame: str, held: deque[str]) -> list[str]:
        """The frames to send in place of this one."""
        rules = self.push
        if rules.topics and not any(f'"topic":"{topic}' in frame for topic in rules.topics):
            return [frame]
        rules.seen += 1
        if rules.drop_every and rules.seen % rules.drop_every == 0:
            self.altered += 1
            return []
        if rules.kinds and self.draw.random() < rules.garble:
            self.altered += 1
            return [garbled(frame, self.draw.choice(rules.kinds), self.draw)]
        if rules.reorder and self.draw.random() < rules.reorder:
            self.altered += 1
            held.append(frame)
            return []
        pieces = [frame]
        while held:
            pieces.append(held.popleft())
        if rules.duplicate and self.draw.random() < rules.duplicate:
            self.altered += 1
            pieces.append(frame)
        return pieces


def garbled(frame: str, kind: str, draw: random.Random) -> str:
    """The frame corrupted in this way. Its content is lost, except for the `unknown` kinds."""
    if kind == "truncated":
        return frame[: draw.randrange(1, len(frame))]
    if kind == "garbage":
        return draw.choice(("\x00\x01", "not json", "[1,2,3]", '"text"', "{}", '{"topic":5,"data":[]}', "9" * 50))
    message = json.loads(frame)
    if kind == "unknown topic":
        return json.dumps({**message, "topic": "greeks", "data": [{"surprise": 1}]})
    rows = message["data"]
    row = rows[draw.randrange(len(rows))]
    if kind == "unknown field":
        row["fieldOfTomorrow"] = {"nested": [1, "2"]}
        message["envelopeOfTomorrow"] = True
    elif kind == "missing field":
        required = [
            name for name in ("execId", "execQty", "execTime", "orderId", "size", "symbol", "coin") if name in row
        ]
        row.pop(draw.choice(required), None)
    elif kind == "absurd number":
        names = [name for name in ("execPrice", "execQty", "execTime", "size", "updatedTime", "seq") if name in row]
        if names:
            row[draw.choice(names)] = draw.choice(
                ("1" + "0" * 60, "-5", "NaN", "1e400", "0x10", "99999999999999999999")
            )
    elif kind == "far ahead":
        # a valid but wrong timestamp: a consumer that trusts it ignores everything after it
        for name in ("creationTime", "updatedTime", "seq"):
            for holder in (message, row):
                if name in holder:
                    holder[name] = type(holder[name])(int(holder[name]) + _FAR_AHEAD)
    return json.dumps(message)

"""The WebSocket of picows, whose parser is written in C: a frame costs less than half of what the library `websockets` takes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from alpha.errors import Retry

if TYPE_CHECKING:
    from alpha.bybit.connection import Timing

#: The largest message that is read. Bybit's private ones stay far below.
MOST_BYTES = 4 * 1024 * 1024
#: What one turn of the event loop reads: after so much of a flood the writers have their turn.
BUFFER_BYTES = 32 * 1024


class _Listener(WSListener):
    def __init__(self, frame: Callable[[str | bytes], None], lost: Callable[[str], None]) -> None:
        self._frame = frame
        self._lost = lost
        self._parts: list[bytes] = []

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Every frame, whole ones as they are; parts of one are put together."""
        kind = frame.msg_type
        if kind in (WSMsgType.TEXT, WSMsgType.BINARY) and frame.fin:
            self._frame(frame.get_payload_as_bytes())
        elif kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            self._parts.append(frame.get_payload_as_bytes())
            if sum(map(len, self._parts)) > MOST_BYTES:
                transport.disconnect(False)
            elif frame.fin:
                whole, self._parts = b"".join(self._parts), []
                self._frame(whole)
        elif kind == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection has ended."""
        self._lost("connection lost: closed")


class WebSocket:
    """A connection of picows."""

    def __init__(self, url: str, transport: WSTransport) -> None:
        self._url = url
        self._transport = transport

    @classmethod
    async def open(
        cls,
        url: str,
        timing: Timing,
        frame: Callable[[str | bytes], None],
        lost: Callable[[str], None],
        *,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> WebSocket:
        """Connect; Retry when the network or the other side does not serve it. The connection sends its own pings."""
        try:
            async with asyncio.timeout(timing.connect_s):
                transport, _ = await ws_connect(
                    lambda: _Listener(frame, lost),
                    url,
                    ssl_context=ssl.create_default_context() if url.startswith("wss:") else None,
                    websocket_handshake_timeout=timing.connect_s,
                    max_frame_size=MOST_BYTES,
                    max_redirects=0,
                    read_buffer_init_size=buffer_bytes,
                )
        except (OSError, WSError, TimeoutError, EOFError) as fault:
            raise Retry(f"{url} cannot be reached: {str(fault) or type(fault).__name__}.") from None
        return cls(url, transport)

    async def send(self, text: str) -> None:
        """Send one text frame; Retry when the connection is lost."""
        try:
            self._transport.send(WSMsgType.TEXT, text.encode())
        except (OSError, WSError) as fault:
            raise Retry(f"{self._url} was lost: {fault}.") from None

    async def close(self) -> None:
        """Close it and free what it holds. Never fails."""
        with suppress(OSError, WSError):
            self._transport.send_close(WSCloseCode.OK)
        self._transport.disconnect(True)
        with suppress(TimeoutError, OSError, WSError):
            async with asyncio.timeout(1.0):
                await self._transport.wait_disconnected()

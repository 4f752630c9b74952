"""Makes a working server hang."""

import asyncio
import contextlib

from alpha.process import end_tasks


class Stalling:
    """A local TCP proxy that can be stalled: it then accepts connections but forwards nothing. Use as `async with`."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._to = port
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    def stall(self) -> None:
        """Stop forwarding."""
        self._flows.clear()

    def flow(self) -> None:
        """Resume forwarding, including held data."""
        self._flows.set()

    async def __aenter__(self) -> "Stalling":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await end_tasks(self._tasks)
        for writer in self._writers:
            writer.transport.abort()
        # Aborted transports are released in the next loop iteration.
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        # The server's own task for a connection cannot be cancelled from here, so use a separate one.
        self._tasks.add(asyncio.create_task(self._connect(reader, writer)))

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flows.wait()
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers.append(back)
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while read := await source.read(65_536):
                await self._flows.wait()
                sink.write(read)
                await sink.drain()
        sink.close()

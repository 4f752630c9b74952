"""TLS in front of a local port, as a reverse proxy has it: for pages that only work over https."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from demo.ports import free_port


@contextlib.asynccontextmanager
async def tls_in_front(port: int, folder: Path) -> AsyncIterator[str]:
    """Listen with a certificate of its own and pass everything to `port`; yields the https address."""
    key, certificate = folder / "tls.key", folder / "tls.crt"
    made = await asyncio.create_subprocess_exec(
        *(
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ),
        *("-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert await made.wait() == 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    tasks: set[asyncio.Task[None]] = set()

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner, out = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        for pair in ((reader, out), (inner, writer)):
            task = asyncio.create_task(copy(*pair))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    outside = free_port()
    server = await asyncio.start_server(serve, "127.0.0.1", outside, ssl=context)
    try:
        yield f"https://127.0.0.1:{outside}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

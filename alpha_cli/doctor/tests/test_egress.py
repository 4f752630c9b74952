import asyncio

from alpha_cli.doctor.egress import check_egress
from demo.ports import free_port


async def test_a_metadata_address_that_answers_is_a_note_and_silence_is_none() -> None:
    assert [finding async for finding in check_egress(("127.0.0.1", free_port()))] == []
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    (found,) = [finding async for finding in check_egress(("127.0.0.1", port))]
    assert "metadata address" in found.text
    assert "docs/security.md" in found.remedy
    server.close()
    await server.wait_closed()

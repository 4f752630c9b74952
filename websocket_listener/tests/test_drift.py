"""What Bybit does not document is noted once in `audit.venue_drift`, counted, and stops nothing."""

from typing import Any

import httpx

from alpha.live_state.connect import RedisClients
from tests.support.world import Simulator, until
from websocket_listener.tests.conftest import ListenerMaker
from websocket_listener.tests.test_process import buy, fills_of, health, synced

NEW = {
    ("field", "execution", "carbonOffset"),
    ("field", "position", "moonPhase"),
    ("value", "order", "orderStatus=Parked"),
    ("topic", "private stream", "horoscope"),
    ("code", "order/realtime", "990001"),
}


async def test_new_fields_values_topics_and_codes_are_noted_once_and_no_fill_is_lost(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    process = listener({"SHORTSELLER": "key-16"}, health_port="0")
    await synced(links)
    async with httpx.AsyncClient(base_url=exchange.url) as client:

        async def fault(**body: object) -> None:
            assert (await client.post("/_sim/faults", json=body)).status_code == 200

        await fault(kind="drift", topic="execution", key="key-16", field="carbonOffset", value="api-secret-free")
        await fault(kind="drift", topic="order", key="key-16", field="orderStatus", value="Parked", times=1)
        await fault(kind="drift", path="/v5/position/list", field="moonPhase", value="waxing")
        await fault(kind="push", stream="private", key="key-16", topic="horoscope", field="sign", value="virgo")
        await fault(kind="answer", path="/v5/order/realtime", key="key-16", ret_code=990001, ret_msg="Mars", times=1)
        await buy(exchange, 16, "0.1", "0.1")

        async def noted() -> bool:
            rows = await database.fetch("SELECT kind, place, name FROM audit.venue_drift")
            return {tuple(row) for row in rows} >= NEW

        try:
            await until(noted, 25, "the notes")
        except AssertionError:
            rows = await database.fetch("SELECT kind, place, name FROM audit.venue_drift")
            raise AssertionError(f"missing: {NEW - {tuple(row) for row in rows}}, {rows}") from None
        await client.delete("/_sim/faults")
    await buy(exchange, 16, "-0.2")
    await synced(links)

    async def all_there() -> bool:
        return len(await fills_of(database, "shortseller_001", exchange, 16)) == 3

    await until(all_there, 20, "the fills")
    rows = {(row["kind"], row["name"]): row for row in await database.fetch("SELECT * FROM audit.venue_drift")}
    assert rows["field", "carbonOffset"]["example"] == "api-secret-free"
    assert rows["field", "carbonOffset"]["service"] == "websocket_listener"
    # the example of the topic is its message
    assert '"sign":***' in rows["topic", "horoscope"]["example"]
    code, _, metrics = await health(process)
    assert code == 200
    assert 'venue_drift_total{kind="field"} 2.0' in metrics
    assert await database.fetchval("SELECT count(*) FROM audit.rejected_messages WHERE message LIKE '%carbon%'") == 0

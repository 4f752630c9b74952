from pathlib import Path

import asyncpg

from alpha.live_state.connect import RedisClients
from demo.postgres import EmbeddedPostgres
from demo.redis import EmbeddedRedis


async def test_postgresql_keeps_its_data_over_a_crash(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", "a password'with \\ signs")

    async def connect() -> "asyncpg.Connection[asyncpg.Record]":
        where = server.settings()
        return await asyncpg.connect(
            host=where.postgres_host,
            port=where.postgres_port,
            user=where.postgres_user,
            password=where.postgres_password.get_secret_value(),
            database=where.postgres_db,
        )

    server.start()
    link = await connect()
    await link.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await link.close()
    server.stop("immediate")
    server.start()
    link = await connect()
    assert await link.fetchval("SELECT answer FROM kept") == 42
    await link.close()
    server.stop()


async def test_redis_keeps_its_data_over_a_restart(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis", "secret")
    server.start()
    links = RedisClients(server.settings())
    await links.shared.set("kept", "42")
    await links.close()
    server.stop()
    server.start()
    links = RedisClients(server.settings())
    assert await links.shared.get("kept") == "42"
    await links.close()
    server.stop()

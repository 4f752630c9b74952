"""Checks of PostgreSQL, the migrations and Redis."""

from collections.abc import AsyncIterator

from alpha.config.services import DatabaseSettings, RedisSettings
from alpha.influx import InfluxClient, InfluxSettings
from alpha.live_state.connect import RedisClients
from alpha.postgres.database import connect
from alpha.postgres.migrate import read_migrations
from alpha.postgres.sql import queries
from alpha_cli.doctor.finding import Finding, fault, ok

SQL = queries(__file__)


async def check_database(settings: DatabaseSettings) -> AsyncIterator[Finding]:
    """Check that PostgreSQL answers, directly or through the pooler, and has the schema this code expects."""
    connection = await connect(settings, "doctor")
    try:
        version = await connection.fetchval("SHOW server_version")
        where = f"{settings.postgres_host}:{settings.postgres_port}"
        yield ok("database", f"PostgreSQL {version.split()[0]} answers at {where} as {settings.postgres_user}.")
        newest = read_migrations()[-1]
        applied = await connection.fetchval(SQL["schema_version"])
        if applied is None or applied < newest.number:
            yield fault(
                "migrations",
                f"The schema is at {applied or 0}, this version needs {newest.number}.",
                "Run the migrations.",
            )
        elif applied > newest.number:
            yield fault(
                "migrations", f"The schema is at {applied}, newer than this version's {newest.number}.", "Update Alpha."
            )
        else:
            yield ok("migrations", f"The schema is up to date ({newest.name}).")
    finally:
        await connection.close()


async def check_redis(settings: RedisSettings) -> AsyncIterator[Finding]:
    """Check that Redis answers and accepts our login."""
    links = RedisClients(settings)
    try:
        await links.check()
        yield ok("redis", f"Redis answers at {links.address} as {settings.redis_username}.")
    finally:
        await links.close()


async def check_influx(settings: InfluxSettings) -> AsyncIterator[Finding]:
    """InfluxDB answers, knows us, and has the database, in 2.x through a mapping."""
    client = InfluxClient(settings, timeout_s=10.0)
    try:
        await client.check()
        yield ok("influxdb", f"InfluxDB answers at {client.url} and has the database {client.database!r}.")
    finally:
        await client.close()

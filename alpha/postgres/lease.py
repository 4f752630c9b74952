"""The durable row of a lease in PostgreSQL, for any lease table.

Besides its key, a lease table has the columns `holder`, `token`, `acquisitions`, `acquired_at`, `expires_at`,
`released_token` and `handed_over`. All times are the database's own. A token is the greater of stored + 1 and the epoch
in milliseconds, so that it increases across a restore or a lossy failover too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from alpha.config.services import DatabaseSettings
from alpha.errors import AlphaError, Retry
from alpha.lease import Grant
from alpha.postgres.bounded_database import BoundedDatabase
from alpha.postgres.database import POSTGRES_ERRORS, Record, explained

# When another process holds the row, the insert returns nothing. A holder re-acquires its own lease when the
# answer to its first query was lost.
_ACQUIRE = """
INSERT INTO {table} AS l ({columns}, holder, token, acquisitions, acquired_at, expires_at, handed_over)
VALUES ({values}, $1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, 1,
        clock_timestamp(), clock_timestamp() + make_interval(secs => $2), true)
ON CONFLICT ({key}) DO UPDATE
SET {update}holder = excluded.holder, token = greatest(l.token + 1, excluded.token), acquisitions = l.acquisitions + 1,
    acquired_at = excluded.acquired_at, expires_at = excluded.expires_at,
    handed_over = CASE WHEN l.holder = excluded.holder THEN l.handed_over ELSE l.released_token IS NOT DISTINCT FROM l.token END
WHERE {free} OR l.holder = excluded.holder
RETURNING token, handed_over
"""
_RENEW = """
UPDATE {table} SET {touch}expires_at = clock_timestamp() + make_interval(secs => $2)
WHERE holder = $1 AND token = $3 AND {match} RETURNING token
"""
_RELEASE = """
UPDATE {table} SET {release}expires_at = clock_timestamp(), released_token = token
WHERE holder = $1 AND token = $2 AND {match}
"""
_HOLDER = "SELECT holder FROM {table} WHERE {match}"


#: The part of a lease's time for which its holder comes first after an outage; it renews every quarter, and a renewal may hang.
_HOLDERS_FIRST = 2 / 3


@dataclass(frozen=True, slots=True)
class LeaseTable:
    """A lease table: its primary key, further columns written on acquisition, and one that each renewal stamps.

    `stamped` is the column by which holders of the previous release judge whether the lease is free; a row that it
    shows to be in use is not taken.
    """

    name: str
    key: Sequence[str]
    further: Sequence[str] = ()
    stamped: str | None = None


BOT_LEASES = LeaseTable("trading.bot_leases", ("account_id",), ("bot_id",))
GUARD_LEASE = LeaseTable("trading.guard_lease", ("only_row",), stamped="renewed_at")


class PostgresLease:
    """One row of such a table, over its own connection. Raises Retry or Misconfigured while it cannot be queried."""

    def __init__(
        self,
        settings: DatabaseSettings,
        application: str,
        table: LeaseTable,
        values: Mapping[str, object],
        *,
        timeout_s: float,
        questions: BoundedDatabase | None = None,
    ) -> None:
        """`values` are the key and the further columns; `timeout_s` bounds each query, connecting included.
        `questions`: connections shared by several leases, instead of its own."""
        self._settings = settings
        self._questions = questions or BoundedDatabase(settings, application, max_size=1, timeout_s=timeout_s)
        self._key = [values[name] for name in table.key]
        self._all = [*self._key, *(values[name] for name in table.further)]
        columns = [*table.key, *table.further]
        stamped = table.stamped
        update = "".join(f"{name} = excluded.{name}, " for name in table.further)
        insert = [f"${number}" for number in range(3, 3 + len(columns))]
        free = "l.expires_at < clock_timestamp()"
        if stamped:
            columns, insert = [*columns, stamped], [*insert, "clock_timestamp()"]
            update += f"{stamped} = clock_timestamp(), "
            free = f"({free} AND l.{stamped} < clock_timestamp() - make_interval(secs => $2))"
        self._acquire = _ACQUIRE.format(
            table=table.name,
            columns=", ".join(columns),
            values=", ".join(insert),
            key=", ".join(table.key),
            update=update,
            free=free,
        )
        self._renew = _RENEW.format(
            table=table.name, touch=f"{stamped} = clock_timestamp(), " if stamped else "", match=_match(table.key, 4)
        )
        self._release = _RELEASE.format(
            table=table.name, release=f"{stamped} = '-infinity', " if stamped else "", match=_match(table.key, 3)
        )
        self._holder = _HOLDER.format(table=table.name, match=_match(table.key, 1))

    async def acquire(self, holder: str, seconds: float) -> Grant | None:
        """Take it for `seconds` if free; None while another process holds it.

        After an outage every lease has expired. Whoever held one renews it within moments, and whoever takes it instead
        starts from nothing: so for a while only a holder takes its own.
        """
        if self._questions.back_for_s < seconds * _HOLDERS_FIRST and await self.holder() != holder:
            return None
        rows = await self._fetch(self._acquire, holder, seconds, *self._all)
        return Grant(int(rows[0]["token"]), bool(rows[0]["handed_over"])) if rows else None

    async def renew(self, holder: str, token: int, seconds: float) -> bool:
        """Renew it; False when another process has taken it."""
        return bool(await self._fetch(self._renew, holder, seconds, token, *self._key))

    async def release(self, holder: str, token: int) -> None:
        """Release it."""
        await self._fetch(self._release, holder, token, *self._key)

    async def holder(self) -> str:
        """The current or last holder."""
        rows = await self._fetch(self._holder, *self._key)
        return str(rows[0]["holder"]) if rows else "nobody"

    async def close(self) -> None:
        """Close the connection."""
        await self._questions.close()

    async def _fetch(self, sql: str, *arguments: object) -> list[Record]:
        try:
            return await self._questions.fetch(sql, *arguments)
        except POSTGRES_ERRORS as fault:
            raise _known(fault, self._settings) from None


def _match(key: Sequence[str], first: int) -> str:
    return " AND ".join(f"{name} = ${number}" for number, name in enumerate(key, first))


def _known(fault: Exception, settings: DatabaseSettings) -> AlphaError:
    """The error to raise: any PostgreSQL error, even a full disk, means that the lease could not be queried."""
    try:
        return explained(fault, settings)
    except asyncpg.PostgresError as other:
        return Retry(f"PostgreSQL does not serve the lease now: {other}. It is tried again.")

"""InfluxDB's HTTP interface of version 1, which 1.x, 2.x (with a DBRP mapping) and 3 Core all serve.

`/write` takes line protocol, `/query` InfluxQL. User and token travel as HTTP Basic, where 2.x and 3 Core take the token
for the password. Traps of the interface are turned into errors here: an unknown database is 404 for a write and a 200
with an error inside for a query, a missing measurement is an empty 200.
"""

import re
from typing import Any

import msgspec
from pydantic import Field, SecretStr

from alpha.config.loader import Settings, Url
from alpha.errors import AlphaError, Misconfigured, Retry
from alpha.imports import without

# Its command line would bring click, rich and a highlighter.
with without("click"):
    import httpx


class InfluxSettings(Settings):
    """InfluxDB as a second home for trades and quotes; off without an address."""

    influx_url: Url | None = Field(
        None,
        description="the address of InfluxDB, for example http://127.0.0.1:8086; none switches it off",
        pattern=r"^https?://[^/\s]",
    )
    influx_db: str = Field(
        "ticks", description="the database in InfluxDB; in 2.x that of a DBRP mapping", pattern=r"^[A-Za-z0-9_-]+$"
    )
    influx_user: str = Field("alpha", description="the user in InfluxDB; 3 Core ignores it")
    influx_token: SecretStr | None = Field(
        None, description="the password of this user, or the token of 2.x and 3 Core"
    )


#: 1.x: "partial write: points beyond retention policy dropped=3"; 2.x: "partial write: dropped 3 points outside retention
#: policy of duration 24h0m0s - ...".
_BEYOND = re.compile(r"beyond retention policy dropped=(\d+)|dropped (\d+) points outside retention policy")


class LinesRefused(AlphaError):
    """InfluxDB took not every line (400) or found them too many (413); which, it does not say.

    `beyond_retention` is how many it left out because they are older than it keeps points.
    """

    def __init__(self, said: str) -> None:
        super().__init__(said)
        found = _BEYOND.search(said)
        self.beyond_retention = int(found.group(1) or found.group(2)) if found else 0


class InfluxClient:
    """Writes and queries. Errors: Retry while it is away, Misconfigured, with the command that mends it, else."""

    def __init__(self, settings: InfluxSettings, *, timeout_s: float = 30.0) -> None:
        self.url = settings.influx_url or ""
        self.database = settings.influx_db
        self._user = settings.influx_user
        token = settings.influx_token
        auth = None if token is None else (settings.influx_user, token.get_secret_value())
        self._client = httpx.AsyncClient(base_url=self.url, auth=auth, timeout=timeout_s, trust_env=False)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def write(self, lines: bytes) -> None:
        """Send lines with times in nanoseconds. LinesRefused when not every one was taken."""
        answer = await self._send("POST", "/write", {"db": self.database, "precision": "ns"}, lines)
        if answer.status_code in (400, 413):
            raise LinesRefused(self._said(answer))
        if answer.status_code not in (200, 204):
            raise self._fault(answer.status_code, self._said(answer))

    async def query(self, text: str) -> list[dict[str, Any]]:
        """The series of one InfluxQL query, times in milliseconds; none when nothing of that name was ever written."""
        answer = await self._send("GET", "/query", {"db": self.database, "epoch": "ms", "q": text}, None)
        if answer.status_code != 200:
            raise self._fault(answer.status_code, self._said(answer))
        try:
            result = msgspec.json.decode(answer.content)["results"][0]
        except (msgspec.DecodeError, KeyError, IndexError, TypeError):
            raise Misconfigured(f"INFLUX_URL {self.url} does not answer as InfluxDB does. Check the address.") from None
        if "error" in result:
            raise self._fault(404 if "not found" in result["error"] else 400, result["error"])
        series: list[dict[str, Any]] = result.get("series", [])
        return series

    async def check(self) -> None:
        """Raise what is wrong with address, user or database; nothing is written."""
        # not SHOW MEASUREMENTS, which 1.x answers for a database that does not exist
        await self.query('SELECT "price" FROM "trades" LIMIT 1')

    async def _send(self, method: str, path: str, params: dict[str, str], body: bytes | None) -> httpx.Response:
        try:
            return await self._client.request(method, path, params=params, content=body)
        except httpx.InvalidURL as fault:
            raise Misconfigured(f"INFLUX_URL {self.url} is not an address: {fault}.") from None
        except httpx.HTTPError as fault:
            raise Retry(
                f"InfluxDB does not answer at {self.url} ({str(fault) or type(fault).__name__}): start it, or check INFLUX_URL."
            ) from None

    def _said(self, answer: httpx.Response) -> str:
        try:
            said = msgspec.json.decode(answer.content)
            return str(said.get("error") or said.get("message") or said)
        except (msgspec.DecodeError, AttributeError):
            return answer.text[:300] or f"status {answer.status_code}"

    def _fault(self, status: int, said: str) -> AlphaError:
        database = self.database
        if status == 401:
            return Misconfigured(
                f"InfluxDB at {self.url} refused user {self._user!r}: check INFLUX_USER and INFLUX_TOKEN "
                "(2.x and 3 Core: the token as INFLUX_TOKEN)."
            )
        if status == 403:
            return Misconfigured(
                f"InfluxDB user {self._user!r} may not use database {database!r} ({said}): "
                f'GRANT ALL ON "{database}" TO "{self._user}"'
            )
        if status == 404 and "database not found" in said:
            return Misconfigured(f'InfluxDB has no database {database!r}. Make it: CREATE DATABASE "{database}"')
        if status == 404:
            return Misconfigured(
                f"InfluxDB has no bucket for database {database!r} ({said}). Map one: "
                f"influx v1 dbrp create --db {database} --rp autogen --default --bucket-id <ID>"
            )
        if status == 429 or status >= 500:
            return Retry(f"InfluxDB at {self.url} is overloaded or failing ({status}: {said}).")
        return Misconfigured(f"InfluxDB at {self.url} refused ({status}): {said}.")

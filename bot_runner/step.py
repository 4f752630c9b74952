"""The step clock of a simulated exchange: time stops until every named client has reported the point."""

import asyncio

import msgspec

from alpha.errors import Retry
from alpha.imports import without

# Its command line would bring click, rich and a highlighter.
with without("click"):
    import httpx


class Point(msgspec.Struct, frozen=True):
    """One point of the market's walk: its number, its time, its place in the bar (0 is the open)."""

    point: int
    now_ms: int
    point_of_bar: int
    ended: bool

    @property
    def opens(self) -> bool:
        """True at the open of a bar: the bar before has just closed."""
        return self.point_of_bar == 0


class StepClock:
    """Follows the points of one simulated exchange and reports them."""

    def __init__(self, url: str, client: str) -> None:
        """`client` is the name under which the exchange waits for this bot."""
        self._http = httpx.AsyncClient(base_url=url, timeout=30.0)
        self._client = client
        self._last = -1

    async def join(self) -> Point:
        """Make the exchange wait for this bot from the current point on; returns that point. Retry when away.

        The point is read first: a clock that only waited for this bot moves on the moment it has joined.
        """
        point = await self.next()
        self._last = point.point
        await self._post("/_sim/clients", {"client": self._client, "points": True, "symbols": []})
        return point

    async def next(self) -> Point:
        """The point after the last one reported; waits for it."""
        while True:
            try:
                answer = await self._http.get("/_sim/point", params={"after": self._last, "timeout_s": 10})
                answer.raise_for_status()
                point = msgspec.json.decode(answer.content, type=Point)
            except (httpx.HTTPError, msgspec.DecodeError):
                await asyncio.sleep(0.2)
                continue
            if point.point > self._last:
                return point

    async def report(self, point: Point) -> None:
        """Say that everything at this point is done."""
        await self._post("/_sim/evaluated", {"client": self._client, "point": point.point})
        self._last = point.point

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    async def _post(self, path: str, body: dict[str, object]) -> None:
        try:
            answer = await self._http.post(path, json=body)
            answer.raise_for_status()
        except httpx.HTTPError as fault:
            raise Retry(f"The step clock at {self._http.base_url} did not answer {path}: {fault}.") from None

"""An exchange with only a history: evenly spaced executions of one account, paged by cursor as on Bybit."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec
from aiohttp import web

DAY_MS = 86_400_000
PAGE = 100


@dataclass
class History:
    """`row(n)` is the n-th execution without time; `changed` overrides single fields. `line_ms` delays each answer."""

    row: Callable[[int], Mapping[str, object]]
    executions: int
    start_ms: int
    days: int = 6
    line_ms: float = 0.0
    changed: dict[int, dict[str, object]] = field(default_factory=dict)
    #: The start of every requested window.
    asked_ms: list[int] = field(default_factory=list)
    #: Awaited with the window's start before that window is answered.
    hold: Callable[[int], Awaitable[object]] | None = None

    @property
    def end_ms(self) -> int:
        """The exchange's time."""
        return self.start_ms + self.days * DAY_MS

    def time_of(self, number: int) -> int:
        """Time of the n-th execution in milliseconds."""
        return self.start_ms + int(number * self._step)

    @property
    def _step(self) -> float:
        return self.days * DAY_MS / self.executions

    def page(self, start_ms: int, end_ms: int, cursor: str) -> dict[str, object]:
        """One page of `execution/list`, newest first."""
        first = max(0, int((start_ms - self.start_ms + self._step - 1) / self._step))
        newest = min(self.executions - 1, int((end_ms - self.start_ms) / self._step))
        newest = int(cursor or newest)
        oldest = max(first, newest - PAGE + 1)
        rows = [
            {**self.row(n), "execTime": str(self.time_of(n)), **self.changed.get(n, {})}
            for n in range(newest, oldest - 1, -1)
        ]
        return {"list": rows, "nextPageCursor": str(oldest - 1) if oldest > first else "", "category": "linear"}

    def application(self) -> web.Application:
        """The web application: answers every GET with a page of executions, no position, or the time."""

        async def answer(request: web.Request) -> web.Response:
            await asyncio.sleep(self.line_ms / 1_000)
            now = {"timeSecond": str(self.end_ms // 1_000), "timeNano": str(self.end_ms * 1_000_000)}
            result: dict[str, object] = dict(now)
            if request.path.endswith("/execution/list"):
                start_ms = int(request.query["startTime"])
                self.asked_ms.append(start_ms)
                if self.hold is not None:
                    await self.hold(start_ms)
                result = self.page(start_ms, int(request.query["endTime"]), request.query.get("cursor", ""))
            elif request.path.endswith("/position/list"):
                result = {"list": [], "nextPageCursor": "", "category": "linear"}
            body = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": self.end_ms}
            return web.Response(body=msgspec.json.encode(body), content_type="application/json")

        application = web.Application()
        application.router.add_get("/{path:.*}", answer)
        return application

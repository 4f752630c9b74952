"""The dashboard server: a token once, then a cookie; pages, with the live parts sent as server-sent events."""

import asyncio
from html import escape
from time import thread_time
from zoneinfo import ZoneInfo

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from alpha.alerts import Alerts
from alpha.clock import monotonic_ms, wall_ms
from alpha.errors import AlphaError, Misconfigured, Rejected
from alpha.health import HealthServer
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import one_look, read_status
from alpha.logs import logger
from alpha.process import LoopPulse, end_tasks
from alpha.registry import load_registry
from bot_control.desired_state import SWARM, DesiredState
from bot_control.no_control import NoControl
from dashboard import chart_data, figures, front, log_files, scripts, sweeps, tables, views
from dashboard.asked import PARAMETERS, Asked, read, require_known
from dashboard.gate import HEADERS, Gate, role
from dashboard.login import DAMAGED, Login
from dashboard.settings import DashboardSettings
from dashboard.shell import STUDIES, ZONE, page
from dashboard.steering import Steering
from operations.commands import Role
from operations.context import History, Operations, redis_faults
from operations.guard_control import GuardControl
from operations.storable import storable
from operations.trade import find_trade

log = logger(__name__)
REFRESH_S = 1.0
#: Looks take this share of a core at most, as long as they are no rarer than the second, in seconds.
LOOK_SHARE, MOST_REFRESH_S = 0.015, 10.0
#: Seconds between store checks, which run even with no viewers; unhealthy after BLIND_MS without an answer.
ASK_S, BLIND_MS = 5.0, 30_000
#: An event stream ends this long after its session, at most.
SESSION_CHECK_MS = 15_000
#: Longer than any meaningful query.
MOST_QUERY = 200
#: A form is a few hundred bytes.
MOST_BODY = 65_536

#: Parameters of the pages that have not those of `Asked`, by the beginning of their path.
_OWN_PARAMETERS: dict[str, tuple[str, ...]] = {
    "/login": ("code",),
    "/steer": ("bot",),
    "/logs": ("level", "search"),
    "/data/logs": ("level", "search"),
    **dict.fromkeys(("/sessions", "/system", "/sweeps", "/events", "/trade"), ()),
    **dict.fromkeys((f"/{name}" for name in views.MENU), (*PARAMETERS, "q")),
}


class Dashboard:
    """Serves one `Operations`. All viewers share one refresh per second."""

    def __init__(
        self,
        settings: DashboardSettings,
        platform: Operations,
        steering: Operations | None = None,
        studies: History | None = None,
    ) -> None:
        """`steering` is what changes something, with a role of its own; None for a dashboard that only reads.

        `studies` reads the sweeps of research; None for no page of them.
        """
        self._settings = settings
        self._studies = studies
        self.platform = platform
        shared = (platform if steering is None else steering).live.shared
        self._gate = Gate(settings, Alerts(shared, "dashboard"), steering)
        self._log_in = None if steering is None else Login(settings, steering, self._gate)
        self.steering = None if steering is None else Steering(platform, steering, self._gate)
        self._audit = steering
        self._viewers: set[asyncio.Queue[dict[str, bytes]]] = set()
        #: The last look, and when it was (monotonic).
        self._last: tuple[int, dict[str, str]] | None = None
        self.looked_ms = wall_ms()
        self.stores_ms = monotonic_ms()

    def app(self) -> web.Application:
        """Build the aiohttp application."""
        app = web.Application(middlewares=[self._admit], client_max_size=MOST_BODY)
        app[ZONE] = str(self.platform.zone)
        app.add_routes(
            [
                web.get("/", self._front),
                web.get("/events", self._events),
                web.get("/scripts/{name}", scripts.script),
                web.get("/chart", self._chart),
                web.get("/chart/{symbol}", self._chart),
                web.get("/trade/{trade}", self._trade),
                web.get("/figures", self._figures),
                web.get("/system", self._system),
                web.get("/logs", self._logs),
                web.get("/logs/{service}", self._logs),
                web.get("/data/equity", self._data),
                web.get("/data/candles/{symbol}", self._data),
                web.get("/data/trade/{trade}", self._data),
                web.get("/data/logs/{service}", self._log_lines),
                web.get("/{table:[a-z]+}.csv", self._csv),
                *(web.get(f"/{name}", self._answer) for name in views.MENU),
            ]
        )
        app[STUDIES] = self._studies is not None
        if self._studies is not None:
            app.add_routes([web.get("/sweeps", self._sweeps)])
        if self._log_in is not None and self.steering is not None:
            app.add_routes([*self._log_in.routes(), *self.steering.routes(), web.get("/audit", self._audit_page)])
        return app

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let the gate decide, and turn faults into pages."""
        try:
            refusal = await self._gate.admit(request)
            if refusal is not None:
                return refusal
            _require_known(request)
            if request.method == "POST" or request.path == "/events":
                return await handler(request)
            with one_look():
                return await handler(request)
        except Rejected as fault:
            # the request cannot be answered, now or later
            return self._fault(request, str(fault), 400)
        except AlphaError as fault:
            return self._fault(request, str(fault), 503)
        except web.RequestPayloadError:
            return self._fault(request, DAMAGED, 400)
        except web.HTTPNotFound as fault:
            text = fault.text or ""
            known = f"There is no page {request.path[:100]!r}. The menu has all." if "404" in text else text
            return self._fault(request, known, 404)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            log.exception("unforeseen_fault", path=storable(request.path, 100))
            return self._fault(request, "That went wrong here; the log has the details.", 500)

    def _fault(self, request: web.Request, text: str, status: int) -> web.Response:
        if request.path.startswith("/data/"):
            return web.json_response({"error": storable(text, 2_000)}, status=status, headers=HEADERS)
        return page(request, f"<section><p class=bad>{escape(storable(text, 2_000))}</p></section>", status=status)

    def _read(self, request: web.Request, path: str = "") -> Asked:
        asked = read(self.platform.registry, path or request.path, request.query)
        # a range is refused by pages without one, too
        asked.period(self.platform.wall_now())
        return asked

    async def _front(self, request: web.Request) -> web.Response:
        asked = self._read(request)
        places, past = await asyncio.gather(
            self._places(),
            front.past_place(self.platform, asked),
        )

        def part(name: str) -> str:
            return f'<div id="{name}" sse-swap="{name}">{places[name]}</div>'

        first, rest = front.LIVE[:4], front.LIVE[4:]
        body = "".join(map(part, first)) + past + "".join(map(part, rest))
        return page(request, body, here="live", stream=' hx-ext="sse" sse-connect="/events"', charts=True)

    async def _answer(self, request: web.Request) -> web.Response:
        name = request.path.strip("/")
        words = storable(request.query.get("q", ""), MOST_QUERY + 1).split()
        if len(request.query.get("q", "")) > MOST_QUERY:
            raise Rejected(f"The query is longer than {MOST_QUERY} characters.")
        answered = await views.answer(self.platform, name, words, self._read(request))
        return page(request, answered, here=name, charts="data-chart" in answered)

    async def _audit_page(self, request: web.Request) -> web.Response:
        if self._audit is None or role(request) < Role.ADMIN:
            raise web.HTTPForbidden(text="The audit needs the role admin.\n", headers=HEADERS)
        return page(request, await tables.table(self._audit, "audit", self._read(request)), here="audit")

    async def _chart(self, request: web.Request) -> web.Response:
        symbol = chart_data.read_symbol(request.match_info["symbol"]) if "symbol" in request.match_info else None
        drawn = await views.chart(self.platform, symbol, self._read(request))
        return page(request, drawn, here="chart", charts=True)

    async def _trade(self, request: web.Request) -> web.Response:
        # who asked for what is for operators, as in Telegram
        audit = self._audit if role(request) >= Role.OPERATOR else None
        return page(request, await views.trade_page(self.platform, request.match_info["trade"], audit), charts=True)

    async def _figures(self, request: web.Request) -> web.Response:
        return page(request, await figures.figures(self.platform, self._read(request)), here="figures")

    async def _sweeps(self, request: web.Request) -> web.Response:
        if self._studies is None:
            raise web.HTTPNotFound(text="No studies are configured.\n", headers=HEADERS)
        return page(request, await sweeps.sweeps(self._studies, self.platform.zone), here="sweeps")

    async def _system(self, request: web.Request) -> web.Response:
        return page(request, await views.system(self.platform, self._settings), here="system")

    async def _logs(self, request: web.Request) -> web.Response:
        level, words = (storable(request.query.get(name, ""), 100) for name in ("level", "search"))
        service = request.match_info.get("service", "")
        return page(request, await asyncio.to_thread(views.logs, self._settings, service, level, words), here="logs")

    async def _log_lines(self, request: web.Request) -> web.Response:
        level, words = (storable(request.query.get(name, ""), 100) for name in ("level", "search"))
        folder, service = self._settings.dashboard_logs_dir, request.match_info["service"]
        lines = await asyncio.to_thread(log_files.tail, folder, service, level, words)
        return web.Response(text="\n".join(lines), headers=HEADERS)

    async def _data(self, request: web.Request) -> web.Response:
        asked = self._read(request)
        if "trade" in request.match_info:
            trip = await find_trade(self.platform, request.match_info["trade"])
            found = await chart_data.candles(self.platform, trip.symbol, asked, trip)
        elif "symbol" in request.match_info:
            symbol = chart_data.read_symbol(request.match_info["symbol"])
            found = await chart_data.candles(self.platform, symbol, asked)
        else:
            found = await chart_data.equity(self.platform, asked)
        return web.Response(body=msgspec.json.encode(found), content_type="application/json", headers=HEADERS)

    async def _csv(self, request: web.Request) -> web.Response:
        name, source = request.match_info["table"], self.platform
        if name == "audit" and self._audit is not None and role(request) >= Role.ADMIN:
            source = self._audit
        else:
            name = views.require_known(name)
        text = await tables.as_csv(source, name, self._read(request, f"/{name}"))
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}.csv"'}
        return web.Response(text=text, content_type="text/csv", headers=headers)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await stream.prepare(request)
        queue: asyncio.Queue[dict[str, bytes]] = asyncio.Queue(2)
        self._viewers.add(queue)
        shown: dict[str, bytes] = {}
        checked_ms = monotonic_ms()
        try:
            while True:
                parts = await queue.get()
                if monotonic_ms() - checked_ms > SESSION_CHECK_MS:
                    checked_ms = monotonic_ms()
                    if not await self._gate.still_admitted(request):
                        return stream
                for name, part in parts.items():
                    if shown.get(name) != part:
                        shown[name] = part
                        await stream.write(part)
        except (ConnectionError, asyncio.CancelledError):
            return stream
        finally:
            self._viewers.discard(queue)

    async def keep_looking(self) -> None:
        """Refresh once per second for all viewers, less often where a look costs more; idle while there are none."""
        while True:
            self.looked_ms = wall_ms()
            began_s = thread_time()
            if self._viewers:
                places = await front.live_places(self.platform, steering=self.steering is not None)
                self._last = (monotonic_ms(), places)
                parts = {name: _event(name, part) for name, part in places.items()}
                for queue in self._viewers:
                    if not queue.full():
                        queue.put_nowait(parts)
            await asyncio.sleep(min(MOST_REFRESH_S, max(REFRESH_S, (thread_time() - began_s) / LOOK_SHARE)))

    async def _places(self) -> dict[str, str]:
        """The live parts: those that viewers were sent just now, else anew."""
        if self._last is not None and monotonic_ms() - self._last[0] < REFRESH_S * 1000:
            return self._last[1]
        return await front.live_places(self.platform, steering=self.steering is not None)

    async def ask_stores(self) -> None:
        """Check that PostgreSQL and Redis answer; raises their errors."""
        await self.platform.live.check()
        await self.platform.history.value("SELECT 1")
        self.stores_ms = monotonic_ms()
        # who opens a page after a while would wait for the next beat of each listener: so its counters are watched meanwhile
        async with redis_faults(self.platform.live):
            bots, live = self.platform.registry.bots, self.platform.live
            await asyncio.gather(*(read_status(live.of(bot), bot.id, patience_s=0.0) for bot in bots))

    async def keep_asking(self) -> None:
        """Check the stores periodically."""
        while True:
            try:
                await self.ask_stores()
            except AlphaError as fault:
                log.warning("stores_away", fault=str(fault))
            await asyncio.sleep(ASK_S)

    def blind(self, now_ms: int) -> str | None:
        """Why nothing can be shown at this monotonic time: PostgreSQL or Redis does not respond. None if both do."""
        away_ms = now_ms - self.stores_ms
        return f"PostgreSQL or Redis has not answered for {away_ms // 1000} s." if away_ms > BLIND_MS else None


def _require_known(request: web.Request) -> None:
    """Refuse unknown parameters. The token is known everywhere; a script's parameter is its digest, a form has fields."""
    if (
        request.method == "POST"
        or request.path.startswith("/scripts/")
        or request.match_info.http_exception is not None
    ):
        return
    parts = request.path.split("/")
    known = next(
        (_OWN_PARAMETERS[name] for n in (3, 2) if (name := "/".join(parts[:n])) in _OWN_PARAMETERS), PARAMETERS
    )
    require_known((name for name in request.query if name != "token"), known)


def _event(name: str, part: str) -> bytes:
    """Encode HTML as a server-sent event. Each of its lines is a field of its own."""
    lines = part.replace("\r", "").split("\n")
    return "".join([f"event: {name}\n", *(f"data: {line}\n" for line in lines), "\n"]).encode()


async def serve(settings: DashboardSettings, stop: asyncio.Event, pulse: LoopPulse) -> None:
    """Run the dashboard until `stop`."""
    registry = load_registry(settings.alpha_bots_file)
    links, history = RedisClients(settings), History(settings, "dashboard")
    zone = ZoneInfo(settings.alpha_timezone)
    steering: Operations | None = None
    if settings.dashboard_steering:
        own = RedisClients(settings.steering_redis())
        own_history = History(settings.steering_database(), "dashboard steering")
        control = DesiredState() if settings.bot_control_url == SWARM else GuardControl(own)
        steering = Operations(registry, own, own_history, control, zone)
    stored = settings.studies_database()
    studies = None if stored is None else History(stored, "dashboard sweeps", connections=2)
    dashboard = Dashboard(settings, Operations(registry, links, history, NoControl(), zone), steering, studies)
    # Event streams never end by themselves.
    runner = web.AppRunner(dashboard.app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.dashboard_host, settings.dashboard_port).start()
    except OSError:
        raise Misconfigured(
            f"DASHBOARD_PORT {settings.dashboard_port} on {settings.dashboard_host} is in use. Choose another one."
        ) from None
    looking, asking = asyncio.create_task(dashboard.keep_looking()), asyncio.create_task(dashboard.keep_asking())

    def looks() -> str | None:
        age_s = (wall_ms() - dashboard.looked_ms) / 1000
        return None if age_s < 30 else f"It has not looked at the system for {age_s:.0f} s."

    health = HealthServer(settings, pulse, {"looks": looks, "stores": lambda: dashboard.blind(monotonic_ms())})
    log.info("started", address=f"http://{settings.dashboard_host}:{settings.dashboard_port}")
    try:
        await stop.wait()
    finally:
        await end_tasks([looking, asking])
        await runner.cleanup()
        health.close()
        if dashboard.steering is not None:
            await dashboard.steering.close()
        if studies is not None:
            await studies.close()
        for each in (steering, dashboard.platform):
            if each is not None:
                await each.history.close()
                await each.live.close()

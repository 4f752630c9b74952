"""The frame of every page: menu, scripts, who is logged in."""

import re
from html import escape
from pathlib import Path

from aiohttp import web

from dashboard import scripts, views
from dashboard.gate import HEADERS, role, session
from operations.commands import Role

_PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
#: The name of the operator's time zone, for the charts.
ZONE: web.AppKey[str] = web.AppKey("zone", str)
#: Whether there is a page of sweeps.
STUDIES: web.AppKey[bool] = web.AppKey("studies", bool)
_OWN = ("chart", "figures", *views.MENU, "system", "logs")


def page(
    request: web.Request, body: str, *, here: str = "", status: int = 200, stream: str = "", charts: bool = False
) -> web.Response:
    """One page. `here` is its name in the menu; `stream` what the main element needs for live parts."""
    seen = session(request)
    links = [("live", "/"), *((name, f"/{name}") for name in _OWN)]
    if request.app.get(STUDIES, False):
        links.append(("sweeps", "/sweeps"))
    if seen is not None and seen.role >= Role.OPERATOR:
        links.insert(1, ("steer", "/steer"))
    if seen is not None and seen.role >= Role.ADMIN:
        links.append(("audit", "/audit"))
    nav = "".join(
        f'<a href="{path}"{" class=here aria-current=page" if name == here else ""}>{name}</a>' for name, path in links
    )
    parts = {
        "title": f"{here.capitalize()}, Alpha" if here else "Alpha",
        "scripts": f"{scripts.TAGS}\n{scripts.CHART_TAGS}" if charts else scripts.TAGS,
        "nav": nav,
        "who": "" if seen is None else f'<a id=who href="/sessions" title="Your sessions">{escape(seen.name)}</a>',
        "role": role(request).name.lower() if seen is not None else "reader",
        "zone": escape(request.app.get(ZONE, "UTC")),
        "stream": stream,
        "body": body,
    }
    text = re.sub(r"\{\{ (\w+) \}\}", lambda place: parts[place[1]], _PAGE)
    return web.Response(text=text, content_type="text/html", status=status, headers=HEADERS)

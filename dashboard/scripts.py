"""The files that a page loads: htmx with its extension for server-sent events, Lightweight Charts, and our own.

django-htmx and lightweight-charts are installed for the files that they ship; Django, pandas and a web view are not. Each
file's URL contains its digest, so that a browser can cache it and never uses an outdated one.
"""

import hashlib
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from aiohttp import web

_HTMX = files("django_htmx").joinpath("static", "django_htmx")
#: The package is located without importing it: its import needs a window system.
_CHARTS = Path(str(distribution("lightweight-charts").locate_file("lightweight_charts/js/lightweight-charts.js")))
_OWN = files("dashboard")
_FILES = {
    "htmx.js": _HTMX.joinpath("htmx-2.min.js").read_bytes(),
    "sse.js": _HTMX.joinpath("ext", "hx-sse-2.min.js").read_bytes(),
    "lightweight-charts.js": _CHARTS.read_bytes(),
    "page.js": _OWN.joinpath("page.js").read_bytes(),
    "charts.js": _OWN.joinpath("charts.js").read_bytes(),
    "page.css": _OWN.joinpath("page.css").read_bytes(),
    "favicon.svg": _OWN.joinpath("favicon.svg").read_bytes(),
}
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def _address(name: str) -> str:
    return f"/scripts/{name}?{hashlib.sha256(_FILES[name]).hexdigest()[:12]}"


#: The HTML that loads the files, in order.
TAGS = "\n".join(
    [
        f'<link rel="stylesheet" href="{_address("page.css")}">',
        *(f'<script src="{_address(name)}" defer></script>' for name in ("htmx.js", "sse.js", "page.js")),
    ]
)
#: The files that only a page with charts loads.
CHART_TAGS = "\n".join(
    f'<script src="{_address(name)}" defer></script>' for name in ("lightweight-charts.js", "charts.js")
)
_HEADERS = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


async def script(request: web.Request) -> web.Response:
    """Serve one of the files; 404 for any other name."""
    name = request.match_info["name"]
    text = _FILES.get(name)
    if text is None:
        raise web.HTTPNotFound
    return web.Response(body=text, content_type=_KINDS[Path(name).suffix], charset="utf-8", headers=_HEADERS)

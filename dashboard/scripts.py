"""The page scripts: htmx with its extension for server-sent events, and `page.js`.

django-htmx is installed for the two htmx files that it ships; Django is not. Each script's URL contains its digest, so
that a browser can cache it and never uses an outdated one.
"""

import hashlib
from importlib.resources import files

from aiohttp import web

_HTMX = files("django_htmx").joinpath("static", "django_htmx")
_SCRIPTS = {
    "htmx.js": _HTMX.joinpath("htmx-2.min.js").read_bytes(),
    "sse.js": _HTMX.joinpath("ext", "hx-sse-2.min.js").read_bytes(),
    "page.js": files("dashboard").joinpath("page.js").read_bytes(),
}
#: The HTML that loads the scripts, in order.
TAGS = "\n".join(
    f'<script src="/scripts/{name}?{hashlib.sha256(text).hexdigest()[:12]}" defer></script>'
    for name, text in _SCRIPTS.items()
)
_HEADERS = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


async def script(request: web.Request) -> web.Response:
    """Serve one of the scripts; 404 for any other name."""
    text = _SCRIPTS.get(request.match_info["name"])
    if text is None:
        raise web.HTTPNotFound
    return web.Response(body=text, content_type="text/javascript", charset="utf-8", headers=_HEADERS)

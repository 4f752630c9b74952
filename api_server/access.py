"""Who may ask: bearer tokens with scopes, and limits on requests per token and on failures per address."""

import time
from collections import OrderedDict

from fastapi import HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from alpha.logs import logger
from operations.api_tokens import Client, check
from operations.context import Operations
from operations.minute_limit import MinuteLimit

log = logger(__name__)
#: A token is looked up again after this long; a revoked one works at most so much longer.
KNOWN_S = 5.0
_MOST_KNOWN = 1_000


class Access:
    """Checks the token of each request."""

    def __init__(self, platform: Operations, requests_per_minute: int, failures_per_minute: int) -> None:
        self.platform = platform
        self._requests = MinuteLimit(requests_per_minute)
        self._failures = MinuteLimit(failures_per_minute)
        self._known: OrderedDict[str, tuple[float, Client]] = OrderedDict()

    async def admit(self, token: str, address: str, scope: str) -> Client:
        """Return whose token it is. Raises HTTPException: 401 without a valid one, 403 without the scope, 429 above a limit."""
        wait_s = self._failures.left_s(address, count=False)
        if wait_s:
            raise _too_many("Too many requests without a valid token.", wait_s)
        client = await self._client(token)
        if client is None:
            self._failures.left_s(address)
            log.warning("token_refused", address=address)
            raise HTTPException(
                401, "A valid token is needed: `alpha token create NAME` makes one.", {"WWW-Authenticate": "Bearer"}
            )
        wait_s = self._requests.left_s(client.token_id)
        if wait_s:
            raise _too_many("This token has used its requests of the minute.", wait_s)
        if scope not in client.scopes:
            raise HTTPException(403, f"This token lacks the scope {scope!r}.")
        return client

    async def _client(self, token: str) -> Client | None:
        now = time.monotonic()
        seen, known = self._known.get(token, (0.0, None))
        if known is not None and now - seen < KNOWN_S and known.expires_at > self.platform.wall_now():
            return known
        client = await check(self.platform, token)
        if client is None:
            self._known.pop(token, None)
            return None
        self._known[token] = (now, client)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return client


def _too_many(text: str, wait_s: float) -> HTTPException:
    return HTTPException(429, text, {"Retry-After": f"{wait_s:.0f}"})


_bearer = HTTPBearer(auto_error=False, description="A token that `alpha token create` has made.")


class Needs:
    """A dependency: the client of a request, which must have this scope."""

    def __init__(self, scope: str) -> None:
        self._scope = scope

    async def __call__(self, request: Request) -> Client:
        """Check the request's token."""
        given: HTTPAuthorizationCredentials | None = await _bearer(request)
        access: Access = request.app.state.access
        address = request.client.host if request.client else "unknown"
        return await access.admit(given.credentials if given else "", address, self._scope)

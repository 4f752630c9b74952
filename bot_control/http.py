"""The HTTP client of the demo's supervisor, over its unix socket, with faults as sentences."""

from collections.abc import Mapping

import msgspec

from alpha.errors import Rejected, Retry
from alpha.imports import without

# Its command line would bring click, rich and a highlighter.
with without("click"):
    import httpx


CONNECT_S = 3.0
#: Seconds a response may take beyond a stop's own grace period.
SLACK_S = 15.0


class ControlHttp:
    """Sends requests to the supervisor."""

    def __init__(self, where: str, base_url: str, socket_path: str | None = None) -> None:
        transport = httpx.AsyncHTTPTransport(uds=socket_path) if socket_path is not None else None
        self.where = where
        # ignore proxy settings in the environment: a proxy would see, and could answer, local requests
        self._client = httpx.AsyncClient(base_url=base_url, transport=transport, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ask(self, method: str, path: str, params: Mapping[str, str | int], timeout_s: float) -> httpx.Response:
        """Return the response, with a status below 400; Retry if there is none, Rejected if it is a refusal."""
        try:
            answer = await self._client.request(
                method, path, params=dict(params), timeout=httpx.Timeout(timeout_s, connect=CONNECT_S)
            )
        except httpx.TransportError as fault:
            raise Retry(
                f"Bot control does not answer at {self.where} ({type(fault).__name__}). "
                "Start it, or check BOT_CONTROL_URL."
            ) from None
        if answer.status_code >= 400:
            raise _refusal(answer, self.where)
        return answer


def _refusal(answer: httpx.Response, where: str) -> Rejected | Retry:
    said = _message(answer)
    return Rejected(f"Bot control at {where} answered {answer.status_code}: {said}.")


def _message(answer: httpx.Response) -> str:
    try:
        body = msgspec.json.decode(answer.content, type=dict[str, object])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return answer.reason_phrase
    return str(body.get("message", answer.reason_phrase)).rstrip(".")

"""Raises what Prometheus's rules fire as alerts of ours (docker/prometheus/rules.yml), so that they reach people the usual ways."""

import httpx
import msgspec

from alpha.alerts import Alert, Alerts, Level
from alpha.logs import logger
from telegram_manager.health_watch import Debouncer, Ended, nobody

log = logger(__name__)
#: The rules wait themselves; Prometheus may be replaced without a word.
AWAY_MS = 180_000
_LONGEST = 1_000


class _Fired(msgspec.Struct):
    state: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}


class _Found(msgspec.Struct):
    alerts: list[_Fired]


class _Answer(msgspec.Struct):
    data: _Found


class MetricAlerts:
    """Asks Prometheus at `url` for what fires."""

    def __init__(self, url: str, client: httpx.AsyncClient, alerts: Alerts, ended: Ended = nobody) -> None:
        self._url = f"{url.rstrip('/')}/api/v1/alerts"
        self._client = client
        self._fired = Debouncer(alerts, 0, ended)
        self._away = Debouncer(alerts, AWAY_MS, ended)

    async def look(self, now_ms: int) -> None:
        """Raise what fires at wall-clock time `now_ms`; a Prometheus that does not answer is an alert after three minutes."""
        try:
            answer = await self._client.get(self._url)
            answer.raise_for_status()
            found = msgspec.json.decode(answer.content, type=_Answer).data.alerts
        except (httpx.HTTPError, msgspec.DecodeError) as fault:
            log.warning("prometheus_not_asked", fault=type(fault).__name__)
            text = f"Prometheus does not answer at {self._url}: its rules page nobody."
            remedy = "Look at its log, or remove ALPHA_METRICS from .env."
            await self._away.told([Alert(Level.WARNING, "metrics:away", text, remedy)], now_ms)
            return
        await self._away.told([], now_ms)
        await self._fired.told([_alert(fired) for fired in found if fired.state == "firing"], now_ms)


def _alert(fired: _Fired) -> Alert:
    name = fired.labels.get("alertname", "rule")
    said = fired.annotations
    level = Level.CRITICAL if fired.labels.get("severity") == "critical" else Level.WARNING
    text = said.get("summary", name)[:_LONGEST]
    return Alert(
        level, said.get("key", f"metrics:{name}"), text, said.get("remedy", "")[:_LONGEST], fired.labels.get("bot", "")
    )

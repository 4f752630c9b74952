"""Renders the configuration of Prometheus (profile `metrics`): whom it asks, from `bots.toml` and the table of services."""

import json

from alpha.registry import Registry
from alpha.services import SERVICES

#: Which services run in every installation; the others belong to profiles and are asked once their name is known.
ALWAYS = ("websocket_listener", "trade_sync_service", "risk_guard", "telegram_manager", "postgres_backup")
#: Second instances of docker-compose.ha.yml.
_SPARE = {"websocket_listener2": "websocket_listener", "risk_guard2": "risk_guard"}
_PORT = 8080


def optional_services() -> list[str]:
    """Services that not every installation runs."""
    return [service.name for service in SERVICES if service.resident and service.name not in ALWAYS]


def prometheus_config(registry: Registry, note: str) -> str:
    """One job per service. What must run is a fixed target, so that its loss is seen; the rest is found by name, or not there."""
    jobs = "".join(
        f"  - job_name: {name}\n    static_configs: [{{ targets: [{json.dumps(f'{name}:{_PORT}')}] }}]\n"
        for name in (*ALWAYS, *registry.containers)
    )
    found = "".join(_by_name(name, name) for name in optional_services())
    found += "".join(_by_name(spare, name) for spare, name in _SPARE.items())
    return f"""# {note}
global:
  scrape_interval: 15s
  evaluation_interval: 15s
rule_files: [/etc/prometheus/rules.yml]
scrape_configs:
{jobs}{found}"""


def _by_name(name: str, job: str) -> str:
    relabel = "" if name == job else f"\n    relabel_configs: [{{ target_label: job, replacement: {job} }}]"
    return (
        f"  - job_name: {name}\n"
        f"    dns_sd_configs: [{{ names: [{name}], type: A, port: {_PORT}, refresh_interval: 15s }}]{relabel}\n"
    )

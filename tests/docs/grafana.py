"""Writes the dashboard for Grafana from the list of metrics: `python -m tests.docs.grafana`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.docs.reference import metrics

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker/prometheus/grafana.json"
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_WIDTH, _HEIGHT, _COLUMNS = 8, 7, 3
_UNITS = {"seconds": "s", "bytes": "bytes", "ratio": "percentunit", "usdt": "currencyUSD"}


def expression(name: str, kind: str) -> str:
    """What is drawn of a metric: a gauge as it is, a counter per second, of a histogram the 99th percentile."""
    if kind == "counter":
        exposed = name if name.endswith("_total") else f"{name}_total"
        return f"rate({exposed}[5m])"
    if kind == "histogram":
        return f"histogram_quantile(0.99, sum by (le, job) (rate({name}_bucket[5m])))"
    if name.endswith(("_timestamp_seconds", "last_message_seconds")):
        return f"time() - {name}"
    return name


def _unit(name: str, kind: str) -> str:
    if kind == "counter" and not name.endswith(("_seconds", "_bytes")):
        return "ops"
    return _UNITS.get(name.rpartition("_")[2], "short")


def _panel(number: int, title: str, text: str, query: str, unit: str, place: tuple[int, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": title,
        "description": text,
        "datasource": _SOURCE,
        "gridPos": {"x": place[0], "y": place[1], "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [{"refId": "A", "expr": query, "datasource": _SOURCE}],
    }


def _rows() -> Iterator[tuple[str, list[tuple[str, str, str, str]]]]:
    """Title of each row with its panels: title, text, query, unit."""
    yield (
        "What pages",
        [
            ("Firing", "Rules of docker/prometheus/rules.yml that fire.", 'ALERTS{alertstate="firing"}', "short"),
            ("Services that answer", "1 while Prometheus reaches a service.", "up", "short"),
            ("Memory", "Resident memory of each process.", "process_resident_memory_bytes", "bytes"),
        ],
    )
    found = metrics()
    for service in dict.fromkeys(row[0] for row in found):
        yield (
            service,
            [
                (name, text, expression(name, kind), _unit(name, kind))
                for owner, name, kind, text in found
                if owner == service
            ],
        )


def dashboard() -> dict[str, Any]:
    """The dashboard, in the form that Grafana imports."""
    panels: list[dict[str, Any]] = []
    top, number = 0, 0
    for title, row in _rows():
        number += 1
        panels.append({"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": top, "w": _WIDTH * _COLUMNS, "h": 1}})  # fmt: skip
        top += 1
        for place, (name, text, query, unit) in enumerate(row):
            number += 1
            spot = (place % _COLUMNS * _WIDTH, top + place // _COLUMNS * _HEIGHT)
            panels.append(_panel(number, name, text, query, unit, spot))
        top += -(-len(row) // _COLUMNS) * _HEIGHT
    return {
        "uid": "alpha",
        "title": "Alpha",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


def text() -> str:
    """The file's text."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")

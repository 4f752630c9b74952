"""Prometheus's rules and the dashboard of Grafana: every metric they name exists, and the rules fire when they should."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from alpha.registry import Registry
from alpha.services import SERVICES
from alpha_cli.rendering.prometheus import prometheus_config
from tests.docs import grafana
from tests.docs.reference import metrics
from tests.support import debian

FOLDER = Path(__file__).resolve().parents[1] / "docker/prometheus"
#: Of Prometheus itself.
_ITS_OWN = {"up", "ALERTS"}


@pytest.fixture(scope="module")
def promtool() -> Path:
    found, reason = debian.program("prometheus", "promtool")
    if found is None:
        pytest.skip(reason)
    return found


def _rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((FOLDER / "rules.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def _exposed() -> set[str]:
    return {name if kind != "counter" or name.endswith("_total") else f"{name}_total" for _, name, kind, _ in metrics()}


def test_the_rules_fire_when_they_should_and_not_before(promtool: Path) -> None:
    said = subprocess.run(
        [str(promtool), "test", "rules", "rules_test.yml"], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr


def test_each_rule_is_tried_says_what_to_do_and_names_only_metrics_that_exist() -> None:
    tried = yaml.safe_load((FOLDER / "rules_test.yml").read_text())
    fired = {case["alertname"] for test in tried["tests"] for case in test["alert_rule_test"] if case.get("exp_alerts")}
    words = re.compile(r"\b(?:watch|guard|listener|sync|ticks|model|analysis|venue)_\w+|\bup\b")
    for rule in _rules():
        name = rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert rule["annotations"].keys() == {"summary", "remedy", "key"}, name
        unknown = set(words.findall(rule["expr"])) - _exposed() - _ITS_OWN
        assert not unknown, (name, unknown)
        assert name in fired, f"no test lets {name} fire"


def test_the_configuration_is_right_and_asks_every_service(promtool: Path, registry: Registry, tmp_path: Path) -> None:
    text = prometheus_config(registry, "a note")
    jobs = {job["job_name"] for job in yaml.safe_load(text)["scrape_configs"]}
    resident = {service.name for service in SERVICES if service.resident}
    assert jobs == {*resident, "postgres_backup", *registry.containers, "websocket_listener2", "risk_guard2"}
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/rules.yml", str(FOLDER / "rules.yml")))
    said = subprocess.run(
        [str(promtool), "check", "config", str(tmp_path / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_dashboard_is_current_and_shows_every_metric() -> None:
    assert grafana.FILE.read_text() == grafana.text(), "run python -m tests.docs.grafana"
    queries = " ".join(target["expr"] for panel in grafana.dashboard()["panels"] for target in panel.get("targets", ()))
    assert all(name in queries for _, name, _, _ in metrics())
    places = [tuple(panel["gridPos"][side] for side in "xy") for panel in grafana.dashboard()["panels"]]
    assert len(set(places)) == len(places)

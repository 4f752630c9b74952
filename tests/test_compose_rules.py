"""What the compose files promise about an operator's host: images, volumes, secrets, the order of a start, two projects."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_keys_apart import DEMO, PRODUCTION, ROOT, _Loader, filled, services

OURS = "alpha.invalid/"


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load((ROOT / name).read_text(), _Loader)
    return found


@pytest.mark.parametrize("name", [PRODUCTION, DEMO])
def test_an_image_of_ours_cannot_be_pulled_from_anybody(name: str) -> None:
    parts, base = services(name), services(PRODUCTION)
    for service, part in parts.items():
        merged = {**base.get(service, {}), **part}
        if "build" not in merged and "alpha" not in merged.get("image", ""):
            continue
        assert merged["image"].startswith(OURS), service
        assert merged["pull_policy"] in {"never", "build"}, service


def test_nothing_waits_for_a_migration_and_the_order_by_health_stays() -> None:
    parts = services(PRODUCTION)
    for service, part in parts.items():
        needs = part.get("depends_on") or {}
        assert needs.get("migrate", {"condition": "service_started", "required": False}) == {
            "condition": "service_started",
            "required": False,
        }, service
        for one_shot in ("prepare",):
            assert needs.get(one_shot, {}).get("required") is not True
            assert one_shot not in needs or needs[one_shot]["required"] is False, service
    healthy = {"condition": "service_healthy"}
    assert parts["pgbouncer"]["depends_on"]["postgres"] == healthy
    for service in ("websocket_listener", "risk_guard", "telegram_manager", "trade_sync_service"):
        assert parts[service]["depends_on"]["pgbouncer"] == healthy
        assert parts[service]["depends_on"]["redis"] == healthy
    for service in ("shortseller", "lxalgo", "momentum"):
        assert parts[service]["depends_on"]["websocket_listener"] == healthy


def test_a_volume_belongs_to_its_project() -> None:
    for name in (PRODUCTION, DEMO):
        for volume, part in document(name).get("volumes", {}).items():
            fixed = (part or {}).get("name", "")
            assert not fixed or filled(fixed, {"COMPOSE_PROJECT_NAME": "other"}).startswith("other_"), volume
    postgres = document(PRODUCTION)["volumes"]["postgres_data"]["name"]
    assert filled(postgres, {"COMPOSE_PROJECT_NAME": "alpha"}) == "alpha_postgres_17", (
        "what runs today keeps its record"
    )


@pytest.mark.parametrize(("setting", "folder"), [("files", "./secrets/"), ("", "./docker/no_secrets")])
def test_the_start_of_a_container_makes_no_folder_of_secrets(setting: str, folder: str) -> None:
    for service, part in services(PRODUCTION).items():
        for volume in part.get("volumes", ()):
            if isinstance(volume, str):
                assert "secrets" not in volume, service
                continue
            assert volume["bind"] == {"create_host_path": False}, service
            source = str(Path(filled(volume["source"], {"ALPHA_SECRETS": setting})))
            # as compose cleans it
            cleaned = "./" + str((ROOT / source).resolve().relative_to(ROOT))
            assert cleaned.startswith(folder), (service, cleaned)
    assert (ROOT / "docker/no_secrets").is_dir()


def test_the_demo_shares_nothing_with_a_production_stack_beside_it(tmp_path: Path) -> None:
    if shutil.which("docker") is None:
        pytest.skip("no docker compose on this machine")
    # A production .env: none of its values may reach the demo.
    secret = "of-production"
    env = tmp_path / ".env"
    names = [
        "POSTGRES_PASSWORD", "REDIS_PASSWORD", "C2_TELEGRAM_BOT_TOKEN", "C2_TELEGRAM_ADMIN_IDS", "C2_HEARTBEAT_URL",
        "C2_WEBHOOK_URL", "ALERT_URLS", "C2_TELEGRAM_ACCESS_CODE_HASH", "DASHBOARD_TOKEN", "SHORTSELLER_TELEGRAM_BOT_TOKEN",
        "SHORTSELLER_TELEGRAM_CHANNEL_ID", "SHORTSELLER_BYBIT_API_KEY", "SHORTSELLER_BYBIT_READ_API_SECRET",
        "ALPHA_LISTENER_DB_PASSWORD", "REDIS_RISK_GUARD_PASSWORD", "ALPHA_READONLY_DB_PASSWORD",
    ]  # fmt: skip
    env.write_text("ALPHA_SECRETS=files\n" + "".join(f"{name}={secret}\n" for name in names))

    def config(*files: str) -> dict[str, Any]:
        words = [word for name in files for word in ("-f", name)]
        done = subprocess.run(
            ["docker", "compose", "--env-file", str(env), *words, "--profile", "*", "config", "--format", "json"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "is not a docker command" in done.stderr or "unknown flag" in done.stderr:
            pytest.skip("no docker compose on this machine")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = yaml.safe_load(done.stdout)
        return found

    production, demo = config(PRODUCTION), config(PRODUCTION, DEMO)
    assert (production["name"], demo["name"]) == ("alpha", "alpha-demo")

    def held(one: dict[str, Any]) -> set[str]:
        found: set[str] = {part["name"] for kind in ("networks", "volumes") for part in one[kind].values()}
        for name, service in one["services"].items():
            found |= {service.get("container_name", f"{one['name']}-{name}"), f"image of {service['image']}"}
            found |= {str(port["published"]) for port in service.get("ports", ())}
            found |= {
                volume["source"]
                for volume in service.get("volumes", ())
                if volume["type"] == "bind" and not volume.get("read_only")
            }
        return {thing for thing in found if thing not in SHARED}

    assert held(production) & held(demo) == set()
    for name, service in demo["services"].items():
        shown = {key: value for key, value in (service.get("environment") or {}).items() if secret in str(value)}
        assert not shown, (name, shown)
        assert not [v for v in service.get("volumes", ()) if "/secrets" in v["source"]], name
    for service in ("risk_guard", "telegram_manager", "doctor"):
        assert demo["services"][service]["environment"]["BOT_CONTAINER_PREFIX"] == "demo-"
    assert "--data-checksums" in production["services"]["postgres"]["environment"]["POSTGRES_INITDB_ARGS"]
    assert demo["services"]["exchange_simulator"]["pids_limit"] > 0
    assert demo["services"]["exchange_simulator"]["logging"]["options"]["max-size"]


#: Official images, which nobody changes.
SHARED = {
    "image of postgres:17",
    "image of redis:8",
    "image of haproxy:3.0",
    "image of influxdb:1.12",
    "image of prom/prometheus:v2",
}


#: Who speaks to the exchange or to Telegram; the doctor asks both. The ports are only carried in.
NEED_A_WAY_OUT = {
    "shortseller", "lxalgo", "momentum", "risk_guard", "websocket_listener", "trade_sync_service", "telegram_manager", "doctor",
    "prometheus_port",
    "tick_recorder", "analysis_service", "ports", "dashboard_port", "api_port", "influxdb_port",
}  # fmt: skip


def test_only_who_needs_a_way_out_has_one_and_only_the_forwarder_publishes() -> None:
    parts, networks = services(PRODUCTION), document(PRODUCTION)["networks"]
    assert not networks["trading-network"].get("internal")
    for service, part in parts.items():
        if part.get("network_mode") == "none":
            continue
        open_ones = [name for name in part["networks"] if not networks[name].get("internal")]
        assert bool(open_ones) == (service in NEED_A_WAY_OUT), service
        assert bool(part.get("ports")) == (
            service in {"ports", "dashboard_port", "api_port", "influxdb_port", "prometheus_port"}
        ), service
        assert all(str(port).startswith("127.0.0.1:") for port in part.get("ports", ())), service


def test_every_package_of_an_image_reaches_the_builder() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in (ROOT / "docker" / "packages.txt").read_text().splitlines():
        row, _, packages = line.partition(":")
        if not line.startswith("#"):
            needed = {row, *(package.partition("/")[0] for package in packages.split())}
            assert needed <= let_in, f"{sorted(needed - let_in)} of {row} are left out by .dockerignore"

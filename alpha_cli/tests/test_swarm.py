"""The stack that `alpha render --swarm` writes for Docker Swarm."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from alpha.errors import Misconfigured
from alpha.registry import Registry
from alpha_cli.installation.layout import key_pairs
from alpha_cli.installation.write import Installation, read_env
from alpha_cli.main import build
from alpha_cli.rendering.interpolation import filled
from alpha_cli.rendering.swarm import SwarmOptions, swarm_stack

ROOT = Path(__file__).resolve().parents[2]
PINNED = {"postgres", "redis", "postgres_backup"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """A checkout as far as the stack needs it, set up with `alpha init`."""
    root = tmp_path_factory.mktemp("house")
    for name in ("bots.toml", ".env.example", "docker-compose.production.yml"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "docker", root / "docker")
    (root / "analysis_service").mkdir()
    shutil.copy(ROOT / "analysis_service/analysis.toml", root / "analysis_service")
    keys = [f"planted-{name}" for bot in registry.bots for pair in key_pairs(bot) for name in pair]
    words = ["init", "--folder", str(root)]
    said = CliRunner().invoke(build(words), words, input="".join(f"{line}\n" for line in ["demo", *keys, *[""] * 9]))
    assert said.exit_code == 0, said.output
    return root


def stack(house: Path, registry: Registry, options: SwarmOptions | None = None, **more: str) -> dict[str, Any]:
    text = swarm_stack(registry, house, {**read_env(house / ".env"), **more}, options or SwarmOptions())
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_each_service_has_one_replica_placed_by_label_and_a_lease(house: Path, registry: Registry) -> None:
    services = stack(house, registry)["services"]
    assert {
        "websocket_listener",
        "risk_guard",
        "telegram_manager",
        "trade_sync_service",
        "pgbouncer",
        "migrate",
        "momentum",
    } < set(services)
    for name, service in services.items():
        deploy = service["deploy"]
        assert deploy["replicas"] == (0 if name == "doctor" else 1), name
        label = "stores" if name in PINNED else "work"
        assert deploy["placement"]["constraints"] == [f"node.labels.alpha.{label} == true"], name
        assert deploy["endpoint_mode"] == "dnsrr"
        assert deploy["update_config"]["order"] == "stop-first", "never two of one service by intent"
        assert deploy["resources"]["limits"].keys() >= ({"memory"} if name != "migrate" else {"pids"}), name
    for name in ("trade_sync_service", "telegram_manager", "websocket_listener", "risk_guard", *registry.containers):
        assert services[name]["environment"]["ALPHA_STANDBY"] == "true", name


def test_nothing_of_a_host_is_mounted_published_or_named(house: Path, registry: Registry) -> None:
    found = stack(house, registry, SwarmOptions(profiles=("dashboard", "api", "ticks", "analysis", "models")))
    for name, service in found["services"].items():
        assert not service.keys() & {
            "ports",
            "container_name",
            "build",
            "depends_on",
            "restart",
            "profiles",
            "tmpfs",
        }, name
        for mount in service.get("volumes", ()):
            assert mount["type"] in {"volume", "tmpfs"}, (name, mount)
            if mount["type"] == "volume":
                assert mount["source"] in found["volumes"], name
        assert "control-network" not in service["networks"]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    assert found["services"]["trade_sync_service"]["working_dir"] == "/app/trade_sync_service"
    assert "docker.sock" not in json.dumps(found)
    assert "docker_socket_proxy" not in found["services"]
    assert all(network["driver"] == "overlay" for network in found["networks"].values())
    assert found["networks"]["store-network"]["internal"] is True


def test_secrets_reach_their_own_service_alone_and_are_nowhere_else(house: Path, registry: Registry) -> None:
    found = stack(house, registry)
    text = yaml.safe_dump(found)
    for place, value in Installation(house, registry).read().items():
        if value.startswith("planted-") or place.endswith("PASSWORD"):
            assert value not in text, place
    for name, service in found["services"].items():
        folder = {"db": "migrate"}.get(name, name)
        mounted = {entry["target"]: found["secrets"][entry["source"]]["file"] for entry in service.get("secrets", ())}
        own = {path.name: f"./secrets/{folder}/{path.name}" for path in (house / "secrets" / folder).glob("*")}
        assert mounted == own, name
        for entry in service.get("secrets", ()):
            if name not in ("postgres", "redis"):
                assert (entry["uid"], entry["mode"]) == ("10001", 0o400), name
    assert all(len(name) <= 64 for name in (*found["secrets"], *found["configs"]))
    trading = registry.bots[0].key_variable.lower()
    assert {name for name, service in found["services"].items() for entry in service.get("secrets", ()) if entry["target"] == trading} == {
        registry.bots[0].container, "risk_guard", "doctor",
    }  # fmt: skip


def test_a_secret_that_was_written_anew_has_another_name(house: Path, registry: Registry) -> None:
    before = set(stack(house, registry)["secrets"])
    path = house / "secrets/redis/redis_password"
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    after = set(stack(house, registry)["secrets"])
    assert len(before - after) == len(after - before) == 1


def test_files_are_configs_whose_name_follows_their_content(house: Path, registry: Registry) -> None:
    redis = stack(house, registry)["services"]["redis"]
    by_target = {entry["target"]: entry for entry in redis["configs"]}
    assert by_target.keys() == {"/etc/alpha/start.sh", "/etc/alpha/users.acl.template", "/usr/local/sbin/redis-cli"}
    assert by_target["/usr/local/sbin/redis-cli"]["mode"] == 0o555, "a program"
    template = house / "docker/redis/users.acl.template"
    text = template.read_text()
    try:
        template.write_text(f"{text}# changed\n")
        changed = {entry["target"]: entry for entry in stack(house, registry)["services"]["redis"]["configs"]}
    finally:
        template.write_text(text)
    different = [target for target in by_target if by_target[target] != changed[target]]
    assert different == ["/etc/alpha/users.acl.template"]


def test_bots_follow_their_desired_state_and_nobody_controls_containers(house: Path, registry: Registry) -> None:
    services = stack(house, registry)["services"]
    for container in registry.containers:
        assert services[container]["command"] == ["python3", "-m", "bot_runner"]
        assert services[container]["environment"]["ALPHA_CONTAINER"] == container
    for name in ("risk_guard", "telegram_manager"):
        assert services[name]["environment"]["BOT_CONTROL_URL"] == "swarm:"
    assert all(
        service["environment"]["HEALTH_PATH"] == "/livez" for name, service in services.items() if name != "migrate"
    ), "what is healthy but waits for a store is not replaced"


def test_plain_secrets_are_refused(house: Path, registry: Registry) -> None:
    with pytest.raises(Misconfigured, match="ALPHA_SECRETS is not set"):
        stack(house, registry, ALPHA_SECRETS="")
    with pytest.raises(Misconfigured, match=r"MOMENTUM_BYBIT_READ_API_SECRET of .* comes from .env"):
        stack(house, registry, MOMENTUM_BYBIT_API_SECRET="in-the-open")


def test_images_can_come_from_a_registry_and_profiles_are_chosen(house: Path, registry: Registry) -> None:
    plain = stack(house, registry)["services"]
    assert "dashboard" not in plain
    chosen = stack(house, registry, SwarmOptions("registry.example.com/alpha/", ("dashboard",), encrypted=False))
    assert chosen["services"]["dashboard"]["image"] == "registry.example.com/alpha/dashboard:local"
    assert chosen["services"]["redis"]["image"] == "redis:8"
    assert "driver_opts" not in chosen["networks"]["trading-network"]
    assert stack(house, registry)["networks"]["trading-network"]["driver_opts"] == {"encrypted": "true"}


def test_the_command_writes_the_stack_and_docker_reads_it(house: Path) -> None:
    words = ["render", "--swarm", "--root", str(house)]
    said = CliRunner().invoke(build(words), words)
    assert said.exit_code == 0, said.output
    assert "docker-stack.yml written." in said.output
    assert CliRunner().invoke(build(words), [*words, "--check"]).exit_code == 0
    if shutil.which("docker") is None:
        pytest.skip("no docker client on this machine")
    read = subprocess.run(
        ["docker", "stack", "config", "-c", "docker-stack.yml"], cwd=house, capture_output=True, text=True, check=False
    )
    assert read.returncode == 0, read.stderr
    assert "Ignoring" not in read.stderr
    as_read: Mapping[str, Any] = yaml.safe_load(read.stdout)
    check = as_read["services"]["redis"]["healthcheck"]["test"]
    assert any("$(/usr/local" in word.replace("$$", "$") for word in check)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "a"), ("${UNSET:-d}", "d"), ("${A:+x}", "x"), ("${UNSET:+x}", ""), ("$$(echo ${A})", "$(echo a)"),
        ("${UNSET:-${OTHER:-${A}}}", "a"), ("${MONEY}", "$5 ${A}"), ("./no/${A:+../secrets/b}", "./no/../secrets/b"),
    ],
)  # fmt: skip
def test_variables_are_filled_in_as_compose_does(text: str, value: str) -> None:
    assert filled(text, {"A": "a", "MONEY": "$5 ${A}"}) == value


def test_what_the_renderer_does_not_know_is_refused(house: Path, registry: Registry) -> None:
    path = house / "docker-compose.production.yml"
    text = path.read_text()
    try:
        path.write_text(
            text.replace("    container_name: trading_redis\n", "    container_name: trading_redis\n    ipc: host\n")
        )
        with pytest.raises(Misconfigured, match="redis has ipc"):
            stack(house, registry)
    finally:
        path.write_text(text)

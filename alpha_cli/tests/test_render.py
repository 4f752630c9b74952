"""The files rendered from bots.toml."""

import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from alpha.errors import Misconfigured
from alpha.registry import Bot, Registry
from alpha_cli.rendering.demo import demo_keys, demo_services
from alpha_cli.rendering.production import between_markers, haproxy_config, redis_users, render, stale

ROOT = Path(__file__).resolve().parents[2]


def test_the_rendered_files_of_the_house_are_current(registry: Registry) -> None:
    assert [str(file.path) for file in stale(render(registry, ROOT), ROOT)] == []


def test_a_changed_file_is_found_stale(registry: Registry, tmp_path: Path) -> None:
    for file in render(registry, tmp_path):
        (tmp_path / file.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.path).write_text(file.text)
    assert stale(render(registry, tmp_path), tmp_path) == []
    (tmp_path / "docker_proxy" / "haproxy.cfg").write_text("global\n")
    assert [file.path.name for file in stale(render(registry, tmp_path), tmp_path)] == ["haproxy.cfg"]


def test_the_allow_list_names_the_bots_of_the_registry_and_no_others(registry: Registry) -> None:
    text = haproxy_config(registry)
    assert "(shortseller|lxalgo|momentum)/(start|stop|restart)$" in text
    assert text.count("trading_postgres") == 0


def test_a_bot_may_write_only_its_own_keys(registry: Registry) -> None:
    line = next(line for line in redis_users(registry).splitlines() if line.startswith("user lxalgo "))
    writable = [word for word in line.split() if word.startswith(("~", "%W~"))]
    assert all("lxalgo_001" in key or key in ("~throttle:*", "%W~alerts") for key in writable)
    assert "shortseller_001" not in line


def test_a_further_bot_has_its_keys_its_account_and_its_service_in_the_demo(registry: Registry) -> None:
    further = replace(registry.bots[0], id="breakout_001", container="breakout", prefix="BREAKOUT")
    house = Registry((*registry.bots, further))
    keys = demo_keys(house)
    assert "  BREAKOUT_BYBIT_API_KEY: demo-breakout\n" in keys
    assert "  BREAKOUT_BYBIT_READ_API_KEY: demo-breakout-reads\n" in keys
    accounts = keys.split("x-demo-accounts: &demo-accounts >-\n")[1].split()
    assert "demo-breakout:demo-secret-of-breakout:10000" in accounts
    assert "demo-breakout-reads:demo-secret-of-breakout-reads:0:of=demo-breakout,read-only" in accounts
    assert "  breakout:\n" in demo_services(house)


def many(registry: Registry, count: int, per_container: int) -> Registry:
    """So many bots of Momentum, several per container."""
    model = registry.bots[2]

    def bot(number: int) -> Bot:
        tag = chr(97 + number // 676) + chr(97 + number // 26 % 26) + chr(97 + number % 26)
        return replace(
            model, id=f"many_{number:03}", name=f"Many {number}", tag=tag, redis_db=number + 16,
            prefix=f"MANY{number:03}", container=f"many-{number // per_container:02}",
        )  # fmt: skip

    return Registry(tuple(bot(number) for number in range(count)))


def test_three_hundred_bots_are_rendered_in_seconds(registry: Registry, tmp_path: Path) -> None:
    began_s = time.process_time()
    files = {file.path.name: file.text for file in render(many(registry, 300, 1), ROOT)}
    assert time.process_time() - began_s < 5
    assert "# databases 316\n" in files["users.acl.template"]
    assert files["docker-compose.production.yml"].count("\n    <<: *strategy\n") == 300
    assert max(map(len, files["haproxy.cfg"].splitlines())) < 2_000
    if shutil.which("haproxy"):
        (tmp_path / "haproxy.cfg").write_text(files["haproxy.cfg"].replace("unix@/var/run/docker.sock", "127.0.0.1:1"))
        checked = subprocess.run(
            ["haproxy", "-c", "-f", str(tmp_path / "haproxy.cfg")], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stderr


def test_bots_of_one_container_have_one_service_one_user_and_their_own_keys(registry: Registry) -> None:
    house = many(registry, 4, 2)
    files = {file.path.name: file.text for file in render(house, ROOT)}
    compose = files["docker-compose.production.yml"]
    assert compose.count("container_name: many-") == 2
    assert "      ALPHA_CONTAINER: many-00\n" in compose
    service = compose.split("  many-00:\n")[1].split("  many-01:\n")[0]
    assert "MANY000_PARAMETERS" in service
    assert "MANY001_PARAMETERS" in service
    assert "MANY002" not in service
    user = next(line for line in redis_users(house).splitlines() if line.startswith("user many-00 "))
    assert "~control:many_000" in user
    assert "~control:many_001" in user
    assert "many_002" not in user
    assert "(many\\-00|many\\-01)/(start|stop|restart)$" in files["haproxy.cfg"]


def test_only_what_stands_between_the_markers_changes() -> None:
    text = "a\n# keys: rendered\nold\n  # end of keys\nz\n"
    assert between_markers(text, "keys", "new\n") == "a\n# keys: rendered\nnew\n  # end of keys\nz\n"
    assert between_markers("no markers\n", "keys", "new\n") == "no markers\n"
    with pytest.raises(Misconfigured):
        between_markers("# keys: rendered\nold\n", "keys", "new\n")

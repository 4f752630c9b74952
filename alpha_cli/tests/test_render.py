"""The files rendered from bots.toml."""

from dataclasses import replace
from pathlib import Path

import pytest

from alpha.errors import Misconfigured
from alpha.registry import Registry
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


def test_only_what_stands_between_the_markers_changes() -> None:
    text = "a\n# keys: rendered\nold\n  # end of keys\nz\n"
    assert between_markers(text, "keys", "new\n") == "a\n# keys: rendered\nnew\n  # end of keys\nz\n"
    assert between_markers("no markers\n", "keys", "new\n") == "no markers\n"
    with pytest.raises(Misconfigured):
        between_markers("# keys: rendered\nold\n", "keys", "new\n")

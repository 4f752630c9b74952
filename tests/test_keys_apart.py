"""A key that trades is readable by its bot and the guard only: over the compose files and over the demo's processes."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from alpha.config.loader import load
from alpha.registry import Registry
from alpha.services import SERVICES
from alpha_cli.installation.layout import READERS, files, key_pairs
from demo.settings import DemoSettings
from demo.stack import DemoStack

ROOT = Path(__file__).resolve().parents[1]
PRODUCTION, DEMO = "docker-compose.production.yml", "docker-compose.demo.yml"
#: No services: the doctor runs when the operator asks for it, tries the keys, and ends; `prepare` looks at .env, without a
#: network, and ends.
ASKED = {"doctor", "prepare"}


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # pyyaml carries no types
    """Also knows compose's own `!reset` and `!override`."""


for tag in ("!reset", "!override"):
    _Loader.add_constructor(tag, lambda loader, node: loader.construct_sequence(node))


def services(name: str, text: str | None = None) -> dict[str, Any]:
    """The services of a compose file, its anchors resolved."""
    read = (ROOT / name).read_text() if text is None else text
    found: dict[str, Any] = yaml.load(read, _Loader)["services"]
    return found


def filled(text: str, values: Mapping[str, str]) -> str:
    """A value of a compose file with its variables filled in, as compose does."""
    innermost = re.compile(r"\$\{(\w+)(?::([-+])([^${}]*))?\}")
    while match := innermost.search(text):
        name, kind, rest = match.groups()
        value = values.get(name, "")
        given = (rest if value else "") if kind == "+" else (value or rest or "")
        text = text[: match.start()] + given + text[match.end() :]
    return text


def source_of(volume: object, env: Mapping[str, str]) -> str:
    """What is mounted, with the variables filled in; a path begins with "./"."""
    given = filled(volume["source"] if isinstance(volume, dict) else str(volume), env).split(":")[0]
    return f"./{os.path.normpath(given)}" if given.startswith(".") else given


def seen_by(service: Mapping[str, Any], env: Mapping[str, str], secrets: Mapping[str, str]) -> str:
    """Everything that a service can read: its environment, and the files below `secrets/` that are mounted into it."""
    seen = [filled(str(value), env) for value in (service.get("environment") or {}).values()]
    for volume in service.get("volumes", ()):
        source = source_of(volume, {"ALPHA_SECRETS": "files" if secrets else ""})
        if source == "./secrets" or (source.startswith(".") and (ROOT / source).resolve() == ROOT):
            seen += secrets.values()
        elif source.startswith("./secrets/"):
            folder = source.removeprefix("./secrets/")
            seen += [value for name, value in secrets.items() if name.startswith(f"{folder}/")]
    return "\n".join(seen)


def holders(parts: Mapping[str, Any], value: str, env: Mapping[str, str], secrets: Mapping[str, str]) -> set[str]:
    """The services that can read `value`."""
    return {name for name, service in parts.items() if value in seen_by(service, env, secrets)}


def planted(registry: Registry) -> dict[str, str]:
    """Both keys of every bot."""
    return {name: f"planted-{name}" for bot in registry.bots for pair in key_pairs(bot) for name in pair}


@pytest.mark.parametrize("path", ["secrets", "env"])
def test_in_production_a_key_that_trades_is_with_its_bot_and_the_guard_alone(registry: Registry, path: str) -> None:
    known = planted(registry)
    env, secrets = ({}, files(registry, known)) if path == "secrets" else (known, {})
    parts = services(PRODUCTION)
    for bot in registry.bots:
        trading, reading = key_pairs(bot)
        for name in trading:
            assert holders(parts, known[name], env, secrets) - ASKED == {bot.container, "risk_guard"}
        for name in reading:
            assert set(READERS) <= holders(parts, known[name], env, secrets) - ASKED <= {*READERS, "risk_guard"}


def test_a_key_that_is_mounted_elsewhere_is_found(registry: Registry) -> None:
    secrets = files(registry, planted(registry))
    text = (ROOT / PRODUCTION).read_text()
    wrong = text.replace("secrets/websocket_listener}", "secrets/risk_guard}")
    assert "websocket_listener" in holders(services("", wrong), "planted-LXALGO_BYBIT_API_KEY", {}, secrets)
    wrong = text.replace("*all-reads]\n      # The writer", "*all-keys]\n      # The writer")
    assert "websocket_listener" in holders(services("", wrong), "planted-LXALGO_BYBIT_API_KEY", planted(registry), {})


def test_who_has_one_key_for_all_has_chosen_it(registry: Registry) -> None:
    bot = registry.bots[0]
    trading, reading = key_pairs(bot)
    known = {name: f"planted-{name}" for name in trading}
    parts = services(PRODUCTION)
    # A plain .env, as the manual has it: the one key goes to whoever needs one.
    assert holders(parts, known[trading[0]], known, {}) - ASKED == {bot.container, "risk_guard", *READERS}
    # alpha init: nobody's key stands in for another, unless the operator said so for this bot.
    assert holders(parts, known[trading[0]], {}, files(registry, known)) - ASKED == {bot.container, "risk_guard"}
    chosen = files(registry, known, {bot.id})
    assert holders(parts, known[trading[0]], {}, chosen) - ASKED == {bot.container, "risk_guard", *READERS}
    assert chosen[f"websocket_listener/{reading[0].lower()}"] == known[trading[0]]
    # A second key ends it, whatever was chosen before.
    both = files(registry, planted(registry), {bot.id})
    assert holders(parts, known[trading[0]], {}, both) - ASKED == {bot.container, "risk_guard"}


def test_an_account_that_is_only_observed_needs_no_key_that_trades(registry: Registry) -> None:
    known = {name: f"planted-{name}" for name in key_pairs(registry.bots[0])[1]}
    for env, secrets in ((known, {}), ({}, files(registry, known))):
        for value in known.values():
            assert holders(services(PRODUCTION), value, env, secrets) - ASKED == {*READERS, "risk_guard"}


def test_in_the_demo_of_containers_the_same_holds(registry: Registry) -> None:
    # A real .env may lie beside it: none of its keys gets in.
    env = planted(registry)
    over = services(DEMO)
    parts = {
        name: {"environment": {**(service.get("environment") or {}), **(over.get(name, {}).get("environment") or {})}}
        for name, service in services(PRODUCTION).items()
    }
    for bot in registry.bots:
        trading, reading = key_pairs(bot)
        key, read = (str(parts["risk_guard"]["environment"][names[1]]) for names in (trading, reading))
        held = {name for name, part in parts.items() if key in part["environment"].values()}
        assert held - ASKED == {bot.container, "risk_guard"}
        held = {name for name, part in parts.items() if read in part["environment"].values()}
        assert held - ASKED == {*READERS, "risk_guard"}
        for name in (*trading, *reading):
            assert holders(parts, env[name], env, {}) == set(), "the demo takes no real key"


def test_in_the_demo_of_processes_the_same_holds(tmp_path: Path, registry: Registry) -> None:
    stack = DemoStack(load(DemoSettings, env_file=None, demo_state=tmp_path / "demo"), registry, ROOT)
    specs = [stack._service(service) for service in SERVICES if service.resident] + [
        stack._bots(bot.container, [bot]) for bot in registry.bots
    ]
    for bot in registry.bots:
        (key, secret), (read, _) = stack.secrets.keys[bot.id], stack.secrets.reading[bot.id]
        for value in (key, secret):
            held = {spec.name for spec in specs if value in spec.environment.values()}
            assert held == {bot.container, "risk_guard"}
        assert {spec.name for spec in specs if read in spec.environment.values()} == set(READERS)
        assert f"of={key},read-only" in stack._exchange().environment["SIM_ACCOUNTS"]

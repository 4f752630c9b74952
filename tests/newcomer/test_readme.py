"""Every command of the README is executed by a test. This test lists them and fails for an unlisted command."""

import re
from pathlib import Path

import pytest

from tests.newcomer.readme import README, ROOT, commands
from tests.newcomer.test_clean_machine import TYPED

PRODUCTION = "docker compose -f docker-compose.production.yml"
CONTAINERS = "tests/containers"
#: Command -> the test, or folder of tests, that executes it, and the text that proves it.
EXECUTED: dict[str, tuple[str, str]] = {
    "make test": (".ci/run", "make test"),
    "make test-containers": (".ci/run", "make test-containers"),
    "make docs": ("tests/docs/test_docs.py", "mkdocs"),
    "DEMO_REPLAY=path/to/candles make demo": ("tests/test_demo.py", "DEMO_REPLAY=str(CANDLES)"),
    "git clone --recurse-submodules https://github.com/LiamX-Labs/Alpha.git && cd Alpha": (
        "tests/test_submodules.py",
        "--recurse-submodules",
    ),
    f"{PRODUCTION} -f docker-compose.demo.yml up -d": (CONTAINERS, '("up", "-d")'),
    f"{PRODUCTION} up -d": (CONTAINERS, '{COMPOSE} up -d")'),
    f"{PRODUCTION} ps": (CONTAINERS, '{COMPOSE} ps")'),
    # What the container of that name runs, as a process.
    f"{PRODUCTION} run --rm doctor": ("alpha_cli/doctor/tests/test_doctor.py", '"doctor"'),
    f"{PRODUCTION} logs migrate": (
        "tests/containers/test_host.py",
        '"logs", "--no-log-prefix", "--tail", "3", "migrate"',
    ),
    ".venv/bin/alpha upgrade": ("tests/containers/test_host.py", '"-m", "alpha", "upgrade"'),
    f"{PRODUCTION} logs websocket_listener": (CONTAINERS, "logs -f websocket_listener"),
}


@pytest.mark.parametrize("command", commands())
def test_each_command_of_the_readme_is_executed_by_a_test(command: str) -> None:
    if command in TYPED:
        return
    assert command in EXECUTED, f"{README.name} has {command!r}: no test executes it"
    name, words = EXECUTED[command]
    place = ROOT / name
    files = sorted(place.glob("*.py")) if place.is_dir() else [place]
    found = any(words in file.read_text(encoding="utf-8") for file in files)
    assert found, f"{name} does not execute {command!r} any more"


def test_what_is_said_to_be_executed_stands_in_the_readme() -> None:
    left = (set(EXECUTED) | set(TYPED)) - set(commands())
    assert not left


def test_every_file_and_folder_that_the_readme_names_is_there() -> None:
    text = README.read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    named = [
        name
        for cell in re.findall(r"^\| (`[a-z_/`, ]+/`) \|", text, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", cell)
    ]
    assert len(linked) > 10
    assert len(named) > 8
    assert not [name for name in (*linked, *named) if not Path(ROOT, name).exists()]

"""The guide lists exactly the existing calls, control calls, faults and options."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from exchange_simulator.faults import Kind
from exchange_simulator.rest.server import ENDPOINTS
from exchange_simulator.tests.clients import contract

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "exchange_simulator.md"


GROUPS = frozenset(path.split("/")[2] for _, path in ENDPOINTS)


@pytest.fixture(scope="module")
def guide() -> str:
    return GUIDE.read_text()


def covered_calls(guide: str) -> set[str]:
    """The paths in the rows of the table that are covered or partly covered; a row writes the folder of its calls once."""
    found: set[str] = set()
    for line in guide[guide.index("## What is covered") :].splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) < 4 or cells[2] not in {"covered", "partly"}:
            continue
        folder = ""
        for words in re.findall(r"`([^`]+)`", cells[1]):
            path = words.removeprefix("GET ").removeprefix("POST ")
            if path.partition("/")[0] in GROUPS:
                folder = path.partition("/")[0]
            elif folder:
                path = f"{folder}/{path}"
            if folder:
                found.add(f"/v5/{path}")
    return found


def test_the_guide_names_exactly_the_calls_there_are(guide: str) -> None:
    assert covered_calls(guide) == {path for _, path in ENDPOINTS}


def test_the_guide_names_every_topic(guide: str) -> None:
    for topic in contract.TOPICS:
        kind, _, depth = topic.name.partition(".")
        assert f"`{kind}" in guide
        if kind == "orderbook":
            assert f".{depth.partition('.')[0]}`" in guide


def test_the_guide_names_exactly_the_faults_there_are(guide: str) -> None:
    section = guide[guide.index("### Faults") : guide.index("## Storage")]
    first_columns = " ".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))
    words = set(re.findall(r"`([a-z-]+)`", first_columns)) - {"ms", "key"}
    assert words == set(get_args(Kind))


def test_every_option_in_the_guide_exists_and_every_option_is_in_it(guide: str) -> None:
    command = [sys.executable, "-m", "exchange_simulator", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", told))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", guide)) - {"--five", "--four", "--only", "--speeds"}
    assert named <= options
    assert options - named <= {"--taker-fee", "--maker-fee", "--leverage", "--no-rate-limits"}, "--help tells of these"

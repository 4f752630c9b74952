"""The demo with a model: trained, a shadow, promoted by a key, traded; and on an ordinary market never."""

import re
from pathlib import Path

import pytest

from tests.support.models import needs_training_packages
from tests.test_demo import Terminal

pytestmark = [needs_training_packages, pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "demo"


def test_on_a_planted_effect_a_key_promotes_it_and_it_trades(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_MODEL", "planted")
    terminal = Terminal(state)
    try:
        terminal.wait_for("promote its model")
        terminal.press("m")
        terminal.wait_for("are needed")
        for _ in range(60):
            terminal.press("m")
            try:
                terminal.wait_for("is live from the next bar", limit_s=5)
            except AssertionError:
                continue
            break
        terminal.wait_for("entry")
        terminal.press("q")
        assert terminal.wait() == 0, "the books agree"
    finally:
        terminal.end()
    said = terminal.text
    assert re.search(r"The model trend \w{12} is live, by terminal:demo", said)
    assert "No skew" in said


def test_on_an_ordinary_market_it_stays_a_shadow_and_says_so(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_MODEL", "ordinary")
    terminal = Terminal(state)
    try:
        terminal.wait_for("promote its model")
        terminal.press("m")
        terminal.wait_for("is null: it cannot be told from chance")
        terminal.press("q")
        assert terminal.wait() == 0, "the books agree"
    finally:
        terminal.end()
    assert "is null and stays a shadow" in terminal.text

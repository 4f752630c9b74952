"""Names that users' own strategies import keep working for a release after they have moved."""

import asyncio
import importlib
from pathlib import Path

import pytest

from alpha.config.loader import load
from alpha.errors import Misconfigured
from alpha.postgres.migrate import MigrateSettings
from alpha.postgres.migrate import run as migrate

ROOT = Path(__file__).resolve().parents[1]
#: What `alpha new-strategy` of the release before wrote into a strategy, its entry point and its tests.
FORMER = {
    "alpha.runtime.start": ("run_bot",),
    "alpha.reasons": ("Reason",),
    "alpha.strategy.bars": ("Bars", "BarView", "BoolArray", "FloatArray", "Series"),
    "alpha.strategy.contract": ("Moment", "Parameters", "Portfolio", "Strategy", "StrategyState", "Universe"),
    "alpha.strategy.intents": ("Direction", "Enter", "Exit", "Intent", "OfEquity"),
    "alpha.strategy.rules": ("Action", "LossLimit", "Rules", "Until", "Window"),
    "alpha.indicators": ("sma",),
}
NOW = {
    ("alpha.runtime.start", "run_bot"): ("bot_runner.main", "run_bot"),
    ("alpha.reasons", "Reason"): ("alpha.model.reason", "Reason"),
    ("alpha.strategy.contract", "Moment"): ("alpha.strategy.base", "BarContext"),
    ("alpha.strategy.contract", "Strategy"): ("alpha.strategy.base", "Strategy"),
    ("alpha.strategy.intents", "Direction"): ("alpha.model.side", "Direction"),
    ("alpha.strategy.rules", "Rules"): ("alpha.strategy.risk_rules", "Rules"),
}


@pytest.mark.parametrize(("module", "names"), FORMER.items(), ids=str)
def test_what_a_strategy_of_the_release_before_imports_is_still_there(module: str, names: tuple[str, ...]) -> None:
    found = importlib.import_module(module)
    assert [name for name in names if not hasattr(found, name)] == []


@pytest.mark.parametrize(("former", "now"), NOW.items(), ids=str)
def test_a_former_name_is_the_very_object_of_today(former: tuple[str, str], now: tuple[str, str]) -> None:
    old = getattr(importlib.import_module(former[0]), former[1])
    assert old is getattr(importlib.import_module(now[0]), now[1])


def test_nothing_of_ours_uses_a_former_name() -> None:
    shims = {ROOT / "alpha/runtime/start.py", ROOT / "alpha/reasons.py", Path(__file__)}
    gone = ("alpha.runtime", "alpha.reasons", "alpha.strategy.contract", "alpha.strategy.rules")
    users = [
        path.relative_to(ROOT)
        for folder in ROOT.iterdir()
        if folder.is_dir() and not folder.name.startswith(".")
        for path in folder.rglob("*.py")
        if path not in shims and path.name != "image_packages.py"
        if any(
            f"from {name}" in (text := path.read_text(encoding="utf-8")) or f"import {name}" in text for name in gone
        )
    ]
    assert users == []


@pytest.mark.parametrize("variable", ["ALPHA_BOTS_FILE", "BOTS_FILE"])
def test_migrate_registers_the_bots_of_the_file_that_is_set(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "/elsewhere/bots.toml")
    settings = load(MigrateSettings, env_file=None, postgres_password="unused")
    with pytest.raises(Misconfigured, match=r"/elsewhere/bots\.toml"):
        asyncio.run(migrate(settings))

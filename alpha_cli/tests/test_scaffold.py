import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alpha.errors import Misconfigured
from alpha.registry import load_registry
from alpha_cli.scaffold import scaffold
from research.models.config import read_config
from tests.support.fixtures import ROOT


@pytest.fixture
def house(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "bots.toml", tmp_path)
    (tmp_path / "strategies").mkdir()
    return tmp_path


def test_a_new_strategy_is_a_bot_of_its_own(house: Path) -> None:
    scaffold("breakout", house)
    bot = load_registry(house / "bots.toml").find("breakout")
    assert bot.strategy == "strategies.breakout.strategy:Breakout"
    assert (house / bot.folder / bot.entry).exists()
    assert bot.redis_db == 3


def test_two_new_strategies_get_different_tags_and_databases(house: Path) -> None:
    scaffold("mover", house)
    scaffold("motion", house)
    bots = load_registry(house / "bots.toml").bots
    assert len({bot.tag for bot in bots}) == len({bot.redis_db for bot in bots}) == 5


def test_a_new_strategy_passes_its_own_tests(house: Path) -> None:
    scaffold("breakout", house)
    environment = {"PYTHONPATH": f"{house}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(house)}
    tests = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--import-mode=importlib"]
    ran = subprocess.run(
        [*tests, "strategies/breakout"], cwd=house, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "6 passed" in ran.stdout


def test_a_new_strategy_with_a_model_passes_its_own_tests_and_its_training_can_be_read(house: Path) -> None:
    written = scaffold("gradient", house, with_model=True)
    assert house / "models" / "gradient.toml" in written
    config = read_config(house / "models" / "gradient.toml")
    assert (config.name, config.label.bars) == ("gradient", 12)
    environment = {"PYTHONPATH": f"{house}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(house)}
    tests = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--import-mode=importlib"]
    ran = subprocess.run(
        [*tests, "strategies/gradient"], cwd=house, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 passed" in ran.stdout


@pytest.mark.parametrize("name", ["Breakout", "1st", "a", "with-dash", "class name", "shortseller"])
def test_a_name_that_cannot_be_is_refused_in_a_sentence(house: Path, name: str) -> None:
    with pytest.raises(Misconfigured):
        scaffold(name, house)
    assert len(load_registry(house / "bots.toml").bots) == 3

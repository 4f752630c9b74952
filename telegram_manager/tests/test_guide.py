"""The guide in docs/telegram names every command and setting, and the pictures it shows exist."""

import re
from pathlib import Path

from operations.commands import BY_NAME
from telegram_manager.settings import CommandCentreSettings

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "telegram" / "README.md"
#: Settings for tests and tuning; the configuration reference has them.
LEFT_OUT = {"c2_telegram_api_url", "c2_telegram_rate_per_minute"}


def test_every_command_is_in_the_guide() -> None:
    text = GUIDE.read_text()
    assert [name for name in BY_NAME if f"`/{name}" not in text] == []


def test_every_setting_of_the_command_centre_is_in_the_guide() -> None:
    text = GUIDE.read_text()
    own = [name for name in CommandCentreSettings.model_fields if name.startswith("c2_") and name not in LEFT_OUT]
    assert [name.upper() for name in own if name.upper() not in text] == []


def test_every_picture_of_the_guide_exists() -> None:
    named = re.findall(r"\((img/[^)]+)\)", GUIDE.read_text())
    assert len(named) > 20
    assert [name for name in named if not (GUIDE.parent / name).exists()] == []


def test_every_command_has_a_picture_of_its_output() -> None:
    """They are taken in a browser, with the command in the docstring of test_pictures.py."""
    pictures = re.findall(r"\(img/([^)]*)\.png\)", GUIDE.read_text())
    commands = {*BY_NAME, "login", "logout", "whoami", "help", "menu", "alerts", "mute", "ack", "export"}
    shown = {name for name in commands for picture in pictures if picture == name or picture.startswith(f"{name}_")}
    assert commands - shown == set()


def test_every_setting_of_the_command_centre_reaches_its_container() -> None:
    compose = (ROOT / "docker-compose.production.yml").read_text()
    own = [name.upper() for name in CommandCentreSettings.model_fields if name.startswith("c2_")]
    assert [name for name in own if f"{name}: ${{{name}:-}}" not in compose] == []

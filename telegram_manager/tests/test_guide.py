"""The guide in docs/telegram names every command and setting, and the pictures it shows exist."""

import re
from pathlib import Path

from operations.commands import BY_NAME
from telegram_manager.settings import CommandCentreSettings

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "telegram" / "README.md"
#: Pictures are taken in a browser, with the command in the docstring of test_pictures.py.
NO_PICTURE_YET = {
    *("analysis", "cancel", "config", "drift", "exposure", "model", "model_promote", "model_retire", "risk", "trade"),
    *("version", "whitelist", "entries", "slippage"),
    *("close", "movestop", "cancelorder", "blacklist", "unblacklist"),
}
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
    pictures = re.findall(r"\(img/([a-z]+)[^)]*\.png\)", GUIDE.read_text())
    commands = {*BY_NAME, "login", "logout", "whoami", "help", "menu", "alerts", "mute", "ack", "export"}
    assert commands - set(pictures) - NO_PICTURE_YET == set()


def test_every_setting_of_the_command_centre_reaches_its_container() -> None:
    compose = (ROOT / "docker-compose.production.yml").read_text()
    own = [name.upper() for name in CommandCentreSettings.model_fields if name.startswith("c2_")]
    assert [name for name in own if f"{name}: ${{{name}:-}}" not in compose] == []

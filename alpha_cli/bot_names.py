"""A bot by any of its names, for the commands that ask the record."""

from pathlib import Path

from alpha.config.loader import load
from alpha.config.services import RegistrySettings
from alpha.errors import Misconfigured
from alpha.registry import load_registry


def bot_id(name: str) -> str:
    """The id of a bot by any of its names; an unknown name may be a former bot's id, which the database knows."""
    path = load(RegistrySettings).alpha_bots_file
    try:
        return load_registry(path if path.exists() else Path(__file__).resolve().parents[1] / "bots.toml").find(name).id
    except Misconfigured:
        return name

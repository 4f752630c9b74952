"""The configuration reference, written from the settings models: `python -m tests.docs.configuration`."""

import sys
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from alpha.config.keys import BotKeys, ReadingKeys
from alpha.config.loader import Settings
from alpha.postgres.migrate import MigrateSettings
from alpha.postgres.standby import StandbySettings
from analysis_service.settings import AnalysisSettings
from api_server.settings import ApiSettings
from bot_runner.settings import BotSettings
from dashboard.settings import DashboardSettings
from database.backup.settings import BackupSettings
from demo.settings import DemoSettings
from model_server.settings import ModelServerSettings
from operations.context import OperationsSettings
from risk_guard.settings import GuardSettings
from telegram_manager.settings import ChannelKeys, CommandCentreSettings
from tick_recorder.settings import RecorderSettings
from trade_sync_service.settings import SyncSettings
from websocket_listener.settings import ListenerSettings

ROOT = Path(__file__).resolve().parents[2]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
PARTS: tuple[tuple[str, str, type[Settings], str], ...] = (
    (
        "Keys of a bot",
        "One set a bot; `SHORTSELLER_` stands for the bot's prefix in `bots.toml`.",
        BotKeys,
        "SHORTSELLER_",
    ),
    (
        "Keys of who only reads",
        "Without these the listener and the trade sync use the key above, and warn.",
        ReadingKeys,
        "SHORTSELLER_",
    ),
    ("Bots", "Each bot also reads its strategy's parameters; see the strategy's README.", BotSettings, ""),
    ("Listener", "`websocket_listener`", ListenerSettings, ""),
    ("Trade sync", "`trade_sync_service`", SyncSettings, ""),
    ("Guard", "`risk_guard`", GuardSettings, ""),
    ("Command centre", "`telegram_manager`", CommandCentreSettings, ""),
    (
        "Channel of a bot",
        "`telegram_manager`; a bot's own Telegram channel. `SHORTSELLER_` stands for the bot's prefix.",
        ChannelKeys,
        "SHORTSELLER_",
    ),
    ("Dashboard", "`dashboard`", DashboardSettings, ""),
    ("API", "`api_server`", ApiSettings, ""),
    ("Tick recorder", "`tick_recorder`", RecorderSettings, ""),
    ("A second instance", "trade sync, command centre, tick recorder, analysis", StandbySettings, ""),
    ("Analysis", "`analysis_service`", AnalysisSettings, ""),
    ("Model server", "`model_server`", ModelServerSettings, ""),
    ("Terminal", "The `alpha` command's queries and commands.", OperationsSettings, ""),
    ("Migrations", "`python -m alpha.postgres.migrate`", MigrateSettings, ""),
    ("Backups", "`postgres_backup`", BackupSettings, ""),
    ("Demo", "`make demo`; read from the environment only.", DemoSettings, ""),
)
HEAD = """# Configuration reference

Every variable, from the settings models themselves. `python -m tests.docs.configuration` writes this page.

A variable comes from the environment, else from the file that `NAME_FILE` names, else (a secret, in a container) from
`/run/secrets/<name in lower case>`, else from `.env`. A wrong or missing value ends the start with one line that names it.
"""


def page() -> str:
    """The whole page."""
    seen: set[str] = set()
    parts = [HEAD]
    for title, about, kind, prefix in PARTS:
        rows = [
            _row(f"{prefix}{name}".upper(), field)
            for name, field in kind.model_fields.items()
            if (prefix + name) not in seen
        ]
        seen |= {prefix + name for name in kind.model_fields}
        if rows:
            parts.append(
                f"## {title}\n\n{about}\n\n| variable | default | what it is |\n|---|---|---|\n"
                + "\n".join(rows)
                + "\n"
            )
    return "\n".join(parts)


def _row(variable: str, field: FieldInfo) -> str:
    secret = field.annotation in {SecretStr, SecretStr | None}
    if field.default is PydanticUndefined:
        default = "required"
    elif field.default is None or field.default in {"", ()}:
        default = "none"
    else:
        value = field.default
        if isinstance(value, Path) and value.is_relative_to(ROOT):
            value = value.relative_to(ROOT)  # the page is the same in every checkout
        default = f"`{str(value).lower() if isinstance(value, bool) else ','.join(map(str, value)) if isinstance(value, tuple) else value}`"
    text = (field.description or "").rstrip(".")
    return f"| `{variable}` | {default} | {_sentence(text)}{' (secret)' if secret else ''} |"


def _sentence(text: str) -> str:
    """Capitalise the first word, unless it is a literal to be typed as it stands (true, global, 12345:AA...)."""
    first = text.split(" ", 1)[0].rstrip(",;:")
    literal = first in {"true", "false"} or not first.isalpha() or first != first.lower()
    return text if literal else text[:1].upper() + text[1:]


def settings_models() -> set[type[Settings]]:
    """Every settings model that a process loads: those without a subclass that is a model itself."""
    found: set[type[Settings]] = set()
    waiting = [Settings]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.model_fields and not kind.__name__.startswith("_"):
            found.add(kind)
    return found


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

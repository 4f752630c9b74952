"""The registry of bots: `bots.toml`, the only list of them."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from alpha.errors import Misconfigured
from alpha.services import INFRASTRUCTURE, OTHER, SERVICES

SHARED_DB = 15
_FIELDS = ("id", "name", "tag", "redis_db", "prefix", "container", "folder", "entry", "strategy")


@dataclass(frozen=True, slots=True)
class Bot:
    """One bot: its names, and where its code and state are."""

    id: str
    name: str
    tag: str
    redis_db: int
    prefix: str
    container: str
    folder: str
    entry: str
    strategy: str

    @property
    def key_variable(self) -> str:
        """The environment variable of its API key."""
        return f"{self.prefix}_BYBIT_API_KEY"

    @property
    def secret_variable(self) -> str:
        """The environment variable of its API secret."""
        return f"{self.prefix}_BYBIT_API_SECRET"

    @property
    def read_key_variable(self) -> str:
        """The environment variable of its second, read-only API key."""
        return f"{self.prefix}_BYBIT_READ_API_KEY"

    @property
    def read_secret_variable(self) -> str:
        """The environment variable of the secret of its second API key."""
        return f"{self.prefix}_BYBIT_READ_API_SECRET"


@dataclass(frozen=True, slots=True)
class Registry:
    """All bots, in the order of the file."""

    bots: tuple[Bot, ...]

    def find(self, name: str) -> Bot:
        """The bot with this id, container, tag or strategy name, in any case.

        Raises Misconfigured, naming the choices, when there is none.
        """
        wanted = _addressed(name.strip())
        for bot in self.bots:
            if wanted in map(_addressed, (bot.id, bot.container, bot.name, bot.tag)):
                return bot
        choices = ", ".join(bot.container for bot in self.bots)
        raise Misconfigured(f"There is no bot called {name!r}. The bots are: {choices}.")

    def by_tag(self, tag: str) -> Bot | None:
        """The bot whose order ids start with `tag`, or None."""
        return next((bot for bot in self.bots if bot.tag == tag), None)


#: Words that address a service, one of our containers or all bots. No bot may use them as a name.
TAKEN = frozenset(
    {
        *(service.name for service in SERVICES),
        *INFRASTRUCTURE,
        *OTHER,
        *(
            "all",
            "alpha",
            "backup",
            "base",
            "db",
            "default",
            "g",
            "guard",
            "listener",
            "analysis_service",
            "model_server",
        ),
    }
)
#: Prefixes of variables used by something else.
TAKEN_PREFIXES = frozenset(
    {
        "ALPHA", "BACKUP", "BOT", "BYBIT", "C2", "COMPOSE", "DASHBOARD", "DEMO", "DOCKER", "GUARD", "HEALTH", "LISTENER", "LOG",
        "MIGRATE", "POSTGRES", "PYTHON", "RECONCILE", "REDIS", "SIM", "SYNC", "TELEGRAM",
    }
)  # fmt: skip
_PATH = r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*"
#: Field to its required format, as a pattern and as a description.
_RULES = {
    "id": (r"[a-z][a-z0-9_]{2,31}", "3 to 32 lower-case letters, digits or underscores, a letter first"),
    "name": (
        r"[^\W_][\w .-]{0,38}[\w.-]|[^\W_]",
        "1 to 40 letters, digits, blanks, dots or hyphens, a letter or digit first",
    ),
    "tag": (r"[a-z]{1,3}", "1 to 3 lower-case letters"),
    "prefix": (r"[A-Z][A-Z0-9_]{0,39}", "1 to 40 capital letters, digits or underscores, a letter first"),
    "container": (
        r"[a-z][a-z0-9_-]{0,39}",
        "1 to 40 lower-case letters, digits, underscores or hyphens, a letter first",
    ),
    "folder": (_PATH, "a folder of this checkout, such as strategies/breakout"),
    "entry": (_PATH + r"\.py", "a Python file in that folder, such as main.py"),
    "strategy": (
        r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*:[A-Za-z_][A-Za-z0-9_]*",
        "module:Class, such as strategies.breakout.strategy:Breakout",
    ),
}


def load_registry(path: Path) -> Registry:
    """Read `bots.toml`. Raises Misconfigured with one sentence per fault, naming file, bot and field."""
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise Misconfigured(f"{path} is missing. It lists the bots; restore it from the repository.") from None
    except OSError as fault:
        raise Misconfigured(f"{path} cannot be read: {fault.strerror}.") from None
    except UnicodeDecodeError as fault:
        raise Misconfigured(f"{path} is not UTF-8 at byte {fault.start}. Save it as UTF-8.") from None
    return parse_registry(text, path)


def parse_registry(text: str, path: Path) -> Registry:
    """Parse the text of a `bots.toml`; `path` is the file named in errors. Raises as `load_registry`."""
    try:
        document = tomllib.loads(text.replace("\r\n", "\n"))
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as fault:
        raise Misconfigured(f"{path} is not valid TOML: {str(fault).splitlines()[0][:200]}.") from None
    rows = document.get("bot")
    if not isinstance(rows, list) or not rows:
        raise Misconfigured(f"{path} lists no bot. Add a [[bot]] section.")
    bots = tuple(_bot(row, number, path) for number, row in enumerate(rows, start=1))
    _refuse_doubles(bots, path)
    return Registry(bots)


def check_folders(registry: Registry, root: Path) -> None:
    """Raise Misconfigured unless each bot's folder and entry are files of the checkout `root`.

    Not part of `load_registry`: an image contains the list of all bots but the folder of only one.
    """
    for bot in registry.bots:
        folder = (root / bot.folder).resolve()
        if not folder.is_relative_to(root.resolve()) or not folder.is_dir():
            raise Misconfigured(f"bots.toml: {bot.id}: there is no folder {bot.folder} in this checkout.")
        entry = (folder / bot.entry).resolve()
        if not entry.is_relative_to(folder) or not entry.is_file():
            raise Misconfigured(f"bots.toml: {bot.id}: there is no file {bot.entry} in {bot.folder}.")


def _refuse_doubles(bots: tuple[Bot, ...], path: Path) -> None:
    for field in ("id", "tag", "redis_db", "prefix", "container", "folder"):
        seen: set[object] = set()
        for bot in bots:
            value = getattr(bot, field)
            if value in seen:
                raise Misconfigured(f"{path}: two bots have the same {field} {value!r}. Each needs its own.")
            seen.add(value)
    # Any of these words addresses a bot: /stop WORD must never mean another one.
    owner: dict[str, Bot] = {}
    for bot in bots:
        for field in ("id", "name", "tag", "container"):
            word = getattr(bot, field)
            other = owner.setdefault(_addressed(word), bot)
            if other is not bot:
                raise Misconfigured(
                    f"{path}: {field} {word!r} of {bot.id} also addresses {other.id}. Choose another; capitals, "
                    "blanks, hyphens and underscores make no difference."
                )


def _addressed(word: str) -> str:
    """Normalise a word that addresses something: `A-B`, `a_b` and `A b` are equal."""
    return re.sub(r"[ -]", "_", word.casefold())


def _bot(row: object, number: int, path: Path) -> Bot:
    if not isinstance(row, dict):
        raise Misconfigured(f"{path}: bot {number} must be a [[bot]] section.")
    unknown = sorted(set(row) - set(_FIELDS))
    if unknown:
        raise Misconfigured(
            f"{path}: bot {number} has the unknown field {unknown[0][:40]!r}. Known: {', '.join(_FIELDS)}."
        )
    for field in _FIELDS:
        wanted = int if field == "redis_db" else str
        if type(row.get(field)) is not wanted:
            what = "a whole number" if wanted is int else "a text in quotes"
            raise Misconfigured(f"{path}: bot {number} needs {field!r}, {what}.")
    for field, (rule, words) in _RULES.items():
        if not re.fullmatch(rule, row[field]) or ".." in row[field]:
            raise Misconfigured(f"{path}: bot {number}: {field} is {row[field][:80]!r}. It must be {words}.")
    if row["tag"] == "g":
        raise Misconfigured(f"{path}: bot {number}: the tag 'g' belongs to the guard. Choose another.")
    for field in ("id", "name", "tag", "container"):
        if _addressed(row[field]) in TAKEN:
            raise Misconfigured(
                f"{path}: bot {number}: {field} {row[field]!r} is the name of a service. Choose another."
            )
    if row["prefix"].split("_")[0] in TAKEN_PREFIXES:
        raise Misconfigured(
            f"{path}: bot {number}: prefix {row['prefix']!r} starts variables of something else. Choose another."
        )
    if not 0 <= row["redis_db"] < SHARED_DB:
        raise Misconfigured(f"{path}: bot {number}: redis_db must be 0 to {SHARED_DB - 1}, not {row['redis_db']}.")
    return Bot(**row)

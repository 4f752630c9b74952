"""The registry of bots: `bots.toml`, the only list of them."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from alpha.errors import Misconfigured

SHARED_DB = 15
_FIELDS = ("id", "name", "tag", "redis_db", "prefix", "container", "folder", "entry", "strategy")


@dataclass(frozen=True, slots=True)
class Bot:
    """One bot: what it is called everywhere and where its code and state live."""

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
        """The environment variable of its second API key, which only reads."""
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
        wanted = name.strip().lower()
        for bot in self.bots:
            if wanted in {bot.id.lower(), bot.container.lower(), bot.name.lower(), bot.tag.lower()}:
                return bot
        choices = ", ".join(bot.container for bot in self.bots)
        raise Misconfigured(f"There is no bot called {name!r}. The bots are: {choices}.")

    def by_tag(self, tag: str) -> Bot | None:
        """The bot whose order ids start with `tag`, or None."""
        return next((bot for bot in self.bots if bot.tag == tag), None)


def load_registry(path: Path) -> Registry:
    """Read `bots.toml`. Raises Misconfigured with one sentence a fault, naming file, bot and field."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Misconfigured(f"{path} is missing. It lists the bots; restore it from the repository.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise Misconfigured(f"{path} is not valid TOML: {fault}.") from None
    rows = document.get("bot")
    if not isinstance(rows, list) or not rows:
        raise Misconfigured(f"{path} lists no bot. Add a [[bot]] section.")
    bots = tuple(_bot(row, number, path) for number, row in enumerate(rows, start=1))
    for field in ("id", "tag", "redis_db", "prefix", "container", "folder"):
        seen: set[object] = set()
        for bot in bots:
            value = getattr(bot, field)
            if value in seen:
                raise Misconfigured(f"{path}: two bots have the same {field} {value!r}. Each needs its own.")
            seen.add(value)
    return Registry(bots)


def _bot(row: object, number: int, path: Path) -> Bot:
    if not isinstance(row, dict):
        raise Misconfigured(f"{path}: bot {number} must be a [[bot]] section.")
    unknown = sorted(set(row) - set(_FIELDS))
    if unknown:
        raise Misconfigured(f"{path}: bot {number} has the unknown field {unknown[0]!r}. Known: {', '.join(_FIELDS)}.")
    for field in _FIELDS:
        wanted = int if field == "redis_db" else str
        if type(row.get(field)) is not wanted:
            raise Misconfigured(f"{path}: bot {number} needs {field!r}, a {wanted.__name__}.")
    rules = {
        "id": r"[a-z][a-z0-9_]{2,31}",
        "tag": r"[a-z]{1,3}",
        "prefix": r"[A-Z][A-Z0-9_]*",
        "container": r"[a-z][a-z0-9_-]*",
        "strategy": r"[A-Za-z0-9_.]+:[A-Za-z0-9_]+",
    }
    for field, rule in rules.items():
        if not re.fullmatch(rule, row[field]):
            raise Misconfigured(f"{path}: bot {number}: {field} {row[field]!r} must match {rule}.")
    if row["tag"] == "g":
        raise Misconfigured(f"{path}: bot {number}: the tag 'g' belongs to the guard. Choose another.")
    if not 0 <= row["redis_db"] < SHARED_DB:
        raise Misconfigured(f"{path}: bot {number}: redis_db must be 0 to {SHARED_DB - 1}, not {row['redis_db']}.")
    return Bot(**row)

"""The registry of bots: `bots.toml` and the files it includes, the only list of them.

Bots that name the same container share it: one process runs them all (`bot_runner/shared.py`).
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from alpha.errors import Misconfigured, shown
from alpha.services import INFRASTRUCTURE, OTHER, SERVICES

SHARED_DB = 15
#: The highest number of a bot's Redis database.
MAX_DB = 4_095
#: Redis has at least so many databases; more are rendered when a bot needs them.
LEAST_DATABASES = 256
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


@dataclass(frozen=True)
class Registry:
    """All bots, in the order of the file."""

    bots: tuple[Bot, ...]

    @cached_property
    def containers(self) -> dict[str, tuple[Bot, ...]]:
        """Each container with its bots, in the order of the file."""
        found: dict[str, list[Bot]] = {}
        for bot in self.bots:
            found.setdefault(bot.container, []).append(bot)
        return {container: tuple(bots) for container, bots in found.items()}

    def is_shared(self, bot: Bot) -> bool:
        """True when its container also runs other bots."""
        return len(self.containers.get(bot.container, ())) > 1

    @property
    def databases(self) -> int:
        """How many databases Redis must have."""
        return max(LEAST_DATABASES, 1 + max((bot.redis_db for bot in self.bots), default=0))

    def word_of(self, bot: Bot) -> str:
        """The word by which a bot is addressed: its container, or its id in a shared one."""
        return bot.id if self.is_shared(bot) else bot.container

    @property
    def choices(self) -> str:
        """The words by which bots are addressed, for messages."""
        words = [self.word_of(bot) for bot in self.bots]
        more = f" and {len(words) - _MOST_NAMED} more" if len(words) > _MOST_NAMED else ""
        return ", ".join(words[:_MOST_NAMED]) + more

    @cached_property
    def _by_word(self) -> dict[str, Bot]:
        words: dict[str, Bot] = {}
        for bot in self.bots:
            own = () if self.is_shared(bot) else (bot.container,)
            for word in (bot.id, bot.name, bot.tag, *own):
                words.setdefault(_addressed(word), bot)
        return words

    def find(self, name: str) -> Bot:
        """The bot with this id, tag, strategy name or container of its own, in any case.

        Raises Misconfigured, naming the choices, when there is none or the word is a container of several bots.
        """
        wanted = _addressed(name.strip())
        bot = self._by_word.get(wanted)
        if bot is not None:
            return bot
        for container, bots in self.containers.items():
            if wanted == _addressed(container):
                ids = ", ".join(each.id for each in bots[:_MOST_NAMED])
                raise Misconfigured(f"The container {container} runs {len(bots)} bots: {ids}. Name one of them.")
        raise Misconfigured(f"There is no bot called {shown(name)}. The bots are: {self.choices}.")

    def by_tag(self, tag: str) -> Bot | None:
        """The bot whose order ids start with `tag`, or None."""
        return next((bot for bot in self.bots if bot.tag == tag), None)


#: A message names at most so many bots.
_MOST_NAMED = 30
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
        "ALPHA", "ANALYSIS", "BACKUP", "BOT", "BYBIT", "C2", "COMPOSE", "DASHBOARD", "DEMO", "DOCKER", "GUARD", "HEALTH", "INFLUX", "LISTENER", "LOG",
        "MIGRATE", "POSTGRES", "PYTHON", "RECONCILE", "REDIS", "SIM", "SYNC", "TELEGRAM", "TICKS",
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
    """Read `bots.toml` and what it includes. Raises Misconfigured with one sentence per fault, naming file, bot and field."""
    return parse_registry(_read(path), path)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise Misconfigured(f"{path} is missing. It lists the bots; restore it from the repository.") from None
    except OSError as fault:
        raise Misconfigured(f"{path} cannot be read: {fault.strerror}.") from None
    except UnicodeDecodeError as fault:
        raise Misconfigured(f"{path} is not UTF-8 at byte {fault.start}. Save it as UTF-8.") from None


def parse_registry(text: str, path: Path) -> Registry:
    """Parse the text of a `bots.toml`; `path` is the file named in errors. Raises as `load_registry`."""
    document = _document(text, path)
    bots = _bots_of(document, path)
    for part in included(document.get("include", []), path):
        more = _document(_read(part), part)
        if "include" in more:
            raise Misconfigured(f"{part} is itself included by {path.name}; it cannot include others.")
        bots += _bots_of(more, part)
    if not bots:
        raise Misconfigured(f"{path} lists no bot. Add a [[bot]] section.")
    _refuse_doubles(bots, path)
    return Registry(tuple(bots))


def included(patterns: object, path: Path) -> list[Path]:
    """The files that a list of patterns (`bots.d/*.toml`) names beside `path`, sorted by name within a pattern."""
    if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
        raise Misconfigured(f'{path}: include must be a list of files, such as include = ["bots.d/*.toml"].')
    found: list[Path] = []
    for pattern in patterns:
        if not re.fullmatch(r"bots\.d/[A-Za-z0-9_.*-]+\.toml", pattern) or ".." in pattern:
            raise Misconfigured(
                f"{path}: include names {pattern[:80]!r}. It must be a .toml file in bots.d, such as bots.d/*.toml."
            )
        if "*" in pattern:
            found += sorted(path.parent.glob(pattern))
        else:
            found.append(path.parent / pattern)
    return list(dict.fromkeys(found))


def _document(text: str, path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(text.replace("\r\n", "\n"))
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as fault:
        raise Misconfigured(f"{path} is not valid TOML: {str(fault).splitlines()[0][:200]}.") from None


def _bots_of(document: dict[str, object], path: Path) -> list[Bot]:
    rows = document.get("bot", [])
    if not isinstance(rows, list):
        raise Misconfigured(f"{path} lists no bot. Add a [[bot]] section.")
    return [_bot(row, number, path) for number, row in enumerate(rows, start=1)]


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


def _refuse_doubles(bots: Sequence[Bot], path: Path) -> None:
    for field in ("id", "tag", "redis_db", "prefix"):
        seen: set[object] = set()
        for bot in bots:
            value = getattr(bot, field)
            if value in seen:
                raise Misconfigured(f"{path}: two bots have the same {field} {value!r}. Each needs its own.")
            seen.add(value)
    rooms: dict[str, list[Bot]] = {}
    for bot in bots:
        rooms.setdefault(bot.container, []).append(bot)
    for container, inside in rooms.items():
        for bot in inside[1:]:
            if (bot.folder, bot.entry) != (inside[0].folder, inside[0].entry):
                raise Misconfigured(
                    f"{path}: {inside[0].id} and {bot.id} share the container {container!r}, so they need the same "
                    "folder and entry. Give one of them its own container."
                )
    # Any of these words addresses a bot: /stop WORD must never mean another one.
    owner: dict[str, str] = {}
    for bot in bots:
        shared = len(rooms[bot.container]) > 1
        for field in ("id", "name", "tag", "container"):
            word = getattr(bot, field)
            mine = f"the container {bot.container}" if shared and field == "container" else bot.id
            other = owner.setdefault(_addressed(word), mine)
            if other != mine:
                raise Misconfigured(
                    f"{path}: {field} {word!r} of {bot.id} also addresses {other}. Choose another; capitals, "
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
    if not 0 <= row["redis_db"] <= MAX_DB or row["redis_db"] == SHARED_DB:
        raise Misconfigured(
            f"{path}: bot {number}: redis_db must be 0 to {MAX_DB}, but not {SHARED_DB}, which belongs to all; "
            f"got {row['redis_db']}."
        )
    return Bot(**row)

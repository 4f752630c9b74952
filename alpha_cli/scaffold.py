"""Creates a strategy from the template: its folder and its entry in `bots.toml`."""

import re
from importlib.resources import files
from pathlib import Path
from string import Template

from alpha.errors import Misconfigured
from alpha.registry import MAX_DB, SHARED_DB, Registry, load_registry, parse_registry

#: Template file to its path in the strategy's folder.
PLACES = {
    "README.md.tmpl": "README.md",
    "init.py.tmpl": "__init__.py",
    "parameters.py.tmpl": "parameters.py",
    "strategy.py.tmpl": "strategy.py",
    "start_trading.py.tmpl": "scripts/start_trading.py",
    "test_rules.py.tmpl": "tests/test_rules.py",
}
#: The same with a model: other rules, and what is trained.
SCORED = {
    **PLACES,
    "scored_README.md.tmpl": "README.md",
    "scored_parameters.py.tmpl": "parameters.py",
    "scored_strategy.py.tmpl": "strategy.py",
    "scored_test_rules.py.tmpl": "tests/test_rules.py",
}
MODEL = "model.toml.tmpl"
EMPTY = ("scripts/__init__.py", "tests/__init__.py")


def scaffold(name: str, root: Path, *, with_model: bool = False) -> list[Path]:
    """Write `strategies/<name>` and its entry in `bots.toml` below `root`; returns the files written or changed.

    `with_model`: its entries follow the scores of a model, whose training is set in `models/<name>.toml`.
    Raises Misconfigured when the name is not a valid package name or is taken, or all Redis databases are in use.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]{2,20}", name):
        raise Misconfigured(
            f"A strategy's name is 3 to 21 small letters and digits that begin with a letter, not {name!r}."
        )
    folder = root / "strategies" / name
    if folder.exists():
        raise Misconfigured(f"{folder} exists already. Choose another name, or remove it.")
    bots_file = root / "bots.toml"
    registry = load_registry(bots_file)
    if any(name in {bot.container, bot.folder, bot.prefix.lower()} for bot in registry.bots):
        raise Misconfigured(f"{bots_file} has a bot called {name} already. Choose another name.")
    words = {
        "name": name,
        "title": name[0].upper() + name[1:],
        "prefix": name.upper(),
        "container": name,
        "bot_id": f"{name}_001",
        "tag": _free_tag(name, registry),
        "redis_db": str(_free_database(registry)),
    }
    # Validate the list with its new entry before anything is written.
    listed = bots_file.read_text(encoding="utf-8") + Template(_ENTRY).substitute(words)
    parse_registry(listed, bots_file)
    written = []
    places = {place: source for source, place in (SCORED if with_model else PLACES).items()}
    paths = [(folder / place, source) for place, source in places.items()]
    if with_model:
        paths.append((root / "models" / f"{name}.toml", MODEL))
    for path, source in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = files("alpha_cli").joinpath("template", source).read_text(encoding="utf-8")
        path.write_text(Template(text).substitute(words), encoding="utf-8")
        written.append(path)
    for place in EMPTY:
        (folder / place).touch()
    draft = bots_file.with_name(f".{bots_file.name}.new")
    draft.write_text(listed, encoding="utf-8")
    draft.chmod(bots_file.stat().st_mode & 0o777)
    draft.replace(bots_file)
    return [*written, bots_file]


_ENTRY = """
[[bot]]
id = "$bot_id"
name = "$title"
tag = "$tag"
redis_db = $redis_db
prefix = "$prefix"
container = "$container"
folder = "strategies/$name"
entry = "scripts/start_trading.py"
strategy = "strategies.$name.strategy:$title"
"""


def _free_tag(name: str, registry: Registry) -> str:
    taken = {bot.tag for bot in registry.bots} | {"g"}
    letters = [letter for letter in name if letter.isalpha()]
    wanted = ["".join(letters[:2]), *(letters[0] + other for other in letters[2:]), "".join(letters[:3])]
    wanted += [letters[0] + chr(number) for number in range(ord("a"), ord("z") + 1)]
    for tag in wanted:
        if tag not in taken:
            return tag
    raise Misconfigured("No tag of two letters is free for this name. Choose another name.")


def _free_database(registry: Registry) -> int:
    taken = {bot.redis_db for bot in registry.bots} | {SHARED_DB}
    for number in range(MAX_DB + 1):
        if number not in taken:
            return number
    raise Misconfigured(f"All {MAX_DB} Redis databases belong to bots. Remove a bot from bots.toml first.")

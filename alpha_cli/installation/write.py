"""Writing `.env` and `secrets/`: what exists is kept, what is missing is made."""

import os
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from alpha.errors import Misconfigured
from alpha.registry import Registry
from alpha_cli.installation.layout import READ_WITH_TRADING_KEY, files, generated

_LEDGER = "installation.json"


class Installation:
    """The secrets of one checkout, kept in `secrets/installation.json`, from which the services' folders are written."""

    def __init__(self, root: Path, registry: Registry) -> None:
        self._root = root
        self._registry = registry
        self.folder = root / "secrets"

    def read(self) -> dict[str, str]:
        """All secrets known so far, by variable; empty before the first time."""
        path = self.folder / _LEDGER
        if not path.exists():
            return {}
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except (msgspec.DecodeError, OSError):
            raise Misconfigured(
                f"{path} cannot be read. Restore it from a copy, or remove it to start afresh."
            ) from None

    def write(self, given: Mapping[str, str]) -> list[str]:
        """Keep what is known, take what is given, make the missing passwords, write every file.

        Which bots have one key for all, by the operator's choice, stands in `.env`. Returns the variables whose value is new or changed. A file of a secret that is no longer known is removed.
        """
        known = self.read()
        complete = {**known, **{name: value for name, value in given.items() if value}}
        for name in generated(self._registry):
            complete.setdefault(name, secrets.token_urlsafe(24))
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.folder.chmod(0o700)
        _write(self.folder / _LEDGER, msgspec.json.format(msgspec.json.encode(complete)).decode(), 0o600)
        wanted = files(self._registry, complete, one_key(read_env(self._root / ".env")))
        for name, value in wanted.items():
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.parent.chmod(0o755)
            _write(path, value, 0o444)
        for path in self.folder.glob("*/*"):
            if f"{path.parent.name}/{path.name}" not in wanted:
                path.unlink()
        return [name for name, value in complete.items() if known.get(name) != value]


def one_key(env: Mapping[str, str]) -> frozenset[str]:
    """The ids of the bots whose one key is also read with, by the operator's choice in `.env`."""
    return frozenset(part.strip() for part in env.get(READ_WITH_TRADING_KEY, "").split(",") if part.strip())


def write_env(path: Path, example: Path, values: Mapping[str, str], moved: Collection[str] = ()) -> None:
    """Write `.env` after the pattern of `.env.example`: its comments and order, with `values` in place.

    A value that the file has already goes before the example's, but those of the variables `moved` are left out: they
    are in `secrets/` from now on. ALPHA_SECRETS=files tells compose so.
    """
    present = _variables(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept = {name: value for name, value in present.items() if name not in moved}
    chosen = {**kept, **values, "ALPHA_SECRETS": "files"}
    lines, used = [], set()
    for line in example.read_text(encoding="utf-8").splitlines():
        name = line.partition("=")[0]
        if line and not line.startswith("#") and name in chosen:
            lines.append(f"{name}={chosen[name]}")
            used.add(name)
        else:
            lines.append(line)
    rest = [name for name in chosen if name not in used]
    if rest:
        lines += ["", "# --- Further settings -----------------------------------------------------------"]
        lines += [f"{name}={chosen[name]}" for name in rest]
    _write(path, "\n".join(lines) + "\n", 0o600)


def read_env(path: Path) -> dict[str, str]:
    """The variables that `.env` sets to something; none when there is no such file."""
    if not path.exists():
        return {}
    return {name: value for name, value in _variables(path.read_text(encoding="utf-8")).items() if value}


def change_env(path: Path, values: Mapping[str, str]) -> None:
    """Give variables another value in `.env`, leave every other line as it is; one that it has not goes to the end."""
    lines = path.read_text(encoding="utf-8").splitlines()
    names = [line.partition("=")[0].strip() for line in lines]
    changed = [f"{name}={values[name]}" if name in values else line for name, line in zip(names, lines, strict=True)]
    changed += [f"{name}={value}" for name, value in values.items() if name not in names]
    _write(path, "\n".join(changed) + "\n", 0o600)


def _variables(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if line and not line.startswith("#") and "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _write(path: Path, text: str, mode: int) -> None:
    """Write all or nothing, never readable by more than `mode` allows."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.chmod(mode)
    draft.replace(path)

"""Writes `.env` and `secrets/`: keeps what exists, creates what is missing."""

import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from alpha.config import env_file
from alpha.errors import Misconfigured
from alpha.registry import Registry
from alpha_cli.installation.durable import refused, sync_folder, write_durably
from alpha_cli.installation.layout import READ_WITH_TRADING_KEY, files, generated

_LEDGER = "installation.json"
_COPY = ".env.before"


class Installation:
    """The secrets of one checkout, kept in `secrets/installation.json`; the services' folders are written from it."""

    def __init__(self, root: Path, registry: Registry) -> None:
        self._root = root
        self._registry = registry
        self.folder = root / "secrets"

    def read(self) -> dict[str, str]:
        """All known secrets, by variable; empty before the first run."""
        path = self.folder / _LEDGER
        try:
            if not path.exists():
                return {}
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except PermissionError as fault:
            # made by root, with an umask that hides the folder from others
            raise refused(path, fault, "read") from None
        except (msgspec.DecodeError, OSError):
            raise Misconfigured(
                f"{path} cannot be read. Restore it from a copy, or remove it to start afresh."
            ) from None

    def write(self, given: Mapping[str, str], chosen: Collection[str] | None = None) -> list[str]:
        """Keep what is known, add what is given, generate missing passwords, write every file.

        `chosen` are the bots that use one key for all, by the operator's choice; None takes those in `.env`. Returns
        the variables whose value is new or changed. Everything is durable on return; the list of all secrets is written
        first and files of secrets no longer known are deleted last, so that a crash at any instant loses none.
        """
        known = self.read()
        complete = {**known, **{name: value for name, value in given.items() if value}}
        for name in generated(self._registry):
            complete.setdefault(name, secrets.token_urlsafe(24))
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self.folder.chmod(0o700)
        except OSError as fault:
            raise refused(self.folder, fault) from None
        write_durably(self.folder / _LEDGER, msgspec.json.format(msgspec.json.encode(complete)).decode(), 0o600)
        sync_folder(self._root)
        wanted = files(self._registry, complete, one_key(read_env(self._root / ".env")) if chosen is None else chosen)
        for name, value in wanted.items():
            path = self.folder / name
            try:
                path.parent.mkdir(exist_ok=True)
                path.parent.chmod(0o755)
            except OSError as fault:
                raise refused(path.parent, fault) from None
            if not _holds(path, value):
                write_durably(path, value, 0o444)
        if self.read() != complete:
            raise Misconfigured(f"{self.folder / _LEDGER} does not hold what was written to it. Check the disk.")
        for path in self.folder.glob("*/*"):
            if f"{path.parent.name}/{path.name}" not in wanted:
                try:
                    path.unlink()
                except OSError as fault:
                    raise refused(path, fault) from None
        return [name for name, value in complete.items() if known.get(name) != value]

    @contextmanager
    def copy_of(self, env: Path) -> Iterator[None]:
        """Keep a copy of `.env` in `secrets/` during the block; `left_over` reads one left by a killed run."""
        copy = self.folder / _COPY
        if env.exists():
            try:
                text = env.read_text(encoding="utf-8")
            except OSError as fault:
                raise refused(env, fault) from None
            write_durably(copy, text, 0o600)
        yield
        copy.unlink(missing_ok=True)

    def left_over(self) -> dict[str, str]:
        """The values in the copy of `.env` left by a killed run; empty without one."""
        return read_env(self.folder / _COPY)


def one_key(env: Mapping[str, str]) -> frozenset[str]:
    """The ids of the bots whose trading key is also used for reading, by the operator's choice in `.env`."""
    return frozenset(part.strip() for part in env.get(READ_WITH_TRADING_KEY, "").split(",") if part.strip())


def write_env(path: Path, example: Path, values: Mapping[str, str], moved: Collection[str] = ()) -> None:
    """Write `.env` in the form of `.env.example`: its comments and order, with `values` filled in.

    Existing values override the example's, but the variables in `moved` are omitted: they
    are in `secrets/` from now on, which ALPHA_SECRETS=files tells compose.
    """
    present = _raw(path)
    kept = {name: value for name, value in present.items() if name not in moved}
    new = {name: _written(name, value) for name, value in values.items()}
    chosen = {**kept, **new, "ALPHA_SECRETS": "files"}
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
    write_durably(path, "\n".join(lines) + "\n", 0o600)


def read_env(path: Path) -> dict[str, str]:
    """The variables that `.env` sets to a non-empty value; empty when there is no such file.

    Raises Misconfigured, with a sentence per line that the file's readers would read differently.
    """
    file = env_file.read(path)
    if file.faults:
        raise Misconfigured("\n".join(env_file.sentences(path, file)))
    return {name: value for name, value in file.values.items() if value}


def change_env(path: Path, values: Mapping[str, str]) -> None:
    """Set variables in `.env`, leaving every other line as it is; new variables are appended."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition("=")[0].strip() for line in lines]
    new = {name: _written(name, value) for name, value in values.items()}
    changed = [f"{name}={new[name]}" if name in new else line for name, line in zip(names, lines, strict=True)]
    changed += [f"{name}={value}" for name, value in new.items() if name not in names]
    write_durably(path, "\n".join(changed) + "\n", 0o600)


def _holds(path: Path, value: str) -> bool:
    """True when the file already has this content and the mode of a mounted secret."""
    try:
        return path.stat().st_mode & 0o777 == 0o444 and path.read_text(encoding="utf-8") == value
    except (OSError, UnicodeDecodeError):
        return False


def _written(name: str, value: str) -> str:
    try:
        return env_file.quoted(value)
    except ValueError as fault:
        raise Misconfigured(f"{name} cannot be written to .env: {fault}. Choose another value.") from None


def _raw(path: Path) -> dict[str, str]:
    """The variables of `.env` as written there, quotes included."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    pairs = (line.partition("=") for line in text.splitlines() if line and not line.startswith("#") and "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}

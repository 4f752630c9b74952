"""The artefacts of a folder: loaded when their hashes are right, dropped when a byte of them changes."""

from dataclasses import dataclass
from pathlib import Path

from alpha.errors import AlphaError, Rejected
from alpha.logs import logger
from alpha.scoring.local import Session
from alpha.scoring.manifest import MANIFEST, MODEL, SHORT, read_artefact

log = logger(__name__)
_Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that serves, and how its files looked when they were read."""

    session: Session
    stamp: _Stamp


class NotServed(Rejected):
    """A model or version that is not served; `status` is the HTTP status that says so."""

    def __init__(self, message: str, status: int = 404) -> None:
        super().__init__(message)
        self.status = status


class ArtefactStore:
    """What is served, by name and version. `scan` is called from one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[tuple[str, str], Loaded] = {}
        #: Why an artefact of the folder is not served.
        self.faults: dict[tuple[str, str], str] = {}
        self._stamps: dict[tuple[str, str], _Stamp] = {}
        self.scanned = False

    def scan(self) -> None:
        """Load what is new, check again what has changed, drop what is gone."""
        found = {
            (path.parent.parent.name, path.parent.name): path.parent for path in self._folder.glob(f"*/*/{MANIFEST}")
        }
        found = {key: path for key, path in found.items() if not key[1].startswith(".")}
        for key in [key for key in (*self._loaded, *self.faults) if key not in found]:
            self._loaded.pop(key, None)
            self.faults.pop(key, None)
            self._stamps.pop(key, None)
        for key, path in sorted(found.items()):
            stamp = _stamp(path)
            if self._stamps.get(key) == stamp:
                continue
            self._load(key, path, stamp)
        self.scanned = True

    def _load(self, key: tuple[str, str], path: Path, stamp: _Stamp) -> None:
        try:
            session = Session(read_artefact(path))
            if session.manifest.name != key[0]:
                raise Rejected(f"{path} holds a model called {session.manifest.name}.")
        except AlphaError as fault:
            self._loaded.pop(key, None)
            self.faults[key] = str(fault)
            log.error("model_not_served", model=key[0], version=key[1], why=str(fault))
        else:
            self._loaded[key] = Loaded(session, stamp)
            self.faults.pop(key, None)
            log.info("model_served", model=key[0], version=key[1], features=len(session.manifest.features))
        self._stamps[key] = stamp

    @property
    def fault(self) -> str | None:
        """The faults of all artefacts in one text; None without any."""
        return " ".join(self.faults.values()) or None

    def versions(self, name: str) -> list[str]:
        """The versions of a model that serve, in alphabetical order. NotServed without any."""
        found = sorted(version for known, version in self._loaded if known == name)
        if not found:
            damaged = [why for (known, _), why in self.faults.items() if known == name]
            raise NotServed(damaged[0] if damaged else self._unknown(name), 503 if damaged else 404)
        return found

    def find(self, name: str, version: str | None) -> Session:
        """The model with this version (full hash or its first 12 digits), or the one trained on the newest data."""
        if version is None:
            sessions = [self._loaded[name, one].session for one in self.versions(name)]
            return max(sessions, key=lambda one: (one.manifest.trained_to_ms, one.artefact.version))
        key = (name, version[:SHORT])
        loaded = self._loaded.get(key)
        if loaded is None and key in self.faults:
            raise NotServed(self.faults[key], 503)
        if loaded is None or not loaded.session.artefact.version.startswith(version):
            known = [one for model, one in self._loaded if model == name]
            if not known:
                raise NotServed(self._unknown(name))
            raise NotServed(f"The model {name} has no version {version[:64]}. Versions: {', '.join(sorted(known))}.")
        return loaded.session

    def _unknown(self, name: str) -> str:
        names = ", ".join(sorted({known for known, _ in self._loaded})) or "none"
        return f"There is no model {name[:64]!r}. Models: {names}."


def _stamp(path: Path) -> _Stamp:
    try:
        manifest, model = (path / MANIFEST).stat(), (path / MODEL).stat()
    except OSError:
        return (0, 0, 0, 0)
    return (manifest.st_mtime_ns, manifest.st_size, model.st_mtime_ns, model.st_size)

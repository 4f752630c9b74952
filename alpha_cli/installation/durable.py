"""Writes files completely and durably before anything depends on them."""

import os
from pathlib import Path

from alpha.errors import Misconfigured


def write_durably(path: Path, text: str, mode: int) -> None:
    """Write atomically, never readable by more than `mode` allows; synced to disk and read back on return.

    Raises Misconfigured, naming file and remedy, when the system refuses; the previous content is then kept.
    """
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        if draft.read_text(encoding="utf-8") != text:
            raise Misconfigured(f"{draft} does not hold what was written to it. Check the disk; nothing was changed.")
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as fault:
        raise refused(path, fault) from None


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that its entries are durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refused(path: Path, fault: OSError, what: str = "written") -> Misconfigured:
    """The error for an operation that the system refused, with its remedy; `what` could not be done to the file."""
    owner = _strange_owner(path)
    if owner is not None:
        return Misconfigured(
            f"{path} cannot be {what}: {owner} belongs to another user. "
            f'Make it yours, then run this again: sudo chown -R "$(id -u):$(id -g)" {_shown(owner)}'
        )
    return Misconfigured(
        f"{path} cannot be {what}: {fault.strerror or fault}. Mend that, then run this again; nothing is lost."
    )


def _strange_owner(path: Path) -> Path | None:
    """The outermost of the file and its two folders owned by another user, if this user is not root."""
    if os.geteuid() == 0:
        return None
    for place in (path.parent.parent, path.parent, path):
        try:
            if place.lstat().st_uid != os.geteuid() and not os.access(place, os.W_OK):
                return place
        except OSError:
            continue
    return None


def _shown(path: Path) -> str:
    text = str(path)
    return text if text.replace("/", "").replace(".", "").replace("-", "").replace("_", "").isalnum() else f"'{text}'"

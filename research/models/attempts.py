"""How often a model of a name was tried: every training is written down before it begins.

Whoever trains until one passes has tried as often as that, and the limit of the p-value is divided by it. The same
configuration on the same data with the same code gives the same model and is one attempt.
"""

import hashlib
from pathlib import Path

import msgspec

from alpha.errors import Misconfigured

FILE = "attempts.jsonl"


class Attempt(msgspec.Struct, frozen=True):
    """One attempt: hashes of its configuration, data and code."""

    config: str
    data: str
    code: str


def record_attempt(models: Path, name: str, attempt: Attempt) -> int:
    """Write the attempt down; returns how many different ones there are under this name. Misconfigured when it cannot be."""
    path = models / name / FILE
    line = msgspec.json.encode(attempt)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.read_bytes().splitlines() if path.exists() else []
        for number, text in enumerate(known, start=1):
            try:
                msgspec.json.decode(text, type=Attempt)
            except msgspec.DecodeError:
                raise Misconfigured(f"Line {number} of {path} is damaged: it lists the attempts. Restore it.") from None
        if line not in known:
            with path.open("ab") as file:
                file.write(line + b"\n")
            known.append(line)
    except OSError as fault:
        raise Misconfigured(f"{path} cannot be written: {fault.strerror}. It must list this attempt.") from None
    return len(set(known))


def code_hash(root: Path) -> str:
    """Sixteen hex digits of the source that makes features, labels and models."""
    digest = hashlib.sha256()
    for folder in ("alpha/indicators", "alpha/timeframes", "alpha/scoring", "research/models"):
        for path in sorted((root / folder).glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]

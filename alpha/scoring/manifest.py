"""What an artefact says about itself. An artefact is a folder `models/<name>/<version>/`, addressed by hash.

`manifest.json` holds the SHA-256 of `model.onnx`, and the artefact's own hash is the SHA-256 of `manifest.json`: one changed
byte in either is found. The folder is called by the first 12 digits of that hash. Nothing here is ever unpickled.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from alpha.errors import Misconfigured
from alpha.scoring.labels import Label

SHORT = 12
MANIFEST, MODEL, REPORT = "manifest.json", "model.onnx", "report.html"
NAME = re.compile(r"[a-z][a-z0-9_]{1,31}")
_LARGEST = 64 * 1024 * 1024


class FeatureRange(msgspec.Struct, frozen=True):
    """Training values of one feature of one symbol: inner deciles, share of each bin, and the 95th percentile of the
    stability index that windows of `drift_bars` inside training had."""

    deciles: list[float]
    shares: list[float]
    noise: float


class Interval(msgspec.Struct, frozen=True):
    """A figure with its block-bootstrap interval of 95 per cent."""

    value: float
    low: float
    high: float


class Fold(msgspec.Struct, frozen=True):
    """One out-of-sample stretch of the walk-forward: its times, rows and figures, and the hyper-parameters chosen for it."""

    train_to_ms: int
    from_ms: int
    to_ms: int
    rows: int
    auc: float
    log_loss: float
    trades: int
    net: float
    chosen: dict[str, float]
    threshold: float


class Metrics(msgspec.Struct, frozen=True):
    """Out-of-sample figures over all folds. `net` is the sum of the trades' net returns; `hold` buy and hold, in the same unit.

    `base_rate` is the share of labels above zero; `p_value` that of AUC against labels permuted in blocks.
    """

    rows: int
    auc: Interval
    log_loss: Interval
    net: Interval
    hold: float
    trades: int
    base_rate: float
    p_value: float
    permutations: int
    attempts: int
    calibration: list[list[float]]
    folds: list[Fold]


class Reference(msgspec.Struct, frozen=True):
    """Rows of features (float32) and what the model answers to each: replayed before it serves."""

    rows: list[list[float]]
    scores: list[float]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about one trained model. Times are business time in UTC milliseconds; nothing in it depends on the wall clock."""

    name: str
    interval: str
    features: list[str]
    schema: str
    label: Label
    symbols: list[str]
    onnx_sha256: str
    threshold: float
    verdict: str
    why: str
    trained_from_ms: int
    trained_to_ms: int
    expires_hours: int
    shadow_days: int
    drift_bars: int
    data: dict[str, str]
    config_sha256: str
    code: str
    packages: dict[str, str]
    parameters: dict[str, float]
    ranges: dict[str, dict[str, FeatureRange]]
    reference: Reference
    metrics: Metrics

    @property
    def is_null(self) -> bool:
        """True for a model that cannot be told from chance, or does not earn its costs: it cannot be promoted."""
        return self.verdict != "pass"


class Scoreable(Protocol):
    """What is asked of a manifest at every bar."""

    @property
    def name(self) -> str: ...
    @property
    def features(self) -> list[str]: ...
    @property
    def trained_to_ms(self) -> int: ...
    @property
    def expires_hours(self) -> int: ...
    @property
    def drift_bars(self) -> int: ...
    @property
    def ranges(self) -> dict[str, dict[str, FeatureRange]]: ...


@dataclass(frozen=True, slots=True)
class Artefact:
    """One artefact whose hashes were checked. `version` is its full SHA-256, `model` the bytes of model.onnx."""

    version: str
    manifest: Manifest
    model: bytes

    @property
    def short(self) -> str:
        """The first digits of its version: the name of its folder."""
        return self.version[:SHORT]


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def encode(manifest: Manifest) -> bytes:
    """The bytes of manifest.json: the same for the same manifest."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def record_of(manifest: Manifest) -> dict[str, Any]:
    """The manifest as it is put on record: without its reference rows, which only the model server needs."""
    found: dict[str, Any] = msgspec.to_builtins(manifest)
    del found["reference"]
    return found


def decode(content: bytes, source: str) -> Manifest:
    """Read a manifest. Misconfigured, naming `source`, when it is none."""
    try:
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise Misconfigured(f"{source} is not the manifest of a model: {fault}.") from None


def read_artefact(folder: Path, version: str | None = None) -> Artefact:
    """Read `models/<name>/<version>` and check every hash; with `version`, the full or shortened one that is expected.

    Misconfigured names the file whose content is not what it was.
    """
    try:
        text, model = (folder / MANIFEST).read_bytes(), (folder / MODEL).read_bytes()
    except OSError as fault:
        raise Misconfigured(f"The model in {folder} cannot be read: {fault.strerror} ({fault.filename}).") from None
    found = digest(text)
    wanted = folder.name if version is None else version
    if len(wanted) < SHORT or not found.startswith(wanted):
        raise Misconfigured(f"{folder / MANIFEST} was changed: its hash is {found[:SHORT]}, expected {wanted[:SHORT]}.")
    if len(model) > _LARGEST:
        raise Misconfigured(f"{folder / MODEL} has {len(model):,} bytes; {_LARGEST:,} are the most.")
    manifest = decode(text, str(folder / MANIFEST))
    if digest(model) != manifest.onnx_sha256:
        raise Misconfigured(f"{folder / MODEL} was changed: its hash is not the one in its manifest.")
    return Artefact(found, manifest, model)


def find_artefact(models: Path, name: str, version: str) -> Artefact:
    """The artefact of `name` whose hash begins with `version`. Misconfigured when there is none, or more than one."""
    if NAME.fullmatch(name) is None:
        raise Misconfigured(f"A model's name is 2 to 32 small letters, digits or underscores, got {name[:40]!r}.")
    folders = sorted(path for path in (models / name).glob(f"{version[:SHORT]}*") if path.is_dir())
    if len(version) < 4 or len(folders) != 1:
        have = ", ".join(sorted(path.name for path in (models / name).glob("*") if path.is_dir())) or "none"
        raise Misconfigured(f"{models} has no model {name} with the version {version[:SHORT]!r}. Versions: {have}.")
    return read_artefact(folders[0], version if len(version) > SHORT else None)


def write_artefact(models: Path, manifest: Manifest, model: bytes) -> Path:
    """Write an artefact; the folder appears complete or not at all. Returns it."""
    text = encode(manifest)
    folder = models / manifest.name / digest(text)[:SHORT]
    if folder.exists():
        read_artefact(folder)
        return folder
    draft = folder.with_name(f".{folder.name}.new")
    draft.mkdir(parents=True, exist_ok=True)
    (draft / MANIFEST).write_bytes(text)
    (draft / MODEL).write_bytes(model)
    draft.rename(folder)
    return folder

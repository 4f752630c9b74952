"""What can be set about a training: `models/<name>.toml`."""

import hashlib
import itertools
import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from alpha.errors import Misconfigured
from alpha.scoring.features import FeatureSet
from alpha.scoring.labels import Label
from alpha.scoring.manifest import NAME

MEASURED = "measured"


class LabelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`sign`: does a trade of `bars` bars earn more than its costs; `size`: how much; `barrier`: the same as `sign` with a
    target and a stop, fractions of the entry price."""

    kind: Literal["sign", "size", "barrier"] = "sign"
    direction: Literal["long", "short"] = "long"
    bars: int = 12
    target: float = 0.0
    stop: float = 0.0


class CostsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`fee`: the taker's fee, a fraction. `slippage_bps`: basis points for one side, or "measured" from the orders sent so far."""

    fee: float = 0.00055
    slippage_bps: float | str = 1.0


class ValidationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Walk-forward: how many folds, what share of the data only trains, resamples, and bars per block (0: chosen)."""

    folds: int = 5
    first_train: float = 0.4
    resamples: int = 1_000
    block_bars: int = 0
    noise_refits: int = 20


class SearchConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The grid of LightGBM's hyper-parameters from which each fold chooses inside its own training data."""

    num_leaves: list[int] = msgspec.field(default_factory=lambda: [7, 15])
    learning_rate: list[float] = msgspec.field(default_factory=lambda: [0.05])
    rounds: list[int] = msgspec.field(default_factory=lambda: [60, 150])
    min_rows_in_leaf: list[int] = msgspec.field(default_factory=lambda: [200])
    l2: list[float] = msgspec.field(default_factory=lambda: [1.0])

    def grid(self) -> list[dict[str, float]]:
        """Every combination, in a fixed order."""
        names = [field.name for field in msgspec.structs.fields(self)]
        return [
            {name: float(value) for name, value in zip(names, values, strict=True)}
            for values in itertools.product(*(getattr(self, name) for name in names))
        ]


class ServingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How old a model may become, how long its shadow must last before promotion, over how many bars drift is judged."""

    expires_hours: int = 24 * 30
    shadow_days: int = 14
    drift_bars: int = 2_000


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training."""

    name: str
    interval: str
    features: list[str]
    symbols: list[str] = msgspec.field(default_factory=list)
    label: LabelConfig = msgspec.field(default_factory=LabelConfig)
    costs: CostsConfig = msgspec.field(default_factory=CostsConfig)
    validation: ValidationConfig = msgspec.field(default_factory=ValidationConfig)
    search: SearchConfig = msgspec.field(default_factory=SearchConfig)
    serving: ServingConfig = msgspec.field(default_factory=ServingConfig)

    @property
    def sha256(self) -> str:
        """Names this configuration."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    def label_of(self, slippage_bps: float) -> Label:
        """The label, with the costs that are taken off it."""
        own = self.label
        return Label(own.kind, own.direction, own.bars, self.costs.fee, slippage_bps / 10_000, own.target, own.stop)


def read_config(path: Path) -> TrainConfig:
    """Read a training's file. Misconfigured with one sentence: the field, the value, what is allowed."""
    try:
        config = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), TrainConfig, strict=False)
    except FileNotFoundError:
        raise Misconfigured(f"{path} does not exist. docs/models.md shows what is in it.") from None
    except OSError as fault:
        raise Misconfigured(f"{path} cannot be read: {fault.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise Misconfigured(f"{path} is not valid TOML: {fault}.") from None
    except msgspec.ValidationError as fault:
        raise Misconfigured(f"{path}: {fault}.") from None
    check_config(config, str(path))
    return config


def check_config(config: TrainConfig, source: str) -> None:
    """Raise Misconfigured, naming `source`, field and value, unless a model can be trained with this."""
    if NAME.fullmatch(config.name) is None:
        raise Misconfigured(
            f"{source}: name must be 2 to 32 small letters, digits or underscores, got {config.name[:40]!r}."
        )
    FeatureSet(config.features, config.interval)
    own, valid, serving = config.label, config.validation, config.serving
    slippage = config.costs.slippage_bps
    faults = (
        (not 1 <= own.bars <= 1_000, f"label.bars must be 1 to 1000, got {own.bars}"),
        (
            own.kind == "barrier" and not (0 < own.target < 1 and 0 < own.stop < 1),
            f"label.target and label.stop must be fractions between 0 and 1, got {own.target} and {own.stop}",
        ),
        (not 0 <= config.costs.fee < 0.02, f"costs.fee must be a fraction below 0.02, got {config.costs.fee}"),
        (
            isinstance(slippage, str) and slippage != MEASURED,
            f'costs.slippage_bps must be a number or "{MEASURED}", got {slippage!r}',
        ),
        (
            not isinstance(slippage, str) and not 0 <= slippage <= 500,
            f"costs.slippage_bps must be 0 to 500, got {slippage}",
        ),
        (not 2 <= valid.folds <= 50, f"validation.folds must be 2 to 50, got {valid.folds}"),
        (
            not 0.1 <= valid.first_train <= 0.9,
            f"validation.first_train must be 0.1 to 0.9, got {valid.first_train}",
        ),
        (not 200 <= valid.resamples <= 100_000, f"validation.resamples must be 200 to 100000, got {valid.resamples}"),
        (not 0 <= valid.noise_refits <= 200, f"validation.noise_refits must be 0 to 200, got {valid.noise_refits}"),
        (not 0 <= valid.block_bars <= 100_000, f"validation.block_bars must be 0 to 100000, got {valid.block_bars}"),
        (
            0 < valid.block_bars < own.bars + 1,
            f"validation.block_bars must be longer than a trade ({own.bars + 1} bars), got {valid.block_bars}",
        ),
        (not 1 <= len(config.search.grid()) <= 200, "search must have 1 to 200 combinations"),
        (
            not 1 <= serving.expires_hours <= 87_600,
            f"serving.expires_hours must be 1 to 87600, got {serving.expires_hours}",
        ),
        (not 1 <= serving.shadow_days <= 365, f"serving.shadow_days must be 1 to 365, got {serving.shadow_days}"),
        (not 100 <= serving.drift_bars <= 50_000, f"serving.drift_bars must be 100 to 50000, got {serving.drift_bars}"),
    )
    for wrong, what in faults:
        if wrong:
            raise Misconfigured(f"{source}: {what}.")

"""The analysis service's settings."""

from pathlib import Path

from pydantic import Field, field_validator

from alpha.config.exchange import ExchangeSettings
from alpha.config.loader import Names, Symbols
from alpha.config.services import DatabaseSettings, HealthSettings, LogSettings, RedisSettings, RegistrySettings
from alpha.model.interval import INTERVAL_MS


class AnalysisSettings(
    ExchangeSettings, DatabaseSettings, RedisSettings, LogSettings, HealthSettings, RegistrySettings
):
    """Everything the analysis service reads from the environment. All seconds are wall-clock."""

    analysis_file: Path = Field(
        Path(__file__).with_name("analysis.toml"), description="the list of intervals and indicators"
    )
    analysis_symbols: Symbols = Field(
        (), description="symbols to analyse, separated by commas, besides those that the bots follow"
    )
    analysis_retention_days: int = Field(
        90,
        ge=0,
        le=36_500,
        description="days that trading.analysis keeps; whole months are dropped; 0 keeps everything",
    )
    analysis_alerts: Names = Field(
        (),
        description="intervals (5, 60, D ...) whose change of rating raises an alert, separated by commas; none: off",
    )
    analysis_backfill: int = Field(
        100,
        ge=0,
        le=3_000,
        description="candles per symbol and interval that a first start computes besides the newest",
    )
    analysis_check_s: float = Field(
        3_600.0,
        ge=1,
        le=86_400,
        description="seconds between two comparisons of longer candles with the exchange's own",
    )
    analysis_silence_s: float = Field(
        25.0, gt=0, le=120, description="seconds without any frame after which the connection is replaced"
    )
    analysis_start_wait_s: float = Field(
        20.0, ge=0, description="seconds a start waits for Redis before it ends with a sentence"
    )

    @field_validator("analysis_alerts")
    @classmethod
    def _alerts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for interval in value:
            if interval not in INTERVAL_MS:
                raise ValueError(f"{interval!r} is not an interval; choose from {', '.join(INTERVAL_MS)}")
        return value

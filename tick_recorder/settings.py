"""The tick recorder's settings."""

from pathlib import Path

from pydantic import Field, field_validator

from alpha.config.exchange import ExchangeSettings
from alpha.config.loader import Names, Settings, Symbols
from alpha.config.services import DatabaseSettings, HealthSettings, LogSettings, RedisSettings, RegistrySettings
from alpha.influx import InfluxSettings
from tick_recorder.schema import STREAMS, Kind


class TicksDir(Settings):
    """The folder of the tick files."""

    ticks_dir: Path = Field(Path("ticks"), description="the folder of ticks")


class RecorderSettings(
    ExchangeSettings,
    DatabaseSettings,
    RedisSettings,
    LogSettings,
    HealthSettings,
    RegistrySettings,
    TicksDir,
    InfluxSettings,
):
    """Everything the tick recorder reads from the environment. All seconds are wall-clock."""

    ticks_symbols: Symbols = Field(
        (), description="the symbols to record, separated by commas; empty: those that the bots follow"
    )
    ticks_streams: Names = Field(
        (Kind.TRADES.value, Kind.BBO.value),
        description="what to record, separated by commas: trades, bbo, depth, liquidations",
    )
    ticks_depth: int = Field(50, description="the levels of depth to record: 50 or 200")
    ticks_depth_every_ms: int = Field(
        1_000, ge=0, le=3_600_000, description="the milliseconds between two snapshots of depth; 0 records every change"
    )
    ticks_retention_days: int = Field(90, ge=0, le=36_500, description="the days to keep; 0 keeps everything")
    ticks_max_gb: float = Field(
        20.0,
        ge=0,
        description="the total size of the files in GB, above which the oldest hours are deleted; 0: no limit",
    )
    ticks_buffer_mb: int = Field(
        256,
        ge=16,
        le=65_536,
        description="the memory in MB for waiting data; beyond it frames are dropped, which is a gap",
    )
    ticks_part_s: float = Field(
        60.0, ge=0.1, le=60, description="the seconds between two parts, before which no reader sees a row"
    )
    ticks_journal_s: float = Field(
        10.0,
        ge=0.1,
        le=60,
        description="the seconds between two writes to the journal; at most this much is lost if the process is killed",
    )
    ticks_silence_s: float = Field(
        25.0, gt=0, le=120, description="the seconds without any frame after which the connection is replaced"
    )
    influx_check_days: int = Field(
        7,
        ge=0,
        le=3650,
        description="the days compared with the files at startup, and refilled where they differ",
    )
    ticks_start_wait_s: float = Field(
        20.0, ge=0, description="the seconds to wait for Redis at startup before exiting with an error"
    )

    @field_validator("ticks_streams")
    @classmethod
    def _streams(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = [str(kind) for kind in STREAMS]
        for name in value:
            if name not in known:
                raise ValueError(f"{name!r} cannot be recorded; choose from {', '.join(known)}")
        if not value:
            raise ValueError(f"nothing would be recorded; choose from {', '.join(known)}")
        return value

    @field_validator("ticks_depth")
    @classmethod
    def _depth(cls, value: int) -> int:
        if value not in (50, 200):
            raise ValueError("the levels of depth must be 50 or 200")
        return value

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds to record."""
        return tuple(Kind(name) for name in self.ticks_streams)

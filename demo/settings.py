"""Settings of the demo. Every variable is optional."""

import secrets
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import Field

from alpha.config.loader import Settings
from alpha.errors import Misconfigured
from alpha.registry import Registry


class DemoSettings(Settings):
    """Demo settings, read only from the environment: a `.env` with real keys is ignored."""

    demo_seconds: int | None = Field(
        None, ge=1, description="after how many seconds it ends by itself; never when unset"
    )
    demo_replay: Path | None = Field(
        None,
        description="a folder of recorded candles, or of the tick recorder, to trade on, instead of a generated market",
    )
    demo_history: Path | None = Field(
        None,
        description="a folder of candles that lie before the recorded ticks of DEMO_REPLAY, so that bots have what they need at once",
    )
    demo_seed: int = Field(7, ge=0, description="the seed of the generated market")
    demo_speed: int = Field(6_000, ge=1, le=100_000, description="how many times faster than real time the market runs")
    demo_state: Path = Field(Path(".state/demo"), description="where the demo keeps its data")
    demo_postgres_port: int | None = Field(
        None, ge=1, le=65535, description="the port of PostgreSQL; a free one when unset"
    )
    demo_redis_port: int | None = Field(None, ge=1, le=65535, description="the port of Redis; a free one when unset")
    demo_exchange_port: int | None = Field(
        None, ge=1, le=65535, description="the port of the simulated exchange; a free one when unset"
    )
    demo_dashboard_port: int | None = Field(
        None, ge=1, le=65535, description="the port of the dashboard; a free one when unset"
    )
    demo_ticks: bool = Field(False, description="true to record every tick of the demo's market")
    demo_analysis: bool = Field(True, description="false to run the demo without the analysis service")
    demo_model: Literal["", "planted", "ordinary"] = Field(
        "", description="planted or ordinary: a bot with a model, trained on a made market with or without an effect"
    )
    demo_deposit_usdt: int = Field(10_000, ge=1, description="what each account starts with, in USDT")


class DemoSecrets(msgspec.Struct, frozen=True):
    """Generated on the first run and kept in a file that only its owner can read."""

    postgres: str
    redis: str
    roles: dict[str, str]
    keys: dict[str, tuple[str, str]]
    #: A second, read-only key of the same account for each bot.
    reading: dict[str, tuple[str, str]] = {}


def _new_key() -> tuple[str, str]:
    return f"demo{secrets.token_hex(7)}", secrets.token_hex(18)


def secrets_of(folder: Path, roles: tuple[str, ...], registry: Registry) -> DemoSecrets:
    """The passwords and exchange keys of this demo's data folder; missing ones are generated."""
    path = folder / "secrets.json"
    known = DemoSecrets(secrets.token_hex(16), secrets.token_hex(16), {}, {}, {})
    if path.exists():
        try:
            known = msgspec.json.decode(path.read_bytes(), type=DemoSecrets)
        except msgspec.DecodeError:
            raise Misconfigured(f"{path} is damaged. Remove the folder {folder} to start the demo afresh.") from None
    complete = DemoSecrets(
        known.postgres,
        known.redis,
        {role: known.roles.get(role) or secrets.token_hex(16) for role in roles},
        {bot.id: known.keys.get(bot.id) or _new_key() for bot in registry.bots},
        {bot.id: known.reading.get(bot.id) or _new_key() for bot in registry.bots},
    )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(complete))
    return complete

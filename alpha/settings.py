"""Settings: read from the environment and `.env`, checked once at the start, frozen.

Every variable may come as `NAME` or, for secrets in files, as `NAME_FILE` with the path of a file that
holds the value. A service's settings are a class that inherits the groups it needs:

    class ListenerSettings(ExchangeSettings, DatabaseSettings, RedisSettings, LogSettings, HealthSettings): ...
    settings = load(ListenerSettings)
"""

import os
import re
import unicodedata
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from alpha.env_file import invisible
from alpha.errors import Misconfigured
from alpha.registry import Bot


class Environment(StrEnum):
    """Where an account lives. Accounts of different environments never mix."""

    LIVE = "live"
    DEMO = "demo"
    TESTNET = "testnet"
    SIMULATED = "simulated"


#: Where containers see the secrets that are given to them, one file each, named like the variable in lower case.
CONTAINER_SECRETS = Path("/run/secrets")


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads secrets from files: `NAME_FILE` names the file, else it is `/run/secrets/<name>` where that exists."""

    def __init__(self, settings_cls: type[BaseSettings], environment: EnvSettingsSource, dotenv: DotEnvSettingsSource):
        super().__init__(settings_cls)
        self._variables = {**dotenv.env_vars, **environment.env_vars}
        self._prefix = environment.env_prefix

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{self._prefix}{field_name}".lower()
        named = self._variables.get(f"{variable}_file")
        path = Path(named) if named else CONTAINER_SECRETS / variable
        if not named and (not _is_secret(field) or not path.is_file()):
            return None, field_name, False
        try:
            return path.read_text(encoding="utf-8").strip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as fault:
            reason = getattr(fault, "strerror", None) or "it is not text"
            raise Misconfigured(f"{variable.upper()}_FILE names {path}, which cannot be read: {reason}.") from None

    def __call__(self) -> dict[str, Any]:
        values = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, _ = self.get_field_value(field, name)
            if value:
                values[name] = value
        return values


def _is_secret(field: FieldInfo) -> bool:
    kinds = get_args(field.annotation) or (field.annotation,)
    return any(kind is SecretStr or SecretStr in get_args(kind) for kind in kinds)


class Settings(BaseSettings):
    """The base of all settings: frozen, unknown variables ignored, empty ones count as absent."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", frozen=True
    )

    @field_validator("*", mode="after")
    @classmethod
    def _typed_by_hand(cls, value: Any) -> Any:
        """A pasted secret brings characters that nobody sees; what refuses it later would blame somebody else."""
        if isinstance(value, SecretStr) and (hidden := invisible(value.get_secret_value())) is not None:
            raise ValueError(f"holds an invisible character ({hidden}). Paste it anew, or type it")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then files named by `NAME_FILE`, then `.env`."""
        if not isinstance(env_settings, EnvSettingsSource) or not isinstance(dotenv_settings, DotEnvSettingsSource):
            raise TypeError("pydantic-settings changed its sources")
        return init_settings, env_settings, _SecretFiles(settings_cls, env_settings, dotenv_settings), dotenv_settings


S = TypeVar("S", bound=Settings)


class _Default:
    """Stands for the file that `alpha --env-file` names, `.env` without one."""


DEFAULT = _Default()
EnvFile = Path | _Default | None


def chosen_env_file() -> Path:
    """The file of settings beside the environment: what `alpha --env-file` names, else `.env` here."""
    return Path(os.environ.get("ALPHA_ENV_FILE") or ".env")


def env_file_in(folder: Path) -> Path:
    """The file of settings of the checkout `folder`: what `alpha --env-file` names, else its `.env`."""
    return chosen_env_file() if os.environ.get("ALPHA_ENV_FILE") else folder / ".env"


def load(kind: type[S], *, prefix: str = "", env_file: EnvFile = DEFAULT, **values: object) -> S:
    """Read settings of this kind. `prefix` starts every variable's name; `values` go before all else.

    `env_file` is read beside the environment: by default the one that `alpha --env-file` names, none when None.

    Raises Misconfigured with one line a fault: the variable, what is wrong, what is allowed.
    """
    if isinstance(env_file, _Default):
        env_file = chosen_env_file()
    arguments: dict[str, Any] = {"_env_file": env_file, "_env_prefix": prefix, **values}
    try:
        return kind(**arguments)
    except ValidationError as fault:
        raise Misconfigured("\n".join(_lines(kind, prefix, fault, env_file))) from None
    except ValueError as fault:
        raise Misconfigured(f"The settings cannot be read: {fault}.") from None


def _lines(kind: type[Settings], prefix: str, fault: ValidationError, env_file: Path | None) -> list[str]:
    lines = []
    for error in fault.errors(include_url=False):
        if not error["loc"]:
            lines.append(str(error["ctx"]["error"]) if "ctx" in error else error["msg"])
            continue
        field = str(error["loc"][0])
        variable = f"{prefix}{field}".upper()
        description = (kind.model_fields[field].description or "").rstrip(".") if field in kind.model_fields else ""
        hint = f" It is {description[:1].lower()}{description[1:]}." if description else ""
        if error["type"] == "missing":
            absent = "" if env_file is None or env_file.exists() else f" There is no {env_file} here: run 'alpha init'."
            lines.append(f"{variable} is not set.{hint} Put it into .env.{absent}")
            continue
        secret = field in kind.model_fields and _is_secret(kind.model_fields[field])
        given = "" if secret else f" is {error['input']!r}:"
        message = _in_words(error)
        lines.append(f"{variable}{given} {message[:1].lower()}{message[1:].rstrip('.')}.{hint}")
    return lines


_WHOLE = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
#: A form to what it looks like, for whoever reads no regular expressions.
_FORMS = {
    "^https?://": "must begin with http:// or https://",
    "^wss?://": "must begin with ws:// or wss://",
    r"^\d+(\.\d+)?$": "must be a number such as 250 or 250.5",
}


def _in_words(error: Any) -> str:
    """One fault of pydantic as a person says it."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "string_pattern_mismatch":
        form = str(error["ctx"]["pattern"])
        said = _FORMS.get(form, "has not the right form")
        return f"{said}; write it without commas" if _WHOLE.fullmatch(str(error["input"])) else said
    if isinstance(error["input"], str) and _WHOLE.fullmatch(error["input"].strip()):
        return "write numbers without commas, with a point before decimals"
    return str(error["msg"])


def _ascii(secret: SecretStr) -> SecretStr:
    """Keys go into HTTP headers: anything but printable ASCII is a slip of the hand."""
    for place, character in enumerate(secret.get_secret_value(), start=1):
        if not "!" <= character <= "~":
            name = unicodedata.name(character, f"U+{ord(character):04X}")
            raise ValueError(f"holds {name} at position {place}, which no key has. Copy the key anew")
    return secret


#: A key or secret of the exchange.
KeyText = Annotated[SecretStr, AfterValidator(_ascii)]


def _names(text: object) -> object:
    """A comma-separated text as a tuple of names."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if isinstance(text, str) else text


def _no_trailing_slash(url: str) -> str:
    return url.rstrip("/")


Url = Annotated[str, AfterValidator(_no_trailing_slash)]


class ExchangeSettings(Settings):
    """Which exchange: Bybit's live, demo or testnet, or a simulated one; and whether real money may move."""

    bybit_demo: bool = Field(True, description="true for Bybit's demo trading, false otherwise")
    bybit_testnet: bool = Field(False, description="true for Bybit's testnet, false otherwise")
    bybit_rest_url: Url | None = Field(
        None, description="The REST address of a simulated exchange", pattern="^https?://"
    )
    bybit_ws_url: Url | None = Field(
        None, description="The WebSocket address of a simulated exchange", pattern="^wss?://"
    )
    alpha_live_trading: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="the ids of the bots that may trade real money, separated by commas"
    )
    alpha_live_max_order_usdt: str | None = Field(
        None, description="The largest order in USDT that may be sent with real money", pattern=r"^\d+(\.\d+)?$"
    )

    @model_validator(mode="before")
    @classmethod
    def _split_names(cls, data: Any) -> Any:
        if isinstance(data, dict) and "alpha_live_trading" in data:
            data = {**data, "alpha_live_trading": _names(data["alpha_live_trading"])}
        return data

    @model_validator(mode="after")
    def _one_exchange(self) -> "ExchangeSettings":
        if (self.bybit_rest_url is None) != (self.bybit_ws_url is None):
            raise ValueError(
                "BYBIT_REST_URL and BYBIT_WS_URL belong together: set both for a simulated exchange, or neither for Bybit."
            )
        if self.bybit_rest_url is None and self.bybit_demo and self.bybit_testnet:
            raise ValueError(
                "BYBIT_DEMO and BYBIT_TESTNET are both true, and no exchange is both. Set one of them to false."
            )
        for name, url in (("BYBIT_REST_URL", self.bybit_rest_url), ("BYBIT_WS_URL", self.bybit_ws_url)):
            if url is not None and _is_bybit(url):
                raise ValueError(
                    f"{name} names {url}, a host of Bybit. It is for a simulated exchange only: "
                    "remove it and choose Bybit with BYBIT_DEMO and BYBIT_TESTNET."
                )
        return self

    def environment(self, *, demo: bool | None = None) -> Environment:
        """The environment of a bot. `demo` is the bot's own `<PREFIX>_BYBIT_DEMO`, which goes before BYBIT_DEMO."""
        if self.bybit_rest_url is not None:
            return Environment.SIMULATED
        if self.bybit_testnet:
            return Environment.TESTNET
        return Environment.DEMO if (self.bybit_demo if demo is None else demo) else Environment.LIVE


#: Bybit's own domains (developer documentation, "Integration Guidance"): never a simulated exchange.
BYBIT_DOMAINS = ("bybit", "bytick", "bybitgeorgia", "manepa")


def _is_bybit(url: str) -> bool:
    """True when any part of `url` that could be taken for a host lies under a domain of Bybit, whatever the country."""
    labels = re.split(r"[^a-z0-9-]+", url.lower())
    return any(label in BYBIT_DOMAINS or label.startswith("bybit") for label in labels)


class BotKeys(Settings):
    """The exchange keys of one bot; its prefix starts their variables."""

    bybit_api_key: KeyText = Field(description="the API key of this bot's account")
    bybit_api_secret: KeyText = Field(description="the API secret of this bot's account")
    bybit_demo: bool | None = Field(None, description="true or false when this bot differs from BYBIT_DEMO")


class ReadingKeys(Settings):
    """The second exchange key of one bot, made with Read-Only, for who only reads; its prefix starts its variables."""

    bybit_read_api_key: KeyText | None = Field(
        None, description="a second API key of this bot's account that only reads, for the listener and the trade sync"
    )
    bybit_read_api_secret: KeyText | None = Field(None, description="the API secret of the key that only reads")


def load_keys(bot: Bot, *, env_file: EnvFile = DEFAULT) -> BotKeys:
    """The key of `bot` that trades; Misconfigured names the variable that is missing."""
    return load(BotKeys, prefix=f"{bot.prefix}_", env_file=env_file)


def has_reading_key(bot: Bot, *, env_file: EnvFile = DEFAULT) -> bool:
    """True when a key of its own is set for who only reads, whatever it may do."""
    return load(ReadingKeys, prefix=f"{bot.prefix}_", env_file=env_file).bybit_read_api_key is not None


def load_reading_keys(bot: Bot, *, env_file: EnvFile = DEFAULT) -> BotKeys:
    """The key of `bot` for who only reads: its read-only key, or where there is none the key that trades.

    Misconfigured when there is neither, or a key without its secret.
    """
    reading = load(ReadingKeys, prefix=f"{bot.prefix}_", env_file=env_file)
    key, secret = reading.bybit_read_api_key, reading.bybit_read_api_secret
    if key is None and secret is None:
        try:
            return load_keys(bot, env_file=env_file)
        except Misconfigured:
            if _is_begun(bot, env_file):
                raise
            raise Misconfigured(
                f"{bot.id} has no key to read with. Set {bot.read_key_variable} and {bot.read_secret_variable}: "
                "a key of its account made with Read-Only."
            ) from None
    if key is None or secret is None:
        missing = bot.read_key_variable if key is None else bot.read_secret_variable
        raise Misconfigured(f"{missing} is not set: a key and its secret belong together. Put it beside the other.")
    return load(BotKeys, prefix=f"{bot.prefix}_", env_file=env_file, bybit_api_key=key, bybit_api_secret=secret)


def load_guarding_keys(bot: Bot, *, env_file: EnvFile = DEFAULT) -> tuple[BotKeys, bool]:
    """The key of `bot` for its guard, and whether it is the one that trades; a bot without one is observed by its other.

    Misconfigured when there is neither, or a key without its secret.
    """
    try:
        return load_keys(bot, env_file=env_file), True
    except Misconfigured:
        if _is_begun(bot, env_file):
            raise
        return load_reading_keys(bot, env_file=env_file), False


def read_only_advice(bot: Bot) -> str:
    """What to do where who only reads holds a key that may trade."""
    return (
        f"Make a second key of this account with Read-Only, then: alpha key {bot.container} --read-only. "
        "Until then whoever gets into the listener or the trade sync can trade."
    )


class _GivenKeys(Settings):
    bybit_api_key: SecretStr | None = None
    bybit_api_secret: SecretStr | None = None


def _is_begun(bot: Bot, env_file: EnvFile) -> bool:
    """True when a part of the key that trades is set: what is missing of it is then a mistake, and no choice."""
    given = load(_GivenKeys, prefix=f"{bot.prefix}_", env_file=env_file)
    return given.bybit_api_key is not None or given.bybit_api_secret is not None


def refuse_live(settings: ExchangeSettings, keys: BotKeys, bot: Bot) -> None:
    """Raise Misconfigured when this bot would trade real money without the operator's confirmation."""
    if settings.bybit_testnet and keys.bybit_demo:
        raise Misconfigured(
            f"{bot.prefix}_BYBIT_DEMO and BYBIT_TESTNET are both true, and no exchange is both. Set one of them to false."
        )
    if settings.environment(demo=keys.bybit_demo) is not Environment.LIVE:
        return
    if bot.id not in settings.alpha_live_trading:
        raise Misconfigured(
            f"{bot.id} would trade real money (BYBIT_DEMO=false), but ALPHA_LIVE_TRADING does not name it. "
            f"Add {bot.id} to ALPHA_LIVE_TRADING, or set BYBIT_DEMO=true."
        )
    if settings.alpha_live_max_order_usdt is None:
        raise Misconfigured(
            "ALPHA_LIVE_MAX_ORDER_USDT is not set. Real money needs a largest order in USDT: put it into .env."
        )


class DatabaseSettings(Settings):
    """Where PostgreSQL (or PgBouncer in front of it) answers, and as whom."""

    postgres_host: str = Field("127.0.0.1", description="the host of PostgreSQL or PgBouncer")
    postgres_port: int = Field(6432, ge=1, le=65535, description="the port: 6432 for PgBouncer, 5432 for PostgreSQL")
    postgres_db: str = Field("trading_db", description="the name of the database")
    postgres_user: str = Field("trading_user", description="the role of this service")
    postgres_password: SecretStr = Field(description="the password of this role")


class RedisSettings(Settings):
    """Where Redis answers, and as whom."""

    redis_host: str = Field("127.0.0.1", description="the host of Redis")
    redis_port: int = Field(6379, ge=1, le=65535, description="the port of Redis")
    redis_username: str = Field("default", description="the Redis user of this service")
    redis_password: SecretStr = Field(description="the password of this Redis user")


class LogSettings(Settings):
    """How much is logged, and where."""

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _in_any_case(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="json, console, or auto: readable on a terminal, JSON elsewhere"
    )
    log_dir: Path | None = Field(None, description="a folder for rotated log files; none when empty")


class HealthSettings(Settings):
    """Where /healthz and /metrics answer."""

    health_host: str = Field("127.0.0.1", description="the address to listen on")
    health_port: int = Field(0, ge=0, le=65535, description="the port to listen on; 0 chooses a free one")


class HouseSettings(Settings):
    """Where the house itself stands."""

    alpha_bots_file: Path = Field(Path("bots.toml"), description="the registry of bots")


def running_in_container() -> bool:
    """True inside a container."""
    return os.path.exists("/.dockerenv")

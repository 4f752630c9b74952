"""Loads settings from the environment, `.env` and secret files; every fault names the variable and the remedy."""

import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from alpha.config.env_file import invisible
from alpha.errors import Misconfigured, inside, shown
from alpha.model.money import usual_or_refused

#: Where containers find their secrets, one file each, named like the variable in lower case.
CONTAINER_SECRETS = Path("/run/secrets")
_SYMBOL = re.compile(r"[A-Z0-9-]{2,32}")


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads secrets from files: the one named by `NAME_FILE`, otherwise `/run/secrets/<name>` if it exists."""

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


_NUMBERS = (int, float, Decimal, int | None, float | None, Decimal | None)


_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")


class Settings(BaseSettings):
    """The base of all settings: frozen; unknown variables are ignored, empty ones count as absent."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _as_people_write(cls, value: Any, info: ValidationInfo) -> Any:
        """Accept `INFO` for `info` among fixed choices, and `1,000` for `1000` in numbers."""
        field = cls.model_fields.get(info.field_name or "")
        if not isinstance(value, str) or field is None:
            return value
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        if choices and value.strip().lower() in choices:
            return value.strip().lower()
        if field.annotation in _NUMBERS and _THOUSANDS.fullmatch(value.strip()):
            return value.replace(",", "").strip()
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _typed_by_hand(cls, value: Any) -> Any:
        """Refuse invisible characters in a pasted secret here; a later refusal would blame something else."""
        if isinstance(value, SecretStr) and (hidden := invisible(value.get_secret_value())) is not None:
            raise ValueError(f"holds an invisible character ({hidden}). Paste it again, or type it")
        return usual_or_refused(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Precedence: arguments, the environment, files named by `NAME_FILE`, then `.env`."""
        if not isinstance(env_settings, EnvSettingsSource) or not isinstance(dotenv_settings, DotEnvSettingsSource):
            raise TypeError("pydantic-settings changed its sources")
        return init_settings, env_settings, _SecretFiles(settings_cls, env_settings, dotenv_settings), dotenv_settings


S = TypeVar("S", bound=Settings)


class _Default:
    """Sentinel for the file named by `alpha --env-file`, or `.env` without that option."""


DEFAULT = _Default()


EnvFile = Path | _Default | None


def chosen_env_file() -> Path:
    """The settings file in use: the one named by `alpha --env-file`, otherwise `.env` in the working directory."""
    return Path(os.environ.get("ALPHA_ENV_FILE") or ".env")


def env_file_in(folder: Path) -> Path:
    """The settings file of the checkout `folder`: the one named by `alpha --env-file`, otherwise its `.env`."""
    return chosen_env_file() if os.environ.get("ALPHA_ENV_FILE") else folder / ".env"


def load(kind: type[S], *, prefix: str = "", env_file: EnvFile = DEFAULT, **values: object) -> S:
    """Load settings of this class. `prefix` starts every variable's name; `values` override all sources.

    `env_file` is read in addition to the environment: by default `chosen_env_file()`; None reads no file.

    Raises Misconfigured with one line per fault: the variable, what is wrong, what is allowed.
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
        hint = f" It is {inside(description)}." if description else ""
        if error["type"] == "missing":
            absent = "" if env_file is None or env_file.exists() else f" There is no {env_file} here: run 'alpha init'."
            lines.append(f"{variable} is not set.{hint} Put it into .env.{absent}")
            continue
        secret = field in kind.model_fields and _is_secret(kind.model_fields[field])
        message = inside(_in_words(error)).rstrip(".")
        value = "" if secret else shown(_as_written(error["input"]))
        # a message that begins with the value needs it no second time
        given = "" if secret else ":" if message.startswith(value) else f" is {value}:"
        lines.append(f"{variable}{given} {message}.{hint}")
    return lines


def _as_written(value: object) -> object:
    """A list as people write it: its items, separated by commas."""
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else value


_WHOLE = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")


#: Regular expression to a readable description of the format.
_FORMS = {
    "^https?://": "must begin with http:// or https://",
    "^wss?://": "must begin with ws:// or wss://",
    r"^\d+(\.\d+)?$": "must be a number such as 250 or 250.5",
}


def _in_words(error: Any) -> str:
    """One pydantic error as a readable sentence."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "string_pattern_mismatch":
        form = str(error["ctx"]["pattern"])
        said = _FORMS.get(form, "has not the right form")
        return f"{said}; write it without commas" if _WHOLE.fullmatch(str(error["input"])) else said
    if isinstance(error["input"], str) and _WHOLE.fullmatch(error["input"].strip()):
        return "write numbers without commas, with a point before decimals"
    return str(error["msg"])


def comma_separated(text: object) -> object:
    """A comma-separated string as a tuple of its parts, each once, in their order."""
    if not isinstance(text, str):
        return text
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _are_symbols(names: tuple[str, ...]) -> tuple[str, ...]:
    for symbol in names:
        if not _SYMBOL.fullmatch(symbol):
            raise ValueError(f"{symbol!r} cannot be a symbol; symbols look like BTCUSDT")
    return names


def no_trailing_slash(url: str) -> str:
    return url.rstrip("/")


Url = Annotated[str, AfterValidator(no_trailing_slash)]
#: Names separated by commas.
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_separated)]
#: Symbols separated by commas.
Symbols = Annotated[Names, AfterValidator(_are_symbols)]


def running_in_container() -> bool:
    """True inside a container."""
    return os.path.exists("/.dockerenv")

"""Parameters of a strategy from the environment and from `--set key=value`."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from dotenv import dotenv_values
from pydantic import ValidationError

from alpha.errors import Misconfigured, inside, shown
from alpha.strategy.base import Parameters

P = TypeVar("P", bound=Parameters)


def load_parameters(
    kind: type[P],
    *,
    environment: Mapping[str, str] | None = None,
    prefix: str = "",
    overrides: Mapping[str, str] | None = None,
) -> P:
    """The parameters of `kind`: defaults, then `<PREFIX>_PARAMETERS` (one JSON object) of `environment`, then its
    variables `<PREFIX>_<FIELD>`, then `overrides`.

    Values are texts; tables and lists are written as JSON. Raises Misconfigured with one line a fault that names the
    variable or key, what is wrong and what it is.
    """
    values, sources = _all_in_one(kind, environment or {}, f"{prefix}_PARAMETERS".upper().lstrip("_"))
    for name in kind.model_fields:
        variable = f"{prefix}_{name}".upper().lstrip("_")
        text = (environment or {}).get(variable, "")
        if text:
            values[name] = _value(text)
            sources[name] = variable
    for name, text in (overrides or {}).items():
        if name not in kind.model_fields:
            raise Misconfigured(
                f"There is no parameter {shown(name)}. The parameters are: {', '.join(kind.model_fields)}."
            )
        values[name] = _value(text)
        sources[name] = name
    try:
        return kind.model_validate(values)
    except ValidationError as fault:
        lines = []
        for error in fault.errors(include_url=False):
            field = str(error["loc"][0]) if error["loc"] else ""
            about = kind.model_fields[field].description if field in kind.model_fields else None
            hint = f" It is {inside(about).rstrip('.')}." if about else ""
            named = sources.get(field, field) or "The parameters"
            message = str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
            given = f" is {shown(error['input'])}:" if field else ""
            lines.append(f"{named}{given} {inside(message).rstrip('.')}.{hint}")
        raise Misconfigured("\n".join(lines)) from None


def _all_in_one(
    kind: type[Parameters], environment: Mapping[str, str], variable: str
) -> tuple[dict[str, object], dict[str, str]]:
    """The values of the variable that holds all parameters, and where each came from."""
    text = environment.get(variable, "")
    if not text:
        return {}, {}
    try:
        found = json.loads(text, parse_float=str)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Misconfigured(f'{variable} must be a JSON object such as {{"name": 1}}, not {shown(text)}.')
    for name in found:
        if name not in kind.model_fields:
            raise Misconfigured(
                f"{variable} names {name!r}, which is not a parameter. The parameters are: {', '.join(kind.model_fields)}."
            )
    return found, dict.fromkeys(found, variable)


def parse_overrides(items: list[str]) -> dict[str, str]:
    """`["key=value", ...]` as a mapping. Raises Misconfigured for an item without "="."""
    overrides: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise Misconfigured(f"--set {item!r} must be written key=value.")
        overrides[key.strip()] = value.strip()
    return overrides


def _value(text: str) -> object:
    """A JSON table or list as what it is; every other text stays a text, which the field's type reads."""
    if text.lstrip()[:1] in {"{", "["}:
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    return text


def read_environment(env_file: Path) -> dict[str, str]:
    """All variables of `.env` and of the environment; the environment goes first."""
    values = dotenv_values(env_file) if env_file.is_file() else {}
    return {name: value for name, value in values.items() if value is not None} | dict(os.environ)

"""Query parameters that cannot be answered: each is refused in one sentence that names it, its value and what is allowed."""

from collections.abc import Mapping
from typing import Any

from fastapi import Request, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute

from alpha.errors import Rejected

_MOST_SHOWN = 60
_ALLOWED = {
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "string_type": "text",
    "bool_parsing": "true or false",
    "string_too_long": "at most {max_length} characters long",
    "string_pattern_mismatch": "text without control characters",
}


def sentence(fault: Mapping[str, Any]) -> str:
    """One sentence for one of pydantic's faults of a parameter."""
    name, context = str(fault["loc"][-1]), fault.get("ctx", {})
    if name == "trade_id":
        allowed = "ten hexadecimal digits, or 1 for the last trade up to 999"
    else:
        allowed = _ALLOWED.get(fault["type"], "").format(**context)
    shown = repr(fault.get("input"))
    shown = shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}..."
    return f"The parameter {name} is {shown}: {f'it must be {allowed}' if allowed else fault['msg']}."


async def known_parameters(request: Request) -> None:
    """A dependency: refuses parameters that the endpoint does not have, and those that are given twice."""
    route = request.scope["route"]
    known = _names(route) if isinstance(route, APIRoute) else []
    given: set[str] = set()
    for name, value in request.query_params.multi_items():
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise Rejected(f"There is no parameter {name!r:.62} in {request.url.path:.100}: {has}.")
        if name in given:
            raise Rejected(f"The parameter {name} is given twice, last as {value!r:.62}: give it once.")
        given.add(name)


def _names(route: APIRoute) -> list[str]:
    return [each.alias for each in get_flat_params(route.dependant) if isinstance(each.field_info, params.Query)]

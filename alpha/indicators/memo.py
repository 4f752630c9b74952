"""Indicators remembered across the back-tests of a sweep: the same function of the same arrays is computed once.

Off unless somebody turns it on (`remembered()`), so that a live process pays and keeps nothing. Arrays are told apart by
identity; an entry keeps its arrays alive, so that an identity is never used twice.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")
MOST_BYTES = 1 << 29


class Memo:
    """Results by function and arguments, the oldest dropped first beyond `most` bytes."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most = most
        self.bytes = 0
        self.hits = 0
        self._known: OrderedDict[Any, tuple[Any, tuple[Any, ...], int]] = OrderedDict()

    def get(self, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The result, computed when it is not known."""
        given = (*arguments, *(value for _, value in sorted(named.items())))
        key = (function, tuple(sorted(named)), tuple(id(one) if isinstance(one, np.ndarray) else one for one in given))
        found = self._known.get(key)
        if found is not None:
            self.hits += 1
            self._known.move_to_end(key)
            return found[0]
        result = function(*arguments, **named)
        size = _bytes_of(result)
        self._known[key] = (result, given, size)
        self.bytes += size
        while self.bytes > self.most and len(self._known) > 1:
            self.bytes -= self._known.popitem(last=False)[1][2]
        return result


_ACTIVE: list[Memo] = []


@contextmanager
def remembered(most: int = MOST_BYTES) -> Iterator[Memo]:
    """Within this, indicators are computed once for the same arrays. Nobody may change an array meanwhile."""
    memo = Memo(most)
    _ACTIVE.append(memo)
    try:
        yield memo
    finally:
        _ACTIVE.remove(memo)


def memoised(function: Callable[P, R]) -> Callable[P, R]:
    """Let `remembered` know this pure function of arrays and numbers."""

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        if not _ACTIVE:
            return function(*args, **kwargs)
        found: R = _ACTIVE[-1].get(function, args, kwargs)
        return found

    return called


def _bytes_of(result: Any) -> int:
    if isinstance(result, np.ndarray):
        return result.nbytes
    if isinstance(result, tuple):
        return sum(_bytes_of(one) for one in result)
    return 64

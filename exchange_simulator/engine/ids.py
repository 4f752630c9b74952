"""Ids that depend only on a seed, so that identical runs produce identical ids."""

from hashlib import blake2b


class IdSource:
    """UUID-shaped ids: `new(scope)` counts per scope, so that one account's ids do not depend on another's activity."""

    def __init__(self, seed: int, counters: dict[str, int] | None = None) -> None:
        self._seed = str(seed)
        self.counters: dict[str, int] = dict(counters or {})

    def new(self, scope: str) -> str:
        count = self.counters.get(scope, 0) + 1
        self.counters[scope] = count
        text = blake2b(f"{self._seed}/{scope}/{count}".encode(), digest_size=16).hexdigest()
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

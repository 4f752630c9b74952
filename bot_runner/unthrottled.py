"""No request budget: for a step clock, where business time waits for the bot."""

from alpha.bybit.endpoints import Endpoint
from alpha.bybit.rate_limiter import Priority, RateLimiter


class NoLimit(RateLimiter):
    """Grants every call at once. The exchange must run without rate limits."""

    def __init__(self) -> None:
        super().__init__(None)

    async def acquire(self, account: str, endpoint: Endpoint, rank: Priority, *, wait_s: float = 30.0) -> None:
        """Granted."""

"""How the exchanges differ that Alpha runs on: everything a service may ask, so that none asks which one it is."""

from dataclasses import dataclass

from alpha.model.account import Environment


@dataclass(frozen=True, slots=True)
class ExchangeProfile:
    """One kind of exchange.

    `on_wall_time`: its clock is the world's; a simulated market runs on its own, thousands of times faster.
    `stamp_ms`: how much later than its content it may stamp an answer.
    `maintenance_every_s`: how often announced maintenance is asked for.
    `has_sites`: a key that one site refuses may belong to another.
    """

    on_wall_time: bool = True
    stamp_ms: int = 1_000
    maintenance_every_s: float = 60.0
    has_sites: bool = True

    def orders_per_minute(self, most: int) -> int:
        """The cap of orders per minute; on a market that runs faster than the world there is practically none."""
        return most if self.on_wall_time else 1_000_000


BYBIT = ExchangeProfile()
SIMULATED = ExchangeProfile(on_wall_time=False, stamp_ms=0, maintenance_every_s=5.0, has_sites=False)


def profile_of(environment: Environment) -> ExchangeProfile:
    """The profile of the exchange that an environment is on."""
    return SIMULATED if environment is Environment.SIMULATED else BYBIT

"""Which symbols are followed now."""

from alpha.bybit.client import Gateway
from alpha.errors import Misconfigured, Retry
from alpha.logs import logger
from alpha.model.instrument import Instrument
from alpha.strategy.base import Universe
from alpha.strategy.core import takes_entries

log = logger(__name__)


async def followed(universe: Universe, gateway: Gateway, instruments: dict[str, Instrument]) -> tuple[str, ...]:
    """The universe's symbols that exist; by turnover where it names none, in the order of their names.

    One that the exchange does not list (any more) is left out with a warning: a delisting must not keep a bot from
    managing its other positions. Misconfigured when none is left.
    """
    if universe.symbols:
        known = tuple(symbol for symbol in universe.symbols if symbol in instruments)
        missing = [symbol for symbol in universe.symbols if symbol not in instruments]
        if not known:
            raise Misconfigured(
                f"The exchange has none of the strategy's symbols ({', '.join(missing)}). Check the strategy's symbols."
            )
        if missing:
            log.warning("symbols_left_out", symbols=missing, why="the exchange has no such USDT perpetual")
        return known
    tickers = await gateway.tickers()
    found = tuple(
        sorted(
            symbol
            for symbol, ticker in tickers.items()
            if ticker.turnover_24h is not None
            and ticker.turnover_24h > universe.min_turnover_usdt
            and symbol in instruments
            and takes_entries(instruments[symbol])
        )
    )
    if not found:
        raise Retry(f"No symbol has a turnover above {universe.min_turnover_usdt} USDT; it is looked at again.")
    return found

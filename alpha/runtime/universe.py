"""Which symbols are followed now."""

from alpha.bybit.gateway import Gateway
from alpha.bybit.rows import Instrument
from alpha.errors import Misconfigured
from alpha.strategy.contract import Universe
from alpha.strategy.core import takes_entries


async def followed(universe: Universe, gateway: Gateway, instruments: dict[str, Instrument]) -> tuple[str, ...]:
    """The universe's symbols that exist; by turnover where it names none, in the order of their names.

    Misconfigured, naming the symbol, for a listed one that the exchange does not have.
    """
    if universe.symbols:
        for symbol in universe.symbols:
            if symbol not in instruments:
                raise Misconfigured(
                    f"The exchange has no USDT perpetual {symbol}. Take it out of the strategy's symbols."
                )
        return universe.symbols
    tickers = await gateway.tickers()
    return tuple(
        sorted(
            symbol
            for symbol, ticker in tickers.items()
            if ticker.turnover_24h is not None
            and ticker.turnover_24h > universe.min_turnover_usdt
            and symbol in instruments
            and takes_entries(instruments[symbol])
        )
    )

"""`python -m exchange_simulator`: starts the exchange and prints its addresses."""

import asyncio
import os
import signal
import sys

import uvloop

from exchange_simulator.app import App
from exchange_simulator.exchange import Exchange
from exchange_simulator.market.model import LiveMarket, MarketError
from exchange_simulator.market.ticks import TickMarket
from exchange_simulator.options import BadOption, Options, parse
from exchange_simulator.storage import StorageError


async def serve(options: Options) -> None:
    """Runs until SIGTERM or Ctrl-C. Raises `OSError` when the port is in use."""
    if isinstance(options.market, LiveMarket):
        await options.market.start()
    exchange = Exchange(options.market, options.keys, options.setup)
    app = App(exchange)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await app.start(options.host, options.port)
    except OSError:
        exchange.close()
        raise
    host = f"[{options.host}]" if ":" in options.host else options.host
    sys.stdout.write(f"REST http://{host}:{app.port}\nWS   ws://{host}:{app.port}\n")
    sys.stdout.flush()
    if isinstance(options.market, TickMarket) and (gaps := options.market.gaps()):
        named = ", ".join(f"{symbol} {count}" for symbol, count in gaps.items())
        sys.stderr.write(
            f"The recording has gaps, over which prices stand still: {named}. alpha ticks ls --gaps lists them.\n"
        )
    failed = asyncio.create_task(app.wait())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((failed, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    error = failed.exception() if failed.done() else None
    failed.cancel()
    if isinstance(options.market, LiveMarket):
        await options.market.close()
    await app.stop()
    if error is not None:
        raise error


def main() -> int:
    """Returns the exit code: 0 after a clean stop, 2 when the exchange cannot start with these options."""
    try:
        options = parse(sys.argv[1:], os.environ)
        uvloop.run(serve(options))
    except (BadOption, MarketError, StorageError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(
            f"{options.host}:{options.port} cannot be listened on ({error.strerror}): choose another --port.\n"
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

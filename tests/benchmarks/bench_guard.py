"""From `panic` to flat: three bots, ten positions, the real guard on the simulated exchange.

The floor is one signed call of the same exchange: what no closing of ten positions could do without.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.support.bot_harness import BotHarness
from tests.support.guard_harness import Hands, acts, command, flat, guard
from tests.support.world import BOTS, until

POSITIONS = {
    "shortseller_001": (("BTCUSDT", "0.1"), ("ETHUSDT", "2"), ("SOLUSDT", "20"), ("XRPUSDT", "1000")),
    "lxalgo_001": (("BTCUSDT", "0.1"), ("ETHUSDT", "2"), ("DOGEUSDT", "5000")),
    "momentum_001": (("BTCUSDT", "0.1"), ("ADAUSDT", "1000"), ("LINKUSDT", "50")),
}


async def measure() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="alpha-bench-") as folder:
        stage = BotHarness(Path(folder), speed="1")
        await stage.open()
        try:
            process = guard(stage)
            process.start()
            await acts(process)
            floor_s = 0.0
            for bot in BOTS:
                hands = Hands(stage, bot)
                for symbol, qty in POSITIONS[bot.bot]:
                    began = time.perf_counter()
                    await hands.open(symbol, "Buy", qty)
                    floor_s = time.perf_counter() - began
                await hands.close()
            began = time.perf_counter()
            await command(stage, "panic", {})

            async def all_flat() -> bool:
                return all([await flat(stage, bot) for bot in BOTS])

            await until(all_flat, 60, "everything to be flat", step_s=0.02)
            took_s = time.perf_counter() - began
        finally:
            stage.close()
    print(f"{'what':<52}{'measured':>12}")
    print(f"{'one signed order (floor)':<52}{floor_s * 1000:>9.1f} ms")
    print(f"{'panic to flat, 3 bots, 10 positions (aim 3 s)':<52}{took_s * 1000:>9.0f} ms")


def main() -> int:
    """Entry point."""
    asyncio.run(measure())
    return 0


if __name__ == "__main__":
    sys.exit(main())

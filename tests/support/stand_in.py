"""A stand-in bot or guard as a separate process: sends heartbeats, executes control commands, logs what it did.

python -m tests.support.stand_in bot shortseller_001 0
python -m tests.support.stand_in guard guard 15
"""

import asyncio
import signal
import sys
from pathlib import Path

from alpha.clock import wall_ms
from alpha.config.loader import load
from alpha.config.services import RedisSettings
from alpha.live_state import keys
from alpha.live_state.client import TextRedis
from alpha.live_state.connect import RedisClients
from alpha.live_state.control import CommandConsumer


async def main(kind: str, name: str, database: int) -> None:
    """Run until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    links = RedisClients(load(RedisSettings, env_file=Path("/nonexistent")))
    redis = links.database(database)
    taker = CommandConsumer(redis, name)
    state = "running"
    sys.stdout.write(f"{name} is up\n")
    sys.stdout.flush()
    while not stop.is_set():
        if kind == "bot":
            await redis.hset(
                keys.heartbeat(name),
                mapping={"alive_at": str(wall_ms()), "state": state, "waits_for": "the close of the 5-minute bar"},
            )
        for command in await taker.take(wall_ms(), block_ms=100):
            if kind == "guard" and command.name in ("flatten", "panic"):
                await taker.answer(command, "progress", "Halted; 2 orders cancelled.")
                await _close_all(links, command.args)
            state = {"pause": "paused", "resume": "running"}.get(command.name, state)
            await taker.answer(
                command, "done", f"{name}: {command.name} {' '.join(command.args.values())}".strip() + " is done."
            )
    await links.close()


async def _close_all(links: RedisClients, args: dict[str, str]) -> None:
    """Remove the open positions from live state, as the listener does once the guard has closed them."""
    for number, bot in enumerate(("shortseller_001", "lxalgo_001", "momentum_001")):
        redis: TextRedis = links.database(number)
        for symbol in await redis.smembers(keys.positions(bot)):
            if args.get("bot", bot) == bot and args.get("symbol", symbol) == symbol:
                await redis.hset(keys.position(bot, symbol), "size", "0")
                await redis.srem(keys.positions(bot), symbol)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))

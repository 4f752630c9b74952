"""The simulated exchange outside the stack, and a hand that trades on it without a pause."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alpha.config.loader import load
from demo.ledger_check import Ledger, LedgerCheck, check_books
from operations.context import OperationsSettings, open_operations
from tests.support.world import BotKey, Trader


@dataclass(frozen=True, slots=True)
class Account:
    """A key of an account of the exchange. `of` is another key of the same account; this one then only reads."""

    key: str
    secret: str
    of: str = ""

    @property
    def text(self) -> str:
        """As SIM_ACCOUNTS has it."""
        return f"{self.key}:{self.secret}:" + (f"0:of={self.of},read-only" if self.of else "10000")


#: Prefix of a bot's variables to its account; the fourth bot's waits for it.
ACCOUNTS = {
    prefix: Account(f"key-of-{prefix.lower()}", f"secret-of-{prefix.lower()}-planted")
    for prefix in ("SHORTSELLER", "LXALGO", "MOMENTUM", "BREAKOUT")
}

#: For each the key that only reads.
READING = {
    prefix: Account(f"reading-key-of-{prefix.lower()}", f"reading-secret-of-{prefix.lower()}-planted", account.key)
    for prefix, account in ACCOUNTS.items()
}

#: After a long absence the listener reads back window by window; on a busy machine that takes its time.
SETTLE_S = 180.0

#: A further key of LXAlgo's account.
NEW_KEY = Account("newer-key-of-lxalgo", "newer-secret-of-lxalgo-planted")
NEW_READING = Account("newer-reading-key-of-lxalgo", "newer-reading-secret-planted", ACCOUNTS["LXALGO"].key)
#: All that the exchange knows, as SIM_ACCOUNTS has it.
SIM_ACCOUNTS = " ".join(
    [
        *(account.text for account in (*ACCOUNTS.values(), *READING.values(), NEW_READING)),
        f"{NEW_KEY.key}:{NEW_KEY.secret}::of={ACCOUNTS['LXALGO'].key}",
    ]
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Where the exchange is."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.host}:{self.port}"

    @property
    def settings(self) -> str:
        """What an operator would write into `.env`."""
        return f"BYBIT_REST_URL={self.url}\nBYBIT_WS_URL=ws://{self.host}:{self.port}\n"

    @contextmanager
    def hand(self, account: Account) -> Iterator[None]:
        """Buys and sells again on `account`, about twice a second, as long as the block lasts: fills flow."""
        ended = threading.Event()

        async def trade() -> None:
            trader = Trader(self.url, BotKey("", "", account.key, account.secret))
            try:
                while not ended.is_set():
                    for side in ("Buy", "Sell"):
                        answer = await trader.order("XRPUSDT", side, "20")
                        assert answer["retCode"] in {0, 10006}, answer
                    await asyncio.sleep(0.8)
            finally:
                await trader.close()

        thread = threading.Thread(target=lambda: asyncio.run(trade()))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    async def books(self, folder: Path, password: str, redis_password: str) -> LedgerCheck:
        """The books of the stack in `folder`, compared while the exchange's time stands still."""
        settings = load(
            OperationsSettings,
            env_file=None,
            postgres_port=6432,
            postgres_user="trading_user",
            postgres_password=password,
            redis_password=redis_password,
            alpha_bots_file=folder / "bots.toml",
        )
        ledger = Ledger(self.url)
        try:
            await ledger.pause()
            async with open_operations(settings, "tests") as platform:
                keys = {bot.id: ACCOUNTS[bot.prefix].key for bot in platform.registry.bots}
                return await check_books(ledger, platform, keys, settle_s=SETTLE_S)
        finally:
            await ledger.resume()
            await ledger.close()

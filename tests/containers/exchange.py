"""The simulated exchange outside the stack, and a client that trades on it continuously."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alpha.config.loader import load
from alpha.registry import load_registry
from demo.ledger_check import Ledger, LedgerCheck, check_books
from operations.context import OperationsSettings, open_operations
from tests.containers.compose import ROOT, Compose
from tests.support.world import BotKey, Trader


@dataclass(frozen=True, slots=True)
class Account:
    """An API key on the exchange. `of` is another key of the same account; this one is then read-only."""

    key: str
    secret: str
    of: str = ""

    @property
    def text(self) -> str:
        """In the format of SIM_ACCOUNTS."""
        return f"{self.key}:{self.secret}:" + (f"0:of={self.of},read-only" if self.of else "10000")


#: Prefix of a bot's variables -> its account; the fourth bot is added later.
ACCOUNTS = {
    prefix: Account(f"key-of-{prefix.lower()}", f"secret-of-{prefix.lower()}-planted")
    for prefix in ("SHORTSELLER", "LXALGO", "MOMENTUM", "BREAKOUT")
}

#: The read-only key of each.
READING = {
    prefix: Account(f"reading-key-of-{prefix.lower()}", f"reading-secret-of-{prefix.lower()}-planted", account.key)
    for prefix, account in ACCOUNTS.items()
}

#: After a long outage the listener backfills window by window, which takes a while on a busy machine.
SETTLE_S = 180.0

#: A second key of LXAlgo's account.
NEW_KEY = Account("newer-key-of-lxalgo", "newer-secret-of-lxalgo-planted")
NEW_READING = Account("newer-reading-key-of-lxalgo", "newer-reading-secret-planted", ACCOUNTS["LXALGO"].key)
#: All keys of the exchange, in the format of SIM_ACCOUNTS.
SIM_ACCOUNTS = " ".join(
    [
        *(account.text for account in (*ACCOUNTS.values(), *READING.values(), NEW_READING)),
        f"{NEW_KEY.key}:{NEW_KEY.secret}::of={ACCOUNTS['LXALGO'].key}",
    ]
)


def set_up(folder: Path, settings: str) -> Compose:
    """A clone of this checkout's commits in `folder`, set up with `alpha init`; `settings` are added to its `.env`."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    keys = [
        word
        for bot in load_registry(folder / "bots.toml").bots
        for account in (ACCOUNTS[bot.prefix], READING[bot.prefix])
        for word in (account.key, account.secret)
    ]
    compose = Compose(folder, ("docker-compose.production.yml",))
    typed = "".join(f"{line}\n" for line in ["demo", *keys, *[""] * 9])
    compose.run(sys.executable, "-m", "alpha_cli", "init", typed=typed)
    with (folder / ".env").open("a") as env:
        env.write(settings)
    return compose


@dataclass(frozen=True, slots=True)
class Exchange:
    """Address of the exchange."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://{self.host}:{self.port}"

    @property
    def settings(self) -> str:
        """The lines an operator would add to `.env`."""
        return f"BYBIT_REST_URL={self.url}\nBYBIT_WS_URL=ws://{self.host}:{self.port}\n"

    @contextmanager
    def hand(self, account: Account) -> Iterator[None]:
        """Buy and sell on `account` about twice per second while the block runs, so that fills flow."""
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
        """Compare the ledgers of the stack in `folder` while the exchange's clock is paused."""
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

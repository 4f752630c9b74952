"""Checks of the exchange: the clock, and each bot's key and account."""

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from alpha.bybit.client import Gateway, market_gateway
from alpha.bybit.errors import KeyRefused
from alpha.bybit.hosts import hosts_of
from alpha.bybit.key_home import UNKNOWN_KEY, belongs_to, home_of
from alpha.bybit.models import ApiKeyInfo
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import Credentials
from alpha.config import env_file
from alpha.config.exchange import ExchangeSettings
from alpha.config.gates import refuse_live
from alpha.config.keys import BotKeys, has_reading_key, load_guarding_keys, load_reading_keys, read_only_advice
from alpha.config.loader import chosen_env_file
from alpha.config.regions import REGIONS
from alpha.errors import AlphaError, Misconfigured, Rejected, Retry
from alpha.model.account import Environment
from alpha.model.coin import SETTLE_COINS
from alpha.model.exchange_profile import profile_of
from alpha.registry import Bot, Registry
from alpha_cli.doctor.finding import Finding, fault, note, ok

SKEW_LIMIT_MS = 500
#: The mode is per symbol; who switches it does so for all symbols of a coin, or for these first.
_ASKED = ("BTCUSDT", "ETHUSDT")
EXPIRY_WARNING = timedelta(days=14)
#: A Bybit user has a main account and 20 standard sub-accounts; each bot needs one.
ACCOUNTS, SPARE = 21, 2


async def check_clock(settings: ExchangeSettings, throttle: RateLimiter) -> AsyncIterator[Finding]:
    """Check that the exchange answers and that this machine's clock agrees with it."""
    hosts = hosts_of(settings)
    async with market_gateway(hosts, throttle) as gateway:
        try:
            skew_ms = await gateway.sync_clock()
        except Retry as why:
            yield fault(
                "exchange",
                f"{hosts.rest}: {why}",
                "Check the network of this machine, and BYBIT_REST_URL where it is set.",
            )
            return
        yield ok("exchange", f"{hosts.rest} answers ({hosts.environment}).")
        if note_of_region := REGIONS[hosts.region].note:
            yield note("region", note_of_region)
        if not profile_of(hosts.environment).on_wall_time:
            yield ok("clock", "A simulated exchange has its own time.")
        elif abs(skew_ms) > SKEW_LIMIT_MS:
            yield fault("clock", f"This machine's clock is {skew_ms} ms off.", "Synchronise it with NTP.")
        else:
            yield ok("clock", f"This machine's clock is within {abs(skew_ms)} ms of the exchange's.")


class KeyChecks:
    """Checks all bots' keys; remembers the accounts to detect two bots on one account."""

    def __init__(self, settings: ExchangeSettings, registry: Registry, throttle: RateLimiter) -> None:
        self._settings = settings
        self._registry = registry
        self._throttle = throttle
        # Without a plain .env no key is used in place of another.
        given = {**env_file.read(chosen_env_file()).values, **os.environ}
        self._in_files = given.get("ALPHA_SECRETS") == "files"
        self._owner: dict[str, Bot] = {}
        self._subs: int | None = None

    async def check(self) -> AsyncIterator[Finding]:
        """Check each bot in turn; a bot without keys is a note, no bot with keys a fault."""
        configured = 0
        for bot in self._registry.bots:
            try:
                keys, trades = load_guarding_keys(bot)
            except Misconfigured as error:
                yield note(bot.container, str(error).splitlines()[0], "Leave it empty to run without this bot.")
                continue
            configured += 1
            try:
                async for finding in self._check_bot(bot, keys, trades=trades):
                    yield finding
                if trades:
                    async for finding in self._check_reading(bot, keys):
                        yield finding
            except KeyRefused as error:
                yield await self._refused(bot, error, keys)
            except AlphaError as error:
                yield fault(bot.container, str(error))
        if configured > ACCOUNTS:
            yield fault(
                "accounts",
                f"{configured} bots need {configured} accounts, and a Bybit user has {ACCOUNTS}: the main one and {ACCOUNTS - 1} "
                "standard sub-accounts.",
                "Spread the bots over several users, or take bots out of bots.toml.",
            )
        elif configured > ACCOUNTS - SPARE:
            yield note(
                "accounts",
                f"{configured} of the {ACCOUNTS} accounts that a Bybit user has are in use.",
                "Each bot needs one.",
            )
        if configured:
            yield self._sub_accounts(configured)
        if configured == 0:
            yield fault(
                "keys", "No bot has an API key.", "Put the keys of at least one bot into .env, or run 'alpha init'."
            )

    def _sub_accounts(self, configured: int) -> Finding:
        """How many accounts the registry needs beside how many there are, where a key may ask for that."""
        needs = f"{configured} bot{'s' if configured != 1 else ''} with keys need as many accounts"
        if self._subs is None:
            return ok(
                "sub-accounts",
                f"{needs}: the main one and {configured - 1} of its {ACCOUNTS - 1} standard sub-accounts. How many exist only a "
                "main account's key with a right to transfer may ask, which no bot needs: bybit.com shows it.",
            )
        text = f"{needs}; the user has {1 + self._subs}: the main one and {self._subs} of {ACCOUNTS - 1} standard sub-accounts."
        if configured > 1 + self._subs:
            missing = configured - 1 - self._subs
            return note(
                "sub-accounts", text, f"Make {missing} more sub-account{'s' if missing != 1 else ''} on bybit.com."
            )
        return ok("sub-accounts", text)

    async def _count_sub_accounts(self, bot: Bot, keys: BotKeys, info: ApiKeyInfo) -> None:
        """Ask with a key that may; through a gateway of its own, which a refusal ends."""
        if self._subs is not None or not info.is_master or not (info.can_transfer or info.can_withdraw):
            return
        with suppress(AlphaError):
            async with self._gateway(bot, keys) as gateway:
                self._subs = await gateway.sub_accounts()

    async def _refused(self, bot: Bot, error: KeyRefused, keys: BotKeys) -> Finding:
        """A refused key; one that the host does not know is looked for at Bybit's other places."""
        home = None
        if error.ret_code == UNKNOWN_KEY:
            credentials = Credentials(keys.bybit_api_key.get_secret_value(), keys.bybit_api_secret.get_secret_value())
            home = await home_of(hosts_of(self._settings, keys), credentials)
        return fault(bot.container, str(error), "" if home is None else belongs_to(home))

    async def _check_bot(self, bot: Bot, keys: BotKeys, *, trades: bool) -> AsyncIterator[Finding]:
        if trades:
            refuse_live(self._settings, keys, bot)
        async with self._gateway(bot, keys) as gateway:
            info = await gateway.key_info()
            account = f"{gateway.environment}:{info.user_id}"
            other = self._owner.setdefault(account, bot)
            if other is not bot:
                yield fault(
                    bot.container,
                    f"Its key belongs to the account {info.user_id}, and so does that of {other.container}.",
                    "One account has one bot: make a sub-account for each.",
                )
                return
            yield ok(bot.container, f"The key is valid on {gateway.environment}, account {info.user_id}.")
            await self._count_sub_accounts(bot, keys, info)
            for finding in _rights(bot, info, live=gateway.environment is Environment.LIVE):
                yield finding
            mode = await gateway.account_info()
            if mode.dcp:
                yield note(
                    bot.container,
                    "Disconnect protection (DCP) is on: with a lost connection Bybit cancels orders, and stops may be among them.",
                    "Switch it off on Bybit, or the guard sets lost stops anew within a minute.",
                )
            hedged = await self._hedged(gateway)
            if hedged and trades:
                yield fault(
                    bot.container,
                    f"The account is in hedge mode ({', '.join(hedged[:5])}), and a bot trades one-way mode only.",
                    "Close its positions and switch it to one-way mode on bybit.com; or use a key that only reads.",
                )
            elif hedged:
                yield note(
                    bot.container,
                    f"The account is in hedge mode ({', '.join(hedged[:5])}): both legs are recorded and watched.",
                    "A bot can trade it once it is in one-way mode.",
                )
            else:
                yield ok(bot.container, f"The account is in one-way mode, margin mode {mode.margin_mode}.")
            if await self._fees_in_mnt(gateway):
                yield note(
                    bot.container,
                    "The account pays its fees in MNT: they are booked in MNT and are not in fees and net.",
                    "Switch it off on bybit.com where every figure should be in one coin.",
                )

    async def _fees_in_mnt(self, gateway: Gateway) -> bool:
        """Whether fees are paid in MNT; demo trading does not have the call."""
        try:
            return await gateway.fees_in_mnt()
        except Rejected:
            return False

    async def _hedged(self, gateway: Gateway) -> list[str]:
        """Symbols in hedge mode. A flat account lists no position, so the largest symbols are asked for by name."""
        found = {row.symbol for row in await gateway.positions(coins=SETTLE_COINS) if row.position_idx != 0}
        for symbol in _ASKED:
            found |= {row.symbol for row in await gateway.positions(symbol) if row.position_idx != 0}
        return sorted(found)

    async def _check_reading(self, bot: Bot, trading: BotKeys) -> AsyncIterator[Finding]:
        """Check the read-only key of listener and trade sync: present, of the same account, and unable to trade."""
        if self._in_files and not has_reading_key(bot):
            yield fault(
                bot.container,
                "The listener and the trade sync have no key, so nothing of it is recorded.",
                f"Make a read-only key of the same account, then: alpha key {bot.container} --read-only",
            )
            return
        async with self._gateway(bot, trading) as gateway:
            own = await gateway.key_info()
        async with self._gateway(bot, load_reading_keys(bot)) as gateway:
            info = await gateway.key_info()
        if info.user_id != own.user_id:
            yield fault(
                bot.container,
                f"The key that reads is of the account {info.user_id}, the one that trades of {own.user_id}.",
                f"Make it on the account that trades, then: alpha key {bot.container} --read-only",
            )
        elif info.can_trade:
            yield note(
                bot.container, "The listener and the trade sync hold a key that may trade.", read_only_advice(bot)
            )
        else:
            yield ok(bot.container, "The listener and the trade sync read with a key that cannot trade.")
        if info.can_withdraw and not own.can_withdraw:
            yield fault(bot.container, "The key that reads may withdraw money.", "Make a key without Withdraw.")

    def _gateway(self, bot: Bot, keys: BotKeys) -> Gateway:
        credentials = Credentials(keys.bybit_api_key.get_secret_value(), keys.bybit_api_secret.get_secret_value())
        return Gateway(hosts_of(self._settings, keys), credentials, self._throttle, account=bot.id)


def _rights(bot: Bot, info: ApiKeyInfo, *, live: bool) -> list[Finding]:
    """What the key may do and how long; what can stop trading with real money is a fault, elsewhere a note."""
    serious = fault if live else note
    found: list[Finding] = []
    if info.can_withdraw:
        found.append(
            fault(
                bot.container, "The key may withdraw money, or it cannot be ruled out.", "Make a key without Withdraw."
            )
        )
    if info.can_transfer:
        found.append(note(bot.container, "The key may transfer money between accounts.", "Make a key without it."))
    if info.can_trade:
        found.append(ok(bot.container, "The key may trade contracts."))
    else:
        found.append(
            note(
                bot.container, "The key only reads: the bot is watched, not traded.", "Add Order and Position to trade."
            )
        )
    if not info.ip_bound:
        found.append(
            serious(
                bot.container,
                "The key works from any address; Bybit ends such a key 90 days after it was made, and 7 days after the account's "
                "password was changed.",
                "Bind it to this host's address on Bybit; that cannot be done by API.",
            )
        )
    expires = _expiry(info)
    if expires is not None and expires - datetime.now(UTC) < EXPIRY_WARNING:
        found.append(
            serious(
                bot.container,
                f"The key ends on {expires:%Y-%m-%d}.",
                f"Make a new one, then: alpha key {bot.container}",
            )
        )
    return found


def _expiry(info: ApiKeyInfo) -> datetime | None:
    try:
        expires = datetime.fromisoformat(info.expires_at)
    except ValueError:
        return None
    expires = expires if expires.tzinfo else expires.replace(tzinfo=UTC)
    # Bybit writes the year 1970 or 0001 for a key that never expires.
    return expires if expires.year > 2000 else None

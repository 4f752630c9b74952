"""Checks a bot's new exchange key: it must belong to the same account before it replaces the old one."""

from dataclasses import dataclass

from alpha.bybit.client import Gateway
from alpha.bybit.hosts import hosts_of
from alpha.bybit.models import ApiKeyInfo
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import Credentials
from alpha.config.exchange import ExchangeSettings
from alpha.config.keys import BotKeys
from alpha.errors import AlphaError, Rejected
from alpha.registry import Bot


@dataclass(frozen=True, slots=True)
class Checked:
    """The result: the account of both keys. `old_answers` is False when the old key no longer works."""

    user_id: str
    old_answers: bool


async def check_new_key(
    settings: ExchangeSettings,
    bot: Bot,
    old: BotKeys,
    new: Credentials,
    *,
    known_user_id: str | None = None,
    read_only: bool = False,
) -> Checked:
    """Check that `new` belongs to `old`'s account, works, and cannot withdraw, nor trade if it is to be read-only.

    An old key that no longer works (revoked, expired) proves nothing: `known_user_id` then identifies the account.
    Raises Rejected with the reason, or the gateway's errors for the new key.
    """
    hosts = hosts_of(settings, old)
    throttle = RateLimiter(None)
    async with Gateway(hosts, new, throttle, account=f"{bot.id}:new") as gateway:
        info: ApiKeyInfo = await gateway.key_info()
    if info.can_withdraw:
        raise Rejected("The new key may withdraw money, or it cannot be ruled out. Make one without Withdraw.")
    if read_only and not info.read_only:
        raise Rejected("The new key may trade. Make one with Read-Only chosen: that is what it is for.")
    old_user_id = known_user_id
    old_answers = False
    credentials = Credentials(old.bybit_api_key.get_secret_value(), old.bybit_api_secret.get_secret_value())
    async with Gateway(hosts, credentials, throttle, account=bot.id) as gateway:
        try:
            old_user_id = (await gateway.key_info()).user_id
            old_answers = True
        except AlphaError:
            if known_user_id is None:
                raise Rejected(
                    f"The old key of {bot.id} no longer answers, so its account is not known. "
                    "Name the account with --account USERID if you are sure."
                ) from None
    if old_user_id != info.user_id:
        raise Rejected(
            f"The new key belongs to the account {info.user_id}, the old one to {old_user_id}. "
            f"A bot keeps its account: use a key of {old_user_id}."
        )
    return Checked(info.user_id, old_answers)

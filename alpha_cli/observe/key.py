"""The read-only key that `alpha observe` is given: from a file or typed, and checked before anything starts."""

from pathlib import Path

import typer

from alpha.bybit.client import Gateway
from alpha.bybit.errors import KeyRefused
from alpha.bybit.hosts import Hosts
from alpha.bybit.key_home import UNKNOWN_KEY, home_of
from alpha.bybit.models import ApiKeyInfo
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import Credentials
from alpha.config.env_file import invisible
from alpha.config.regions import GLOBAL, REGIONS
from alpha.errors import Misconfigured, Rejected
from alpha.model.account import Environment

READ_ONLY = 'Make one on Bybit with "Read-Only" chosen: nothing can be traded or taken out with it.'


def read_key_file(path: Path) -> Credentials:
    """The key in `path`: two lines, the key and its secret, each bare or as NAME=value. Misconfigured for anything else."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as fault:
        raise Misconfigured(f"--key-file names {path}, which cannot be read: {fault.strerror}.") from None
    except UnicodeDecodeError:
        raise Misconfigured(f"--key-file names {path}, which is not text.") from None
    lines = [line.strip() for line in text.splitlines()]
    values = [line.partition("=")[2].strip().strip("\"'") if "=" in line else line for line in lines if line[:1] != "#"]
    values = [value for value in values if value]
    if len(values) != 2:
        raise Misconfigured(
            f"{path} must hold two lines, the API key and its secret; it has {len(values)} that are not empty."
        )
    return credentials(values[0], values[1])


def ask_for_key() -> Credentials:
    """Ask on the terminal. The key is kept in memory and in the environment of the processes, in no file."""
    typer.echo(f"Alpha reads your account with a read-only key. {READ_ONLY}", err=True)
    key = typer.prompt("API key", err=True).strip()
    secret = typer.prompt("API secret (not shown)", hide_input=True, err=True).strip()
    return credentials(key, secret)


def credentials(key: str, secret: str) -> Credentials:
    """A key and its secret, refused when they hold what no key has."""
    for name, value in (("API key", key), ("API secret", secret)):
        if (hidden := invisible(value)) is not None:
            raise Misconfigured(f"The {name} holds an invisible character ({hidden}). Copy it anew, or type it.")
        if not value or not value.isascii() or any(character.isspace() for character in value):
            raise Misconfigured(f"The {name} must be letters and digits without blanks. Copy it anew.")
    return Credentials(key, secret)


async def check_key(hosts: Hosts, given: Credentials) -> ApiKeyInfo:
    """Whose key it is. Raises Rejected for a key that may trade or withdraw, and the gateway's errors."""
    async with Gateway(hosts, given, RateLimiter(None), account="observe") as gateway:
        try:
            info = await gateway.key_info()
        except KeyRefused as fault:
            home = await home_of(hosts, given) if fault.ret_code == UNKNOWN_KEY else None
            if home is None:
                raise
            raise Misconfigured(f"{hosts.rest} does not know this key. {_start_with(home)}") from None
    if info.can_withdraw:
        raise Rejected(f"This key may withdraw money, or Bybit does not say that it may not. {READ_ONLY}")
    if not info.read_only:
        raise Rejected(f"This key may trade, and watching needs none of that. {READ_ONLY}")
    return info


def _start_with(home: Hosts) -> str:
    """The options of `alpha observe` for the place where the key belongs."""
    options = {Environment.DEMO: ["--demo"], Environment.TESTNET: ["--testnet"]}.get(home.environment, [])
    if home.region != GLOBAL:
        options = [*options, "--region", home.region]
    command = " ".join(["alpha observe", *options])
    return f"It belongs to Bybit {home.environment}, {REGIONS[home.region].title}: {command}"

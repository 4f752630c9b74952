"""Which service sees which secret: a folder a service in `secrets/`, mounted as its /run/secrets.

The folder `secrets/` itself is closed to everybody but its owner. What is in it is readable, because a container's user
is not the owner; nobody else on the host gets as far.
"""

from collections.abc import Mapping

from alpha.db.migrate import ROLES
from alpha.registry import Bot, Registry

#: Services that work with a database role of their own and with all bots' keys (True) or none (False).
SERVICES: Mapping[str, tuple[str, bool]] = {
    "websocket_listener": ("alpha_listener", True),
    "trade_sync_service": ("alpha_sync", True),
    "risk_guard": ("alpha_guard", True),
    "telegram_manager": ("alpha_c2", False),
    "dashboard": ("alpha_readonly", False),
    "doctor": ("alpha_readonly", True),
}
#: Services that only read from the exchange: they get a bot's read-only key where it has one, never the one that trades.
READERS = ("websocket_listener", "trade_sync_service")
OWNER = "POSTGRES_PASSWORD"
BACKUP = "postgres_backup"


def generated(registry: Registry) -> list[str]:
    """The names of all passwords that Alpha makes itself."""
    redis_users = [*SERVICES, BACKUP, *(bot.container for bot in registry.bots)]
    return [
        OWNER,
        "REDIS_PASSWORD",
        *(f"{role}_DB_PASSWORD".upper() for role in ROLES),
        *(redis_variable(user) for user in redis_users),
        "DASHBOARD_TOKEN",
    ]


def redis_variable(user: str) -> str:
    """The variable that holds the password of a Redis user."""
    return f"REDIS_{user.upper().replace('-', '_')}_PASSWORD"


def read_variables(bot: Bot) -> tuple[str, str]:
    """The variables in the ledger of a bot's second key, which may only read: key and secret."""
    return f"{bot.prefix}_BYBIT_READ_API_KEY", f"{bot.prefix}_BYBIT_READ_API_SECRET"


def asked(registry: Registry) -> list[str]:
    """The names of all secrets that only the operator has."""
    names = [name for bot in registry.bots for name in (bot.key_variable, bot.secret_variable)]
    names += ["C2_TELEGRAM_BOT_TOKEN", *(f"{bot.prefix}_TELEGRAM_BOT_TOKEN" for bot in registry.bots)]
    return names


def files(registry: Registry, known: Mapping[str, str]) -> dict[str, str]:
    """The content of every file below `secrets/`: "service/name" to value. What is not known has no file."""
    wanted: dict[str, str] = {}

    def place(folder: str, name: str, variable: str) -> None:
        if known.get(variable):
            wanted[f"{folder}/{name.lower()}"] = known[variable]

    keys = [(bot, (bot.key_variable, bot.secret_variable)) for bot in registry.bots]
    role_passwords = [f"{role}_DB_PASSWORD".upper() for role in ROLES]
    for folder in ("postgres", "migrate", "pgbouncer", "postgres_backup"):
        place(folder, OWNER, OWNER)
    for variable in role_passwords:
        place("migrate", variable, variable)
        place("pgbouncer", variable, variable)
    place("redis", "redis_password", "REDIS_PASSWORD")
    place("redis", redis_variable(BACKUP), redis_variable(BACKUP))
    place(BACKUP, "redis_password", redis_variable(BACKUP))
    for service, (role, has_keys) in SERVICES.items():
        place(service, OWNER, f"{role}_DB_PASSWORD".upper())
        place(service, "redis_password", redis_variable(service))
        place("redis", redis_variable(service), redis_variable(service))
        for bot, own in keys if has_keys else ():
            reads = service in READERS and all(known.get(variable) for variable in read_variables(bot))
            for name, variable in zip(own, read_variables(bot) if reads else own, strict=True):
                place(service, name, variable)
    for bot in registry.bots:
        place(bot.container, OWNER, "ALPHA_STRATEGY_DB_PASSWORD")
        place(bot.container, "redis_password", redis_variable(bot.container))
        place("redis", redis_variable(bot.container), redis_variable(bot.container))
        for variable in (bot.key_variable, bot.secret_variable):
            place(bot.container, variable, variable)
        place("telegram_manager", f"{bot.prefix}_TELEGRAM_BOT_TOKEN", f"{bot.prefix}_TELEGRAM_BOT_TOKEN")
    place("telegram_manager", "C2_TELEGRAM_BOT_TOKEN", "C2_TELEGRAM_BOT_TOKEN")
    place("doctor", "C2_TELEGRAM_BOT_TOKEN", "C2_TELEGRAM_BOT_TOKEN")
    place("dashboard", "DASHBOARD_TOKEN", "DASHBOARD_TOKEN")
    return wanted

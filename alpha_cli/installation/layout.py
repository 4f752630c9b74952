"""Which service sees which secret: one folder per service in `secrets/`, mounted as its /run/secrets.

The folder `secrets/` itself is accessible only to its owner. Its contents are readable, because a container's user
is not the owner; other users of the host cannot reach them.
"""

from collections.abc import Collection, Mapping

from alpha.postgres.migrate import ROLES
from alpha.registry import Bot, Registry
from alpha.services import SERVICES, Keys

READERS = tuple(service.name for service in SERVICES if service.keys is Keys.READING)
#: The setting that names the bots whose trading key is also used for reading, because they have no second key.
READ_WITH_TRADING_KEY = "ALPHA_READ_WITH_TRADING_KEY"
OWNER = "POSTGRES_PASSWORD"
BACKUP = "postgres_backup"
#: The second Redis user of the dashboard, and its second role: it uses them while DASHBOARD_STEERING is true.
STEERING = "dashboard_steering"


def generated(registry: Registry) -> list[str]:
    """The names of all passwords that Alpha generates."""
    redis_users = [*(service.name for service in SERVICES if service.role), STEERING, BACKUP, *registry.containers]
    return [
        OWNER,
        "REDIS_PASSWORD",
        *(f"{role}_DB_PASSWORD".upper() for role in ROLES),
        *(redis_variable(user) for user in redis_users),
        "DASHBOARD_TOKEN",
        "INFLUX_TOKEN",
        "INFLUX_ADMIN_PASSWORD",
    ]


def redis_variable(user: str) -> str:
    """The variable that holds the password of a Redis user."""
    return f"REDIS_{user.upper().replace('-', '_')}_PASSWORD"


def key_pairs(bot: Bot) -> tuple[tuple[str, str], tuple[str, str]]:
    """The variables of a bot's trading key and read-only key, each with that of its secret."""
    return (bot.key_variable, bot.secret_variable), (bot.read_key_variable, bot.read_secret_variable)


def has_pair(known: Mapping[str, str], pair: tuple[str, str]) -> bool:
    """True when both a key and its secret are known."""
    return all(known.get(variable) for variable in pair)


def tokens(registry: Registry) -> list[str]:
    """The variables of the Telegram bots' tokens."""
    return ["C2_TELEGRAM_BOT_TOKEN", *(f"{bot.prefix}_TELEGRAM_BOT_TOKEN" for bot in registry.bots)]


def given(registry: Registry) -> list[str]:
    """The names of all secrets that only the operator can provide."""
    return [name for bot in registry.bots for pair in key_pairs(bot) for name in pair] + [
        *tokens(registry),
        "ALERT_URLS",
    ]


def files(registry: Registry, known: Mapping[str, str], one_key: Collection[str] = ()) -> dict[str, str]:
    """The content of every file below `secrets/`: "service/name" to value. Unknown secrets have no file.

    A trading key goes only to its bot, the guard and the doctor. `one_key` names the bots for which the operator
    chose otherwise: without a second key, their trading key is also used for reading.
    """
    wanted: dict[str, str] = {}

    def place(folder: str, name: str, variable: str) -> None:
        if known.get(variable):
            wanted[f"{folder}/{name.lower()}"] = known[variable]

    def place_pair(folder: str, names: tuple[str, str], variables: tuple[str, str]) -> None:
        for name, variable in zip(names, variables, strict=True):
            place(folder, name, variable)

    role_passwords = [f"{role}_DB_PASSWORD".upper() for role in ROLES]
    for folder in ("postgres", "migrate", "pgbouncer", "postgres_backup"):
        place(folder, OWNER, OWNER)
    for variable in role_passwords:
        place("migrate", variable, variable)
        place("pgbouncer", variable, variable)
    place("redis", "redis_password", "REDIS_PASSWORD")
    place("redis", redis_variable(BACKUP), redis_variable(BACKUP))
    place(BACKUP, "redis_password", redis_variable(BACKUP))
    for service in SERVICES:
        name, sees = service.name, service.keys
        if not service.role:
            continue
        place(name, OWNER, f"{service.role}_DB_PASSWORD".upper())
        place(name, "redis_password", redis_variable(name))
        place("redis", redis_variable(name), redis_variable(name))
        for bot in registry.bots:
            trading, reading = key_pairs(bot)
            source = trading if bot.id in one_key and not has_pair(known, reading) else reading
            if Keys.TRADING in sees:
                place_pair(name, trading, trading)
            if Keys.READING in sees or (Keys.TRADING in sees and not has_pair(known, trading)):
                place_pair(name, reading, source)
    place("export", OWNER, "ALPHA_READONLY_DB_PASSWORD")
    for bot in registry.bots:
        place(bot.container, OWNER, "ALPHA_STRATEGY_DB_PASSWORD")
        place(bot.container, "redis_password", redis_variable(bot.container))
        place("redis", redis_variable(bot.container), redis_variable(bot.container))
        place_pair(bot.container, key_pairs(bot)[0], key_pairs(bot)[0])
        place("telegram_manager", f"{bot.prefix}_TELEGRAM_BOT_TOKEN", f"{bot.prefix}_TELEGRAM_BOT_TOKEN")
    place("telegram_manager", "C2_TELEGRAM_BOT_TOKEN", "C2_TELEGRAM_BOT_TOKEN")
    place("telegram_manager", "ALERT_URLS", "ALERT_URLS")
    place("doctor", "C2_TELEGRAM_BOT_TOKEN", "C2_TELEGRAM_BOT_TOKEN")
    place("dashboard", "DASHBOARD_TOKEN", "DASHBOARD_TOKEN")
    place("dashboard", "ALPHA_DASHBOARD_DB_PASSWORD", "ALPHA_DASHBOARD_DB_PASSWORD")
    place("dashboard", redis_variable(STEERING), redis_variable(STEERING))
    place("redis", redis_variable(STEERING), redis_variable(STEERING))
    place("tick_recorder", "INFLUX_TOKEN", "INFLUX_TOKEN")
    for folder in ("influxdb", "doctor"):
        place(folder, "INFLUX_TOKEN", "INFLUX_TOKEN")
    place("influxdb", "INFLUX_ADMIN_PASSWORD", "INFLUX_ADMIN_PASSWORD")
    return wanted

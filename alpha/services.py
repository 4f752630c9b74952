"""The one table of services: what each is called, which database role and exchange keys it has, when it starts.

Bot control, the demo, the installation, the Redis users and the reserved words of `bots.toml` are derived from it.
"""

from dataclasses import dataclass
from enum import Enum, Flag, auto


class Keys(Flag):
    """Which of a bot's two exchange keys a service sees."""

    NONE = 0
    TRADING = auto()
    READING = auto()


class DemoStart(Enum):
    """When the demo starts a service."""

    NEVER = auto()
    BEFORE_BOTS = auto()
    #: The bots do not need it: started after they are ready, so that they start faster.
    AFTER_BOTS = auto()


@dataclass(frozen=True, slots=True)
class Service:
    """One service. `name` is its package, its container and process, its Redis user and its folder in `secrets/`.

    A `must_run` service works with the schema of the previous release and while PostgreSQL is unavailable.
    A service that is not `resident` runs on demand and exits. One without a `role` uses neither PostgreSQL nor Redis: it
    has no Redis user and no folder in `secrets/`.
    """

    name: str
    role: str
    keys: Keys = Keys.NONE
    must_run: bool = False
    resident: bool = True
    demo: DemoStart = DemoStart.AFTER_BOTS


#: In start order.
SERVICES = (
    Service("websocket_listener", "alpha_listener", Keys.READING, must_run=True, demo=DemoStart.BEFORE_BOTS),
    Service("trade_sync_service", "alpha_sync", Keys.READING),
    Service("risk_guard", "alpha_guard", Keys.TRADING, must_run=True, demo=DemoStart.BEFORE_BOTS),
    Service("telegram_manager", "alpha_c2", must_run=True),
    Service("dashboard", "alpha_readonly"),
    Service("api_server", "alpha_api"),
    Service("tick_recorder", "alpha_ticks"),
    Service("analysis_service", "alpha_analysis"),
    Service("model_server", "", demo=DemoStart.BEFORE_BOTS),
    Service("doctor", "alpha_readonly", Keys.TRADING | Keys.READING, resident=False, demo=DemoStart.NEVER),
)
RESIDENT = tuple(service.name for service in SERVICES if service.resident)
#: Containers of the infrastructure that are listed in the status and never controlled.
INFRASTRUCTURE = (
    "trading_postgres",
    "trading_pgbouncer",
    "trading_redis",
    "docker_socket_proxy",
    "postgres_backup",
    "trading_influxdb",
    "trading_prometheus",
)
#: Exchange of the demo, one-shot jobs and compose services that are no containers of their own name.
OTHER = (
    *(
        "exchange_simulator",
        "base",
        "prepare",
        "migrate",
        "export",
        "archive",
        "postgres",
        "pgbouncer",
        "redis",
        "influxdb",
        "prometheus",
    ),
    *("trading_ports", "ports", "dashboard_port", "api_port", "influxdb_port", "prometheus_port"),
    # docker-compose.ha.yml
    *(f"{prefix}{name}" for name in ("etcd1", "etcd2", "etcd3", "patroni1", "patroni2") for prefix in ("", "trading_")),
    *(f"{prefix}redis{number}" for number in (2, 3) for prefix in ("", "trading_")),
    *(f"{prefix}sentinel{number}" for number in (1, 2, 3) for prefix in ("", "trading_")),
    *("websocket_listener2", "risk_guard2"),
)


def named(name: str) -> Service:
    """The service with this name. KeyError when there is none."""
    return _BY_NAME[name]


_BY_NAME = {service.name: service for service in SERVICES}

"""Renders what follows from `bots.toml`: the Docker proxy's allow-list, the Redis users, the bots' compose services."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alpha.errors import Misconfigured
from alpha.registry import Bot, Registry
from alpha_cli.rendering.demo import CONTAINER_PREFIX, demo_channels, demo_keys, demo_services
from alpha_cli.rendering.image_packages import image_packages
from alpha_cli.rendering.prometheus import prometheus_config

#: So many containers' names stand on one line of the proxy's allow-list.
_NAMES_PER_LINE = 20
_NOTE = "Rendered from bots.toml by `alpha render`; change that file, not this one."


@dataclass(frozen=True, slots=True)
class Rendered:
    """One rendered file. `path` is relative to the repository root."""

    path: Path
    text: str


def render(registry: Registry, root: Path) -> list[Rendered]:
    """Render every file that follows from the registry."""
    proxy, users = haproxy_config(registry), redis_users(registry)
    prometheus = prometheus_config(registry, _NOTE)
    rules = root / "docker/prometheus/rules.yml"
    watched = prometheus + (rules.read_text(encoding="utf-8") if rules.exists() else "")
    demo_proxy = haproxy_config(registry, CONTAINER_PREFIX)
    files = [
        Rendered(Path("docker_proxy/haproxy.cfg"), proxy),
        Rendered(Path("docker_proxy/haproxy.demo.cfg"), demo_proxy),
        Rendered(Path("docker/redis/users.acl.template"), users),
        Rendered(Path("docker/prometheus/prometheus.yml"), prometheus),
    ]
    compose_parts: dict[str, dict[str, str]] = {
        "docker-compose.production.yml": {
            "images": compose_images(root / "docker" / "base-images.env"),
            "keys": compose_keys(registry),
            "logs": compose_logs(registry),
            "dashboard logs": compose_logs(registry, read_only=True),
            "users": f"      alpha.users: {_digest(users)}\n",
            "allowed": f"      alpha.allowed: {_digest(proxy)}\n",
            "channels": compose_channels(registry),
            "bots": compose_services(registry),
            "metrics": f"      alpha.metrics: {_digest(watched)}\n",
        },
        "docker-compose.ha.yml": {
            "images": compose_images(root / "docker" / "base-images.env"),
            "bots": ha_services(registry),
        },
        "docker-compose.pitr.yml": {"images": compose_images(root / "docker" / "base-images.env")},
        "docker-compose.demo.yml": {
            "keys": demo_keys(registry),
            "allowed": f"      alpha.allowed: {_digest(demo_proxy)}\n",
            "channels": demo_channels(registry),
            "bots": demo_services(registry),
        },
    }
    for name, parts in compose_parts.items():
        if (root / name).exists():
            text = (root / name).read_text(encoding="utf-8")
            for marker, content in parts.items():
                text = between_markers(text, marker, content)
            files.append(Rendered(Path(name), text))
    if (root / "alpha").is_dir():
        files.append(Rendered(Path("docker/packages.txt"), image_packages(root)))
    return files


def stale(files: list[Rendered], root: Path) -> list[Rendered]:
    """The files that differ from those on disk."""
    return [
        file
        for file in files
        if not (root / file.path).exists() or (root / file.path).read_text(encoding="utf-8") != file.text
    ]


def haproxy_config(registry: Registry, prefix: str = "") -> str:
    """The filtering proxy's configuration: allows start, stop, restart, logs and stats of the bots, and the list.

    `prefix` starts the names of the containers (the demo's).
    """
    names = [re.escape(prefix + container) for container in registry.containers]
    groups = ["|".join(names[start : start + _NAMES_PER_LINE]) for start in range(0, len(names), _NAMES_PER_LINE)]
    # Lines of one acl are alternatives; HAProxy limits the length of a line.
    steer = "\n".join(
        f"    acl steer path -m reg ^(/v1\\.[0-9]{{2}})?/containers/({group})/(start|stop|restart)$" for group in groups
    )
    look = "\n".join(
        f"    acl look path -m reg ^(/v1\\.[0-9]{{2}})?/containers/({group})/(logs|stats)$" for group in groups
    )
    return f"""# {_NOTE}
#
# The only way to the Docker engine for the command centre and the guard. What is not allowed below is 403: `inspect`
# above all, whose answer holds each container's environment. Paths are matched as they were sent, undecoded.
global
    log stdout format raw local0 notice
    maxconn 64

defaults
    mode http
    log global
    option dontlog-normal
    # one request a connection towards the engine: nothing can be smuggled behind another
    option http-server-close
    http-reuse never
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    timeout http-request 5s

frontend docker
    bind :2375
    monitor-uri /proxy-healthz
    monitor fail if {{ nbsrv(engine) lt 1 }}

    acl plain_path path -m reg ^(/v1\\.[0-9]{{2}})?/containers/[a-z0-9_/-]+$
    acl carries req.hdr(Upgrade) -m found
    acl carries req.hdr(Transfer-Encoding) -m found
    acl carries req.hdr(Expect) -m found
    acl carries req.hdr_val(Content-Length) gt 0
    acl carries req.hdr(Connection) -m sub -i upgrade

    # METH_GET of HAProxy would take HEAD too
    acl get method GET
    acl post method POST
    acl asks_more query -m found

    acl list path -m reg ^(/v1\\.[0-9]{{2}})?/containers/json$
    acl list_query query -m reg ^(all=(0|1|true|false)|size=0|trunc_cmd=(0|1)|limit=-?[0-9]{{1,5}})(&(all=(0|1|true|false)|size=0|trunc_cmd=(0|1)|limit=-?[0-9]{{1,5}}))*$

{steer}
    acl steer_query query -m reg ^t=[0-9]{{1,3}}$

{look}
    acl look_query query -m reg ^((stdout|stderr|timestamps|stream|one-shot)=(0|1|true|false)|tail=[0-9]{{1,5}}|since=[0-9]{{1,10}})(&((stdout|stderr|timestamps|one-shot)=(0|1|true|false)|tail=[0-9]{{1,5}}|since=[0-9]{{1,10}}))*$

    http-request deny deny_status 403 if !plain_path
    http-request deny deny_status 403 if carries
    http-request allow if get list !asks_more
    http-request allow if get list list_query
    http-request allow if post steer !asks_more
    http-request allow if post steer steer_query
    http-request allow if get look look_query
    http-request deny deny_status 403
    default_backend engine

backend engine
    option httpchk GET /_ping
    server docker unix@/var/run/docker.sock check inter 5s
"""


#: The commands every user may send, on its own keys. `@dangerous` includes FLUSHALL, KEYS, CONFIG, ACL and the like.
_COMMANDS = "+@all -@admin -@dangerous +info"


def redis_users(registry: Registry) -> str:
    """One user per service and bot, with the keys it needs; passwords are filled in when Redis starts."""
    state = [f"{kind}:*" for kind in ("position", "positions", "orders", "wallet", "status", "events")]
    lines = [
        f"# {_NOTE}",
        "# %PASSWORD:<user>% becomes the SHA-256 of that user's password when Redis starts.",
        f"# databases {registry.databases}",
        # the listener writes live state and markets; every user may raise alerts and shares the request budget
        _user(
            "websocket_listener",
            writes=[*state, "market:*", "candles:*", "venue:*"],
            reads=["symbols:*", "intervals:*"],
            shout=True,
        ),
        _user("trade_sync_service", writes=[], reads=["status:*", "venue:*", "alerts"]),
        _user(
            "risk_guard",
            writes=["control:*", "control_replies:guard", "symbols:*", "heartbeat:guard"],
            reads=[*state, "market:*", "candles:*", "venue:*", "heartbeat:*", "control_replies:*", "intervals:*"],
        ),
        _user("telegram_manager", writes=["control:*"], reads=["*"]),
        _user("doctor", writes=[], reads=["*"], alerts=False, budget=True),
        _user("postgres_backup", writes=[], reads=[], budget=False),
        _user("dashboard", writes=[], reads=["*"], budget=False, listen=True),
        # only what steering sends: commands to the bots and the guard, and the reading of their answers
        _user("dashboard_steering", writes=["control:*"], reads=["*"], budget=False),
        _user("api_server", writes=[], reads=["*"], alerts=False, budget=False),
        _user("tick_recorder", writes=[], reads=["symbols:*", "venue:*"]),
        _user("analysis_service", writes=["analysis:*"], reads=["symbols:*", "venue:*"]),
        *(_bots_user(container, bots) for container, bots in registry.containers.items()),
    ]
    return "\n".join(lines) + "\n"


def _bots_user(container: str, bots: Sequence[Bot]) -> str:
    """The user of a container: the keys of its bots, nobody else's."""
    own, read = [], []
    for bot in bots:
        own += [f"{kind}:{bot.id}" for kind in ("heartbeat", "symbols", "intervals", "control", "control_replies")]
        own += [f"indicators:{bot.id}:*"]
        read += [f"position:{bot.id}:*"]
        read += [f"{kind}:{bot.id}" for kind in ("positions", "orders", "wallet", "status", "events")]
    return _user(container, writes=own, reads=[*read, "market:*", "candles:*", "venue:*"])


def _user(
    name: str,
    writes: list[str],
    reads: list[str],
    *,
    alerts: bool = True,
    budget: bool = True,
    shout: bool = False,
    listen: bool = False,
) -> str:
    keys = [f"~{key}" for key in writes] + [f"%R~{key}" for key in reads]
    keys += ["%W~alerts"] * alerts + ["~throttle:*"] * budget
    channels = " &alpha:events" if shout or listen else ""
    return f"user {name} on %PASSWORD:{name}% resetchannels {' '.join(keys)}{channels} {_COMMANDS}"


def _place(bot: Bot) -> tuple[str, str]:
    """The variables of a bot that say where its account is."""
    return f"{bot.prefix}_BYBIT_DEMO", f"{bot.prefix}_BYBIT_REGION"


def compose_keys(registry: Registry) -> str:
    """The anchors with the variables of each container's bots: their trading keys, and the keys other services read with."""
    lines = []
    for container, bots in registry.containers.items():
        lines.append(f"x-{container}-keys: &{container}-keys")
        for bot in bots:
            names = (bot.key_variable, bot.secret_variable, *_place(bot))
            lines += [f"  {name}: ${{{name}:-}}" for name in names]
        lines.append(f"x-{container}-reads: &{container}-reads")
        for bot in bots:
            # A plain .env may have one key for everything; it is then also passed as the read-only key.
            lines.append(f"  {bot.read_key_variable}: ${{{bot.read_key_variable}:-${{{bot.key_variable}:-}}}}")
            lines.append(f"  {bot.read_secret_variable}: ${{{bot.read_secret_variable}:-${{{bot.secret_variable}:-}}}}")
            lines += [f"  {name}: ${{{name}:-}}" for name in _place(bot)]
    for kind in ("keys", "reads"):
        lines.append(f"x-all-{kind}: &all-{kind}")
        lines.append(f"  <<: [{', '.join(f'*{container}-{kind}' for container in registry.containers)}]")
    return "\n".join(lines) + "\n"


#: Name to tag of the images that ours are based on, or that run unmodified.
BASE_IMAGES = {
    "python": "python:3.13-slim",
    "debian": "debian:trixie-slim",
    "postgres": "postgres:17",
    "redis": "redis:8",
    "haproxy": "haproxy:3.0",
    "influxdb": "influxdb:1.12",
    "prometheus": "prom/prometheus:v2",
}


def compose_images(pins: Path) -> str:
    """The anchors of the base images, each with its digest if `pins` (NAME=tag@digest per line) has one."""
    text = pins.read_text(encoding="utf-8") if pins.exists() else ""
    pinned = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    lines = ["x-images:"]
    for name, tag in BASE_IMAGES.items():
        image = pinned.get(name, tag)
        if not re.fullmatch(re.escape(tag) + r"(@sha256:[0-9a-f]{64})?", image):
            raise Misconfigured(f"{pins}: {name} must be {tag}@sha256:..., not {image[:100]!r}. Run make images-pin.")
        if name == "postgres":
            # another major version is the operator's choice and has no digest here
            image = f"postgres:${{POSTGRES_VERSION:-{image.removeprefix('postgres:')}}}"
        lines.append(f'  {name}: &{name}-image "{image}"')
    return "\n".join(lines) + "\n"


def compose_logs(registry: Registry, *, read_only: bool = False) -> str:
    """The log folder of each container: for the step that makes the containers' user their owner, and for the dashboard."""
    how = ":ro" if read_only else ""
    return "".join(
        f"      - ./{bots[0].folder}/logs:/logs/{container}{how}\n" for container, bots in registry.containers.items()
    )


def _digest(text: str) -> str:
    """A digest of a mounted file for its service's settings: compose recreates the container when it changes."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def compose_channels(registry: Registry) -> str:
    """The variables of each bot's Telegram channel, for the command centre."""
    names = [f"{bot.prefix}_TELEGRAM_{what}" for bot in registry.bots for what in ("BOT_TOKEN", "CHANNEL_ID")]
    return "".join(f"      {name}: ${{{name}:-}}\n" for name in names)


def ha_services(registry: Registry) -> str:
    """What each container of bots needs besides where the stores are replicated."""
    return "".join(f"  {container}:\n    environment: *sentinels\n" for container in registry.containers)


def compose_services(registry: Registry) -> str:
    """The compose service of each container of bots."""
    return "\n".join(_service(container, bots) for container, bots in registry.containers.items()) + "\n"


def _service(container: str, bots: Sequence[Bot]) -> str:
    bot, variable = bots[0], container.upper().replace("-", "_")
    parameters = "\n".join(f"      {each.prefix}_PARAMETERS: ${{{each.prefix}_PARAMETERS:-}}" for each in bots)
    # One process runs them all; the service of a bot that is alone stays as it is.
    command = f"{bot.folder}/{bot.entry}" if len(bots) == 1 else "-m, bot_runner"
    shared = "" if len(bots) == 1 else f"      ALPHA_CONTAINER: {container}\n    mem_limit: {_memory_mb(len(bots))}m\n"
    return f"""  {container}:
    <<: *strategy
    image: alpha.invalid/{container}:${{ALPHA_VERSION:-local}}
    container_name: {container}
    build:
      context: .
      dockerfile: docker/Dockerfile
      args: {{ BASE: *python-image, GROUP: strategy, FOLDER: {bot.folder}, SERVICE: {container} }}
    command: [python3, {command}]
    environment:
      <<: [*common, *exchange, *{container}-keys]
{parameters}
      ALPHA_MAX_ORDER_USDT: ${{ALPHA_MAX_ORDER_USDT:-}}
      ALPHA_MAX_ORDERS_PER_MINUTE: ${{ALPHA_MAX_ORDERS_PER_MINUTE:-}}
      ALPHA_MAX_PRICE_DISTANCE_PCT: ${{ALPHA_MAX_PRICE_DISTANCE_PCT:-}}
      ALPHA_LEASE_SECONDS: ${{ALPHA_LEASE_SECONDS:-}}
      ALPHA_CANDLE_GRACE_MS: ${{ALPHA_CANDLE_GRACE_MS:-}}
      MODEL_SERVER_URL: ${{MODEL_SERVER_URL:-}}
      MODEL_DEADLINE_MS: ${{MODEL_DEADLINE_MS:-}}
      ALPHA_COLUMNS_DIR: ${{ALPHA_COLUMNS_DIR:-/columns}}
      POSTGRES_USER: alpha_strategy
      POSTGRES_PASSWORD: ${{ALPHA_STRATEGY_DB_PASSWORD:-${{POSTGRES_PASSWORD:-}}}}
      REDIS_USERNAME: {container}
      REDIS_PASSWORD: ${{REDIS_{variable}_PASSWORD:-${{REDIS_PASSWORD:-}}}}
{shared}    volumes:
      - ./{bot.folder}/logs:/var/log/alpha
      - ./columns:/columns:ro
      - {{ <<: *secrets, source: "./docker/no_secrets/${{ALPHA_SECRETS:+../../secrets/{container}}}" }}
"""


def _memory_mb(bots: int) -> int:
    """The memory limit of a container of several bots, in MiB: the process, then each bot with its worker."""
    return 192 + 24 * bots


def between_markers(text: str, name: str, content: str) -> str:
    """`text` with the lines between `# <name>: rendered` and `# end of <name>` replaced.

    A text without these markers is returned unchanged; raises Misconfigured when only one of them is present.
    """
    lines = text.splitlines(keepends=True)
    said = [line.strip() for line in lines]
    begin, end = f"# {name}: rendered", f"# end of {name}"
    if (begin in said) != (end in said):
        raise Misconfigured(f"The compose file has one marker of {name!r} but not the other. Restore both.")
    if begin not in said:
        return text
    return "".join([*lines[: said.index(begin) + 1], content, *lines[said.index(end) :]])

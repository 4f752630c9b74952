"""Renders a stack for Docker Swarm from docker-compose.production.yml: `alpha render --swarm`.

Compose and `docker stack deploy` differ where several hosts matter, and each difference is settled here: bind mounts become secrets
and configs, data stay on the nodes with their label, nothing is published, nobody sees Docker's socket, no container has a fixed name,
and each service has one replica, which its lease fences from one that a lost node still runs.
"""

import hashlib
import os.path
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from alpha.errors import Misconfigured
from alpha.registry import Registry
from alpha_cli.installation import layout
from alpha_cli.rendering.interpolation import filled

SOURCE = "docker-compose.production.yml"
#: What one host needs and a swarm does not: jobs and ports of the host, and what reaches Docker's socket.
LEFT_OUT = frozenset({"prepare", "ports", "docker_socket_proxy", "db", "export", "archive"})
#: Labels of nodes: who keeps the data, and who runs the rest.
STORES, WORK = "node.labels.alpha.stores == true", "node.labels.alpha.work == true"
OURS = "alpha.invalid/"
#: Keys of a compose service: kept as they are, written in another form, and of one host alone.
_KEPT = frozenset(
    {"user", "working_dir", "entrypoint", "labels", "cap_drop", "cap_add", "read_only", "stop_grace_period", "logging"}
)
_REWRITTEN = frozenset(
    {
        "image",
        "command",
        "environment",
        "healthcheck",
        "volumes",
        "networks",
        "tmpfs",
        "shm_size",
        "mem_limit",
        "cpus",
        "pids_limit",
    }
)
_A_HOSTS = frozenset(
    {
        "build",
        "pull_policy",
        "container_name",
        "restart",
        "depends_on",
        "profiles",
        "ports",
        "security_opt",
        "cpu_shares",
    }
)
_SECRET = re.compile(r"(_PASSWORD|_SECRET|_TOKEN|_API_KEY|_PASS)$")
#: Who reads the files in /run/secrets: 10001 in images of ours; PostgreSQL and InfluxDB read them as two users.
_READERS = {"redis": ("999", 0o400), "postgres": ("0", 0o444), "influxdb": ("0", 0o444)}
_UNITS = {"k": 1024, "m": 1024**2, "g": 1024**3}
_LONGEST_NAME = 64
#: Folders of a host that hold data: in a swarm a volume of this name on the node with the label.
_DATA = {"./database/backups/postgres": "backups", "./ticks": "ticks", "./models": "models"}


@dataclass(frozen=True, slots=True)
class SwarmOptions:
    """What can be chosen. `images` replaces `alpha.invalid/`; `profiles` are compose's; `encrypted` is traffic between nodes."""

    images: str = OURS
    profiles: Sequence[str] = ()
    encrypted: bool = True


def swarm_stack(registry: Registry, root: Path, values: Mapping[str, str], options: SwarmOptions) -> str:
    """The text of the stack file. `values` are the variables that compose would fill in.

    Raises Misconfigured when secrets would stand in it.
    """
    if not values.get("ALPHA_SECRETS"):
        raise Misconfigured(
            "A stack takes its secrets from secrets/, and ALPHA_SECRETS is not set: in plain variables every node would show "
            "them. Run alpha init, which moves them."
        )
    compose = yaml.safe_load((root / SOURCE).read_text(encoding="utf-8"))
    stack = _Stack(registry, root, values, options)
    services = {
        name: stack.service(name, part) for name, part in compose["services"].items() if stack.wanted(name, part)
    }
    document = {
        "version": "3.13",
        "services": services,
        "networks": {name: _network(compose["networks"][name], options) for name in sorted(stack.networks)},
        "volumes": {name: {} for name in sorted(stack.volumes)},
        "configs": dict(sorted(stack.configs.items())),
        "secrets": dict(sorted(stack.secrets.items())),
    }
    head = "# Rendered from docker-compose.production.yml, .env and secrets/ by `alpha render --swarm`; docs/guides/SWARM_GUIDE.md.\n"
    return head + str(yaml.safe_dump(_escaped(document), sort_keys=False, width=120))


class _Stack:
    """Collects what the services of one stack use."""

    def __init__(self, registry: Registry, root: Path, values: Mapping[str, str], options: SwarmOptions) -> None:
        self._registry, self._root, self._values, self._options = registry, root, values, options
        self._known_secrets = {*layout.generated(registry), *layout.given(registry)}
        self.networks: set[str] = set()
        self.volumes: set[str] = set()
        self.configs: dict[str, Any] = {}
        self.secrets: dict[str, Any] = {}

    def wanted(self, name: str, part: Mapping[str, Any]) -> bool:
        """Whether the stack has this service. The doctor is there at rest, to be scaled to one."""
        if name in LEFT_OUT or name.endswith("_port"):
            return False
        profiles = part.get("profiles", ())
        return name == "doctor" or not profiles or any(profile in self._options.profiles for profile in profiles)

    def service(self, name: str, part: Mapping[str, Any]) -> dict[str, Any]:
        """One service in the stack's form."""
        pinned = self._mounts(name, part)
        networks = [network for network in part["networks"] if network != "control-network"]
        self.networks.update(networks)
        out: dict[str, Any] = {"image": self._image(part)}
        unknown = part.keys() - _KEPT - _REWRITTEN - _A_HOSTS
        if unknown:
            raise Misconfigured(
                f"{SOURCE}: {name} has {', '.join(sorted(unknown))}, which no stack is rendered from yet."
            )
        for key in sorted(_KEPT):
            if key in part:
                out[key] = self._fill(part[key])
        out["command"] = self._fill(part["command"]) if "command" in part else None
        out["environment"] = self._environment(name, part)
        if name in self._registry.containers:
            # one that follows the desired state of its bots, because nobody may stop a service of the swarm
            out["command"] = ["python3", "-m", "bot_runner"]
            out["environment"]["ALPHA_CONTAINER"] = name
        out["healthcheck"] = self._fill(part["healthcheck"])
        out |= {key: pinned[key] for key in ("volumes", "secrets", "configs") if pinned[key]}
        out["networks"] = networks
        out["deploy"] = self._deploy(name, part, on_stores=bool(pinned["data"]))
        return {key: value for key, value in out.items() if value not in (None, {}, [])}

    def _image(self, part: Mapping[str, Any]) -> str:
        image = str(self._fill(part["image"]))
        return image.replace(OURS, self._options.images, 1) if image.startswith(OURS) else image

    def _environment(self, name: str, part: Mapping[str, Any]) -> dict[str, str]:
        """The settings that are set. Log files and Docker's proxy are a host's."""
        found = {}
        for variable, value in (part.get("environment") or {}).items():
            text = str(self._fill(value))
            if text and (variable in self._known_secrets or _SECRET.search(variable)):
                raise Misconfigured(
                    f"{variable} of {name} comes from .env, and every node would show it. Run alpha init, which moves it to "
                    "secrets/, and remove it from .env."
                )
            if text:
                found[variable] = text
        for gone in ("LOG_DIR", "DASHBOARD_LOGS_DIR"):
            found.pop(gone, None)
        if "BOT_CONTROL_URL" in found or name == "dashboard":
            found["BOT_CONTROL_URL"] = "swarm:"
        if "POSTGRES_USER" in found and name != "postgres":
            # A second instance, as on a node that is cut off but runs, waits for the lease.
            found["ALPHA_STANDBY"] = "true"
        # A swarm replaces what is unhealthy; a store that is away is no reason to replace its clients.
        found["HEALTH_PATH"] = "/livez"
        return found

    def _mounts(self, name: str, part: Mapping[str, Any]) -> dict[str, list[Any]]:
        volumes: list[Any] = []
        secrets: list[Any] = []
        configs: list[Any] = []
        data: list[str] = []
        uid, mode = _READERS.get(name, ("10001", 0o400))
        for volume in part.get("volumes", ()):
            source, target = self._place(volume)
            if source.startswith("./secrets/"):
                secrets += [
                    {"source": self._secret(path), "target": path.name, "uid": uid, "gid": uid, "mode": mode}
                    for path in sorted((self._root / source).glob("*"))
                    if path.is_file()
                ]
            elif source in _DATA or not source.startswith((".", "/")):
                volume_name = _DATA.get(source, source)
                self.volumes.add(volume_name)
                data.append(volume_name)
                volumes.append({"type": "volume", "source": volume_name, "target": target})
            elif (self._root / source).is_file():
                path = self._root / source
                mode_of = 0o555 if path.stat().st_mode & 0o111 else 0o444
                configs.append({"source": self._config(path), "target": target, "mode": mode_of})
        tmpfs = list(part.get("tmpfs", ()))
        if "shm_size" in part:
            tmpfs.append(f"/dev/shm:size={part['shm_size']}")  # noqa: S108 - PostgreSQL's own, inside its container
        volumes += [_tmpfs(entry) for entry in tmpfs]
        return {"volumes": volumes, "secrets": secrets, "configs": configs, "data": data}

    def _place(self, volume: str | Mapping[str, Any]) -> tuple[str, str]:
        """Source, normal and relative to the checkout, and target of a mount."""
        if isinstance(volume, str):
            source, target = volume.split(":")[:2]
        else:
            source, target = volume["source"], volume["target"]
        source = str(self._fill(source))
        return (f"./{os.path.normpath(source)}" if source.startswith(".") else source), target

    def _secret(self, path: Path) -> str:
        """Its name follows the time it was written: a secret of a swarm cannot change, so a new one gets a new name.

        Nothing of the content is in the name: a weak password could be found by its digest.
        """
        place = f"{path.parent.name}_{path.name}"
        stamp = hashlib.sha256(f"{place} {path.stat().st_mtime_ns}".encode()).hexdigest()[:12]
        name = _named(place, stamp)
        self.secrets[name] = {"name": name, "file": f"./{path.relative_to(self._root)}"}
        return name

    def _config(self, path: Path) -> str:
        name = _named(path.name.replace(".", "_"), hashlib.sha256(path.read_bytes()).hexdigest()[:12])
        self.configs[name] = {"name": name, "file": f"./{path.relative_to(self._root)}"}
        return name

    def _deploy(self, name: str, part: Mapping[str, Any], *, on_stores: bool) -> dict[str, Any]:
        memory = part.get("mem_limit")
        if name in self._registry.containers and memory == "192m":
            memory = "216m"  # the process, and the worker that its strategy runs in
        limits = {
            "memory": memory,
            "cpus": str(part["cpus"]) if "cpus" in part else None,
            "pids": part.get("pids_limit"),
        }
        once = name in ("migrate", "doctor")
        return {
            "replicas": 0 if name == "doctor" else 1,
            # the virtual address of a service is not needed for one replica, and does not reach every node everywhere
            "endpoint_mode": "dnsrr",
            "placement": {"constraints": [STORES if on_stores else WORK]},
            "resources": {"limits": {key: value for key, value in limits.items() if value is not None}},
            "restart_policy": {
                "condition": "none" if name == "doctor" else "on-failure" if once else "any",
                "delay": "2s",
            },
            # two of a service at once are two that wait for each other's lease
            "update_config": {"order": "stop-first", "failure_action": "pause"},
        }

    def _fill(self, value: Any) -> Any:
        if isinstance(value, str):
            return filled(value, self._values)
        if isinstance(value, Mapping):
            return {key: self._fill(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._fill(each) for each in value]
        return value


def _named(place: str, stamp: str) -> str:
    return f"alpha_{place[: _LONGEST_NAME - len(stamp) - 7]}_{stamp}"


def _network(part: Mapping[str, Any], options: SwarmOptions) -> dict[str, Any]:
    """An overlay network; attachable, so that the guide's container of ports can stand on it."""
    found: dict[str, Any] = {"driver": "overlay", "attachable": True}
    if part.get("internal"):
        found["internal"] = True
    if options.encrypted:
        found["driver_opts"] = {"encrypted": "true"}
    return found


def _tmpfs(entry: str) -> dict[str, Any]:
    """`/tmp:size=64m,mode=1777` in the long form; a swarm's are world-writable with the sticky bit anyway."""
    target, _, options = entry.partition(":")
    size = dict(option.split("=", 1) for option in options.split(",")).get("size", "64m")
    return {"type": "tmpfs", "target": target, "tmpfs": {"size": int(size[:-1]) * _UNITS[size[-1].lower()]}}


def _escaped(value: Any) -> Any:
    """`docker stack deploy` fills variables in too: a dollar that is meant is doubled."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: _escaped(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_escaped(each) for each in value]
    return value

"""Patroni with etcd, two PostgreSQL and HAProxy on loopback: a leader that can be killed, paused and cut off.

Needs the programs `etcd` and `haproxy` (Debian: etcd-server, haproxy) and Patroni 4 in `.venv-ha`; `make test-ha` installs what is
missing where it may.
"""

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import asyncpg

from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from demo.ports import free_port
from demo.postgres import DATABASE, OWNER, SYSTEM_USER, binaries
from tests.support.world import ROOT, until

VENV = ROOT / ".venv-ha" / "bin" / "patroni"
#: What a connection raises while nobody leads.
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
#: Patroni's least; the leader's key in etcd ends after this time.
TTL_S = 20


def missing() -> str:
    """Why the cluster cannot be had here; empty when it can."""
    absent = [name for name in ("etcd", "haproxy") if shutil.which(name) is None]
    if absent:
        packages = {"etcd": "etcd-server", "haproxy": "haproxy"}
        return f"{' and '.join(absent)} not installed (Debian: {' '.join(packages[name] for name in absent)})"
    return "" if patroni() else "Patroni 4 is not installed in .venv-ha (run 'make test-ha')"


def patroni() -> str | None:
    """The program. Patroni 3 (Debian bookworm) loses its synchronous standby for good after some failovers, so 4 is used."""
    return str(VENV) if VENV.exists() else None


class Relay:
    """A TCP connection through this process: it can be cut, or stand still, as behind a network that carries nothing."""

    def __init__(self, port: int, target: int) -> None:
        self.port, self._target = port, target
        self._open: set[asyncio.StreamWriter] = set()
        self._cut = False
        self._passes = asyncio.Event()
        self._passes.set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def cut(self) -> None:
        """Close what is open and refuse what comes."""
        self._cut = True
        for writer in self._open:
            writer.transport.abort()

    def stand_still(self) -> None:
        """Nothing passes, nothing is closed; what was sent arrives when it is healed."""
        self._passes.clear()

    def heal(self) -> None:
        """Let everything pass again."""
        self._cut = False
        self._passes.set()

    async def stop(self) -> None:
        """Stop listening."""
        self.cut()
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            await self._passes.wait()
            theirs, ours = await asyncio.open_connection("127.0.0.1", self._target)
            self._open.add(ours)
            await asyncio.gather(self._pass(reader, ours), self._pass(theirs, writer))
            self._open.discard(ours)
        except (OSError, asyncio.CancelledError):
            # the streams' own callback asks for the exception of this task, and fails where it was cancelled
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(65_536):
                await self._passes.wait()
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()


class Wire:
    """The way of one process to PostgreSQL and to the exchange, which can stand still; Redis stays in reach."""

    def __init__(self, postgres: int, exchange: int) -> None:
        self._relays = Relay(free_port(), postgres), Relay(free_port(), exchange)

    async def start(self) -> None:
        """Listen."""
        for relay in self._relays:
            await relay.start()

    @property
    def exchange(self) -> str:
        """The host and port of the exchange, as this process knows it."""
        return f"127.0.0.1:{self._relays[1].port}"

    def environment(self) -> dict[str, str]:
        """The variables that lead through it."""
        return {
            "POSTGRES_PORT": str(self._relays[0].port),
            "BYBIT_REST_URL": f"http://{self.exchange}",
            "BYBIT_WS_URL": f"ws://{self.exchange}",
        }

    def stand_still(self) -> None:
        """The process is cut off."""
        for relay in self._relays:
            relay.stand_still()

    def heal(self) -> None:
        """And connected again."""
        for relay in self._relays:
            relay.heal()

    async def stop(self) -> None:
        """Stop listening."""
        for relay in self._relays:
            await relay.stop()


class Node:
    """One Patroni with its PostgreSQL: a host."""

    def __init__(self, name: str, folder: Path, etcd: Relay, password: str) -> None:
        self.name, self.folder, self.etcd = name, folder, etcd
        self._password = password
        self.port, self.rest = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start Patroni, which starts PostgreSQL."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "patroni.json"
        config.write_text(json.dumps(self._config()))
        _own(self.folder)
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [str(patroni()), str(config)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                cwd=self.folder, env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(self.folder)},
                user=SYSTEM_USER if os.geteuid() == 0 else None,
                group=pwd.getpwnam(SYSTEM_USER).pw_gid if os.geteuid() == 0 else None,
                extra_groups=() if os.geteuid() == 0 else None,
            )  # fmt: skip

    def _config(self) -> dict[str, object]:
        login = {"username": OWNER, "password": self._password}
        replication = {"username": "replicator", "password": self._password}
        return {
            "scope": "alpha",
            "name": self.name,
            "restapi": {"listen": f"127.0.0.1:{self.rest}", "connect_address": f"127.0.0.1:{self.rest}"},
            "etcd3": {"hosts": [f"127.0.0.1:{self.etcd.port}"], "use_proxies": True},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL_S,
                    "loop_wait": 3,
                    "retry_timeout": 5,
                    "synchronous_mode": True,
                    "primary_start_timeout": 0,
                    "postgresql": {
                        "use_pg_rewind": True,
                        "parameters": {"max_connections": 200, "wal_log_hints": "on", "timezone": "UTC"},
                    },
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.folder / "data"),
                "bin_dir": str(binaries()),
                "pgpass": str(self.folder / "pgpass"),
                "authentication": {"superuser": login, "replication": replication, "rewind": login},
                "parameters": {"unix_socket_directories": str(self.folder), "shared_buffers": "32MB"},
                "pg_hba": [
                    "host all all 127.0.0.1/32 scram-sha-256",
                    "host replication replicator 127.0.0.1/32 scram-sha-256",
                    "local all all trust",
                ],
            },
        }

    def role(self) -> str:
        """What Patroni says it is: primary, replica, or nothing."""
        try:
            with urlopen(f"http://127.0.0.1:{self.rest}/patroni", timeout=1) as answer:
                found = json.loads(answer.read())
        except (URLError, OSError, ValueError):
            return ""
        state = str(found.get("role", "")) if found.get("state") == "running" else ""
        return "primary" if state in {"master", "primary"} else state

    def is_synchronous(self) -> bool:
        """Whether it is the standby that every commit waits for."""
        try:
            with urlopen(f"http://127.0.0.1:{self.rest}/sync", timeout=1) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def signal(self, number: int) -> None:
        """Send a signal to every process of the host."""
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """The host is lost: everything of it at once."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def _pids(self) -> list[int]:
        found = [] if self._process is None or self._process.poll() is not None else [self._process.pid]
        with contextlib.suppress(OSError, ValueError, IndexError):
            main = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
            if str(self.folder / "data") in Path(f"/proc/{main}/cmdline").read_text():
                found.append(main)
        for parent in list(found):
            with contextlib.suppress(OSError):
                found += [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
        return list(dict.fromkeys(found))


class Cluster:
    """etcd, two nodes, HAProxy to the leader. Offers what `EmbeddedPostgres` offers to tests."""

    def __init__(self, folder: Path, password: str, *, nodes: int = 2) -> None:
        self.folder = folder
        self._password = password
        self.port = free_port()
        self._etcd_port = free_port()
        self.nodes = [
            Node(f"node{number}", folder / f"node{number}", Relay(free_port(), self._etcd_port), password)
            for number in range(1, nodes + 1)
        ]
        self._processes: list[subprocess.Popen[bytes]] = []

    async def start(self) -> None:
        """Start everything; returns when a leader with a synchronous standby answers through HAProxy."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        for above in self.folder.parents:
            if above.owner() == pwd.getpwuid(os.geteuid()).pw_name and not above.stat().st_mode & 0o001:
                above.chmod(above.stat().st_mode | 0o001)
        etcd, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        self._run(
            "etcd", "--name", "e", "--data-dir", str(self.folder / "etcd"), "--listen-client-urls", etcd,
            "--advertise-client-urls", etcd, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"e={peer}", "--unsafe-no-fsync",
        )  # fmt: skip
        await until(self._etcd_answers, 30, "etcd")
        for node in self.nodes:
            await node.etcd.start()
            node.start()
        self._haproxy()
        await until(self._leads_with_standby, 120, "Patroni to have a leader and a synchronous standby")
        await until(self._made_database, 30, "the database through HAProxy")

    def _run(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.log").open("ab") as output:
            self._processes.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
            )

    def _haproxy(self) -> None:
        servers = "\n".join(
            f"    server {node.name} 127.0.0.1:{node.port} check port {node.rest}" for node in self.nodes
        )
        config = self.folder / "haproxy.cfg"
        config.write_text(
            f"""global
    maxconn 300
defaults
    mode tcp
    timeout connect 2s
    timeout check 1s
    timeout client 1h
    timeout server 1h
listen leader
    bind 127.0.0.1:{self.port}
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""
        )
        self._run("haproxy", "-db", "-f", str(config))

    async def _etcd_answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._etcd_port), 1):
            return True
        return False

    async def _leads_with_standby(self) -> bool:
        roles = await asyncio.to_thread(lambda: [node.role() for node in self.nodes])
        synchronous = await asyncio.to_thread(lambda: [node.is_synchronous() for node in self.nodes])
        return "primary" in roles and any(synchronous)

    async def _made_database(self) -> bool:
        try:
            connection = await self.connect("postgres")
        except AWAY:
            return False
        try:
            if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()
        return True

    async def connect(self, database: str = DATABASE) -> Any:
        """A connection of the owner to the leader, through HAProxy. Raises `AWAY` while there is none."""
        return await asyncpg.connect(
            host="127.0.0.1", port=self.port, user=OWNER, password=self._password, database=database, timeout=2,
            command_timeout=5,
        )  # fmt: skip

    @property
    def leader(self) -> Node | None:
        """The node that leads now."""
        return next((node for node in self.nodes if node.role() == "primary"), None)

    async def whole(self, wait_s: float = 120) -> None:
        """Wait until there is a leader with a synchronous standby again."""
        await until(self._leads_with_standby, wait_s, "a leader with a synchronous standby")

    def settings(self) -> DatabaseSettings:
        """Connection settings of the owner, through HAProxy."""
        return load(
            DatabaseSettings, env_file=None, **{name.lower(): value for name, value in self.environment().items()}
        )

    def environment(self) -> dict[str, str]:
        """The same as environment variables."""
        return {
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": str(self.port),
            "POSTGRES_DB": DATABASE,
            "POSTGRES_USER": OWNER,
            "POSTGRES_PASSWORD": self._password,
        }

    async def stop(self) -> None:
        """End everything."""
        for node in self.nodes:
            node.signal(signal.SIGCONT)
            node.kill()
            await node.etcd.stop()
        for process in self._processes:
            process.kill()
            process.wait()


def _own(folder: Path) -> None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() == 0:
        for path in (folder, folder / "patroni.json"):
            shutil.chown(path, SYSTEM_USER)

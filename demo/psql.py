"""`make psql`: psql on the demo's database. Without a running demo the database is started temporarily."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from alpha.errors import AlphaError, Misconfigured
from demo.lock import DemoLock
from demo.orphans import server_of
from demo.postgres import EmbeddedPostgres, binaries
from demo.settings import DemoSecrets

STATE = Path(os.environ.get("DEMO_STATE", ".state/demo")).absolute()


class _Running(msgspec.Struct, frozen=True):
    folder: str
    postgres_port: int


def open_psql(state: Path, arguments: list[str]) -> int:
    """Run psql with these arguments; returns its exit code. Raises Misconfigured when no demo ever ran in `state`."""
    note = state / "running.json"
    if note.exists():
        running = msgspec.json.decode(note.read_bytes(), type=_Running)
        data = Path(running.folder) / "postgres"
        # A killed demo leaves its addresses file, and its server until the next start.
        if server_of(data / "postmaster.pid", data) is not None:
            return _psql(Path(running.folder), running.postgres_port, arguments)
    folders = sorted(state.glob("*/secrets.json"), key=lambda path: path.stat().st_mtime)
    if not folders:
        raise Misconfigured(f"No demo has run yet (nothing in {state}). Run 'make demo' first.")
    folder = folders[-1].parent
    lock = DemoLock(state.absolute())
    server = EmbeddedPostgres(folder / "postgres", _secrets(folder).postgres)
    try:
        server.start()
        return _psql(folder, server.port, arguments)
    finally:
        server.stop()
        lock.release()


def _secrets(folder: Path) -> DemoSecrets:
    return msgspec.json.decode((folder / "secrets.json").read_bytes(), type=DemoSecrets)


def _psql(folder: Path, port: int, arguments: list[str]) -> int:
    environment = {**os.environ, "PGPASSWORD": _secrets(folder).postgres}
    client = [str(binaries() / "psql"), "-h", "127.0.0.1", "-p", str(port), "-U", "trading_user", "-d", "trading_db"]
    return subprocess.run([*client, *arguments], env=environment, check=False).returncode


def main() -> int:
    """Entry point of `make psql`."""
    try:
        return open_psql(STATE, sys.argv[1:])
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code


if __name__ == "__main__":
    sys.exit(main())

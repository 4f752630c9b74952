"""Two demos in one folder, a killed demo, a folder with any name: no mix-ups and no leftovers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alpha.errors import Fatal, Misconfigured
from demo.lock import DemoLock
from demo.orphans import server_of
from demo.postgres import EmbeddedPostgres
from demo.redis import EmbeddedRedis

ROOT = Path(__file__).resolve().parents[2]
STRANGE = 'it\'s a höuse "$HOME" # `of` 100%'
#: Starts both servers as the demo does; it is then killed.
_KILLED = """
import os, signal, subprocess, sys
from pathlib import Path
from demo.lock import DemoLock
from demo.postgres import EmbeddedPostgres
from demo.redis import EmbeddedRedis
folder = Path(sys.argv[1])
lock = DemoLock(folder)
postgres, redis = EmbeddedPostgres(folder / "postgres", "p", durable=False), EmbeddedRedis(folder / "redis", "p")
postgres.take_over(); redis.take_over(); lock.wait_for_the_former()
postgres.start(); redis.start()
# a service that takes a moment to end
subprocess.Popen(["sleep", sys.argv[2]], pass_fds=[lock.children], start_new_session=True)
print("up", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_a_second_one_is_refused_at_once_and_the_first_one_lives_on(tmp_path: Path) -> None:
    first = DemoLock(tmp_path)
    with pytest.raises(Misconfigured, match=f"A demo runs here already, process {os.getpid()}"):
        DemoLock(tmp_path)
    first.release()
    DemoLock(tmp_path).release()


def test_make_demo_says_so_and_touches_nothing(tmp_path: Path) -> None:
    lock = DemoLock(tmp_path)
    market = tmp_path / "generated-7"
    server = EmbeddedPostgres(market / "postgres", "p", durable=False)
    server.start()
    try:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "demo"],
            cwd=ROOT, env={**os.environ, "DEMO_STATE": str(tmp_path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2, done.stdout + done.stderr
        assert f"A demo runs here already, process {os.getpid()}" in done.stderr
        assert "Traceback" not in done.stderr
        assert time.monotonic() - began < 60
        assert server_of(market / "postgres/postmaster.pid", market / "postgres") == server.pid
    finally:
        server.stop()
        lock.release()


def test_what_fails_to_start_stops_only_what_it_started(tmp_path: Path) -> None:
    first = EmbeddedPostgres(tmp_path / "postgres", "p", durable=False)
    first.start()
    try:
        second = EmbeddedPostgres(tmp_path / "postgres", "p", durable=False)
        with pytest.raises(Fatal):
            second.start()
        second.stop()
        assert server_of(tmp_path / "postgres/postmaster.pid", tmp_path / "postgres") == first.pid
    finally:
        first.stop()


def test_three_starts_after_three_kills_work_and_nothing_is_left(tmp_path: Path) -> None:
    servers = [(tmp_path / "postgres/postmaster.pid", tmp_path / "postgres"), (tmp_path / "redis/redis.pid", tmp_path / "redis")]  # fmt: skip
    seen = set()
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, str(tmp_path), "1"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
        assert "up" in done.stdout, done.stderr
        living = [server_of(*place) for place in servers]
        assert all(living), "this is what a killed demo leaves"
        seen |= set(living)
    assert len(seen) == 6, "each start had servers of its own"
    lock = DemoLock(tmp_path)
    EmbeddedPostgres(tmp_path / "postgres", "p").take_over()
    EmbeddedRedis(tmp_path / "redis", "p").take_over()
    lock.wait_for_the_former()
    lock.release()
    for pid in seen:
        until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), f"{pid} to be gone")  # type: ignore[misc]


def test_a_number_that_belongs_to_another_process_by_now_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres/postmaster.pid").write_text(f"{os.getpid()}\n")
    EmbeddedPostgres(tmp_path / "postgres", "p").take_over()
    (tmp_path / "postgres/postmaster.pid").write_text("nonsense\n")
    EmbeddedPostgres(tmp_path / "postgres", "p").take_over()


def test_servers_start_in_a_folder_with_any_name_and_with_any_password(tmp_path: Path) -> None:
    folder, password = tmp_path / STRANGE, "a \"p'ass\\word # ä"
    before = os.umask(0o077)
    try:
        postgres, redis = EmbeddedPostgres(folder / "postgres", password, durable=False), EmbeddedRedis(folder / "redis", password)  # fmt: skip
        for server in (postgres, redis):
            server.start()
            server.stop()
    finally:
        os.umask(before)
    assert (folder / "redis/appendonlydir").exists() or list((folder / "redis").glob("appendonly*"))


def test_a_redis_that_does_not_start_says_why_itself(tmp_path: Path) -> None:
    first = EmbeddedRedis(tmp_path / "one", "p")
    first.start()
    try:
        with pytest.raises(Fatal, match=r"(?i)address already in use|bind"):
            EmbeddedRedis(tmp_path / "two", "p2", first.port).start()
    finally:
        first.stop()

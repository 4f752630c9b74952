"""Bot control: addresses, faults as sentences, Docker's log frames. The engine itself is tested through the proxy."""

import struct
from pathlib import Path

import pytest

from alpha.config.loader import load
from alpha.errors import Misconfigured, Rejected, Retry
from alpha.registry import Registry
from bot_control import BotControl, BotControlSettings, open_control
from bot_control.docker_engine import demultiplexed
from demo.api import SupervisorApi
from demo.processes import Spec, Supervisor


def _open(url: str, registry: Registry) -> BotControl:
    return open_control(load(BotControlSettings, env_file=None, bot_control_url=url), registry)


@pytest.mark.parametrize("url", ["tcp://x:1", "unix://host/x", "http://", "supervisor://x", "nonsense", "https://x"])
def test_an_address_that_is_not_understood_names_the_forms(registry: Registry, url: str) -> None:
    with pytest.raises(Misconfigured, match="BOT_CONTROL_URL"):
        _open(url, registry)


@pytest.mark.parametrize(
    "url", ["unix:///nonexistent/docker.sock", "supervisor:///nonexistent/s.sock", "http://127.0.0.1:9"]
)
async def test_nobody_behind_the_address_is_a_passing_fault(registry: Registry, url: str) -> None:
    control = _open(url, registry)
    with pytest.raises(Retry, match="BOT_CONTROL_URL"):
        await control.list()
    await control.close()


async def test_the_supervisor_stops_starts_and_refuses(registry: Registry, tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "logs", tmp_path)
    command = ["sh", "-c", "echo I am here; while :; do sleep 0.1; done"]
    for name, kind in (("lxalgo", "bot"), ("risk_guard", "service")):
        supervisor.add(Spec(name, kind, command, {"PATH": "/usr/bin:/bin"}))
    api = SupervisorApi(supervisor, tmp_path / "s.sock")
    await api.open()
    control = _open(f"supervisor://{tmp_path / 's.sock'}", registry)
    await control.start("lxalgo")
    assert {process.container: process.running for process in await control.list()}["lxalgo"]
    assert await control.stop("lxalgo", 1) is True
    assert await control.stop("lxalgo", 1) is False
    assert not {process.container: process.running for process in await control.list()}["lxalgo"]
    await control.restart("lxalgo", 1)
    for name in ("risk_guard", "nobody"):
        with pytest.raises(Rejected):
            await control.stop(name, 1)
    assert {process.container: process.running for process in await control.list()}["risk_guard"]
    await control.close()
    await api.close()
    await supervisor.close([])


def test_dockers_frames_become_the_text_of_the_log() -> None:
    frames = b"".join(
        struct.pack(">BxxxL", stream, len(text)) + text for stream, text in ((1, b"one\n"), (2, b"two\n"))
    )
    assert demultiplexed(frames) == b"one\ntwo\n"
    assert demultiplexed(b"plain text of a terminal") == b"plain text of a terminal"
    assert demultiplexed(b"") == b""

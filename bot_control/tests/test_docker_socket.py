"""A socket of Docker at which nobody listens, as an engine that was killed leaves it."""

import gc
import socket
from pathlib import Path

import pytest

from alpha.errors import Retry
from bot_control.docker_engine import DockerEngine


async def test_a_socket_at_which_nobody_listens_is_named_and_none_is_left_open(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(path))
    control = DockerEngine(f"unix://{path}", ["shortseller"], [], "")
    for _ in range(2):
        with pytest.raises(Retry, match="refused"):
            await control.list()
    await control.close()
    gc.collect()
    assert [str(warning.message) for warning in recwarn if "unclosed" in str(warning.message)] == []

"""The filtering proxy against a real engine: what the registry allows passes, the rest of Docker's API is 403."""

import socket
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from alpha.config.loader import load
from alpha.errors import Rejected
from bot_control import BotControlSettings, open_control
from docker_proxy.tests.engine import ProxiedEngine, reason_to_skip
from tests.support.docker_env import DockerEnv, docker

pytestmark = pytest.mark.containers


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedEngine]:
    reason = reason_to_skip()
    if reason is not None:
        pytest.skip(reason)
    with DockerEnv() as room:
        proxied = ProxiedEngine(room, tmp_path_factory.mktemp("proxy"))
        proxied.start()
        yield proxied


def ask(
    engine: ProxiedEngine, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> int:
    """The status of a request whose target goes out exactly as written."""
    lines = [f"{method} {target} HTTP/1.1", "Host: docker", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return raw(engine, ("\r\n".join(lines) + "\r\n\r\n").encode() + body)[0]


def raw(engine: ProxiedEngine, request: bytes) -> list[int]:
    """The statuses of everything that comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", engine.port), timeout=20) as link:
        link.sendall(request)
        link.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := link.recv(65536):
            answer += chunk
    return [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.")]


async def test_a_bot_is_stopped_started_and_restarted_through_the_proxy(engine: ProxiedEngine) -> None:
    bot = engine.bots[0]
    settings = load(BotControlSettings, env_file=None, bot_control_url=f"http://127.0.0.1:{engine.port}")
    control = open_control(settings, engine.registry)
    assert await control.stop(bot, 2) is True
    assert engine.state(bot)[0] == "exited"
    assert await control.stop(bot, 2) is False
    assert await control.start(bot) is True
    status, started = engine.state(bot)
    assert status == "running"
    assert await control.start(bot) is False
    await control.restart(bot, 2)
    status, again = engine.state(bot)
    assert status == "running"
    assert again != started
    assert "hello from the bot" in await control.logs(bot, 10)
    assert ask(engine, "GET", "/containers/json") == 200
    assert ask(engine, "POST", f"/containers/{bot}/start") == 304
    listed = {process.container: process for process in await control.list()}
    # a stack may run on the same engine: its services are known by name, a stranger is not
    assert set(engine.bots) <= set(listed)
    assert engine.stranger not in listed
    assert listed[bot].running
    with pytest.raises(Rejected):
        await control.stop(engine.stranger, 1)
    assert engine.state(engine.stranger)[0] == "running"
    await control.close()


def test_the_list_is_given_and_holds_no_environment(engine: ProxiedEngine) -> None:
    answer = httpx.get(f"http://127.0.0.1:{engine.port}/v1.43/containers/json?all=1", trust_env=False)
    assert answer.status_code == 200
    assert engine.bots[0] in answer.text
    assert "planted-value" not in answer.text


def test_the_rest_of_the_engine_is_forbidden(engine: ProxiedEngine) -> None:
    bot = engine.bots[0]
    requests = [
        *(("GET", f"/containers/{bot}/{what}") for what in ("json", "top", "changes", "export", "archive?path=/", "attach/ws")),
        *(("POST", f"/containers/{bot}/{what}") for what in (
            "kill", "pause", "unpause", "attach", "exec", "update", "rename?name=x", "wait", "resize?h=1&w=1",
            "stop?t=1&signal=KILL", "start?detachKeys=a",
        )),
        ("DELETE", f"/containers/{bot}"),
        ("DELETE", f"/containers/{bot}?force=1"),
        ("PUT", f"/containers/{bot}/archive?path=/tmp"),
        ("HEAD", f"/containers/{bot}/archive?path=/"),
        ("HEAD", f"/containers/{bot}/logs"),
        ("GET", f"/containers/{bot}/logs?follow=1&stdout=1"),
        ("GET", f"/containers/{bot}/stats?stream=1x"),
        ("GET", f"/containers/{bot}/start"),
        ("GET", "/containers/json?size=1"),
        ("GET", '/containers/json?filters={"id":["x"]}'),
        ("POST", "/containers/json"),
        ("POST", "/containers/create"),
        ("POST", "/containers/create?name=x"),
        ("POST", "/containers/prune"),
        ("POST", "/commit?container=x"),
        ("POST", "/build"),
        ("POST", "/exec/abc/start"),
        *(("GET", path) for path in (
            "/", "/_ping", "/version", "/info", "/events", "/system/df", "/images/json", "/images/haproxy:3.0/json",
            "/images/search?term=x", "/images/get?names=x", "/volumes", "/networks", "/secrets", "/configs", "/swarm", "/nodes",
            "/services", "/tasks", "/plugins", "/distribution/x/json", "/session", "/auth", "/metrics",
        )),
        *(("POST", path) for path in (
            "/images/create?fromImage=x", "/images/load", "/images/prune", "/volumes/create", "/networks/create",
            "/secrets/create", "/swarm/init", "/swarm/leave", "/plugins/pull?remote=x", "/session", "/auth", "/grpc",
        )),
        ("DELETE", "/images/haproxy:3.0"),
        ("OPTIONS", "/containers/json"),
        ("TRACE", f"/containers/{bot}/stop"),
        ("CONNECT", "docker:2375"),
        ("PATCH", f"/containers/{bot}/start"),
    ]  # fmt: skip
    passed = {}
    for method, path in requests:
        for prefix in ("", "/v1.43", "/v1.24"):
            target = f"{prefix}{path}" if path.startswith("/") else path
            status = ask(engine, method, target)
            if status not in (400, 403, 405, 501):
                passed[method, target] = status
    assert passed == {}
    assert engine.state(bot)[0] == "running"


def test_other_containers_cannot_be_named_in_any_spelling(engine: ProxiedEngine) -> None:
    bot, stranger = engine.bots[0], engine.stranger
    stranger_id = engine.container_id(stranger)
    started = engine.state(stranger)
    letter = f"%{ord(bot[0]):02x}"
    names = [
        *(stranger, f"/{stranger}", stranger_id, stranger_id[:12], stranger_id[:4]),
        # a bot by anything but its own name: prefixes, ids, cases
        *(bot[:-1], f"{bot}-", engine.container_id(bot), engine.container_id(bot)[:12], bot.upper()),
        *(f"{bot}/../{stranger}", f"{bot}%2f..%2f{stranger}", f"{bot}%252f..%252f{stranger}", f"./{stranger}", f"../{bot}"),
        *(quote(stranger, safe="").replace("-", "%2d"), f"{letter}{bot[1:]}", f"%25{letter[1:]}{bot[1:]}"),
        *(f"{bot}%00", f"{bot};{stranger}", f"{bot}\\..\\{stranger}", f"{bot}%20", f"{bot}|{stranger}", ".*", f"{bot}\t"),
        "",
    ]  # fmt: skip
    passed = {}
    for name in names:
        for target in (f"/containers/{name}/stop", f"/v1.43/containers/{name}/stop", f"//containers/{name}/stop",
                       f"/v1.43/../containers/{name}/stop", f"/v1.43%2fcontainers/{name}/stop",
                       f"http://docker/containers/{name}/stop"):  # fmt: skip
            status = ask(engine, "POST", target)
            if status not in (400, 403):
                passed[target] = status
    assert passed == {}
    assert engine.state(stranger) == started
    assert engine.state(bot)[0] == "running"


def test_upgrades_and_bodies_are_forbidden_even_where_the_path_is_allowed(engine: ProxiedEngine) -> None:
    path = f"/containers/{engine.bots[1]}/start"
    assert ask(engine, "POST", path, {"Upgrade": "tcp"}) == 403
    # an upgrade to HTTP/2 is taken out by HAProxy itself: what is left is the plain start of a bot that runs
    assert ask(engine, "POST", path, {"Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}) in (304, 403)
    assert ask(engine, "POST", path, body=b'{"Binds":["/:/host"]}') == 403
    assert raw(engine, f"POST {path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade, close\r\n\r\n".encode())[0] == 403
    chunked = f"POST {path} HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert raw(engine, chunked.encode())[0] == 403


def test_nothing_can_be_smuggled_behind_an_allowed_request(engine: ProxiedEngine) -> None:
    started = engine.state(engine.stranger)
    hidden = f"POST /containers/{engine.stranger}/stop HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n"
    allowed = "GET /containers/json HTTP/1.1\r\nHost: d\r\n"
    for trick in (
        f"Content-Length: {len(hidden)}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        f"Content-Length: 0\r\nContent-Length: {len(hidden)}\r\n\r\n{hidden}",
        f"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}",
        f"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}",
        f"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}",
        f"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        f"X: y\n\n{hidden}",
        f"\r\n{hidden}",
    ):
        statuses = raw(engine, (allowed + trick).encode())
        assert set(statuses) <= {200, 400, 403}, trick
    assert engine.state(engine.stranger) == started


def test_a_client_cannot_reach_what_is_forbidden_by_another_protocol(engine: ProxiedEngine) -> None:
    assert raw(engine, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")[:1] in ([], [400], [403], [505])
    assert raw(engine, f"GET /containers/{engine.bots[0]}/json\r\n\r\n".encode())[:1] in ([], [400], [403])
    assert docker("ps", "-q", "--filter", f"name={engine.stranger}") != ""

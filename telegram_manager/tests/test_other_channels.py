"""Alerts on the channels of ALERT_URLS, on real HTTP servers: levels, policy, a dead channel, and secrets that stay secret."""

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import UTC, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from alpha.alerts import Alert, Alerts
from alpha.config.loader import load
from alpha.errors import Misconfigured
from alpha_cli.commands.alert import TEXT
from alpha_cli.main import main
from telegram_manager.alert_policy import AlertPolicy, AlertPolicyState, Raised
from telegram_manager.other_channels import OtherChannels, parse_urls, plain_text
from telegram_manager.settings import CommandCentreSettings

SECRET = "s3cret-of-the-channel"


class Hook:
    """A server that takes what Apprise's json:// posts; `status` is what it answers."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.status == 200:
                    hook.got.append(json.loads(body))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
                """Quiet."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Its address as Apprise writes it, with a secret in it."""
        return f"json://user:{SECRET}@127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hooks() -> Iterator[tuple[Hook, Hook]]:
    """Two channels."""
    both = Hook(), Hook()
    yield both
    for hook in both:
        hook.close()


class Kept(Alerts):
    """Alerts that are only kept."""

    def __init__(self) -> None:
        self.raised: list[Alert] = []

    async def raise_alert(self, alert: Alert, now_ms: int, *, again_after_ms: int = 0) -> None:
        """Keep it."""
        self.raised.append(alert)


async def until(condition: Any) -> None:
    """Wait for what happens in another thread."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def raised(level: str, text: str = "Equity < 5 & falling", key: str = "k") -> Raised:
    """One alert."""
    return Raised(level, key, text, "Look.", "momentum_001", "risk_guard", 1_700_000_000_000)


async def test_each_channel_gets_its_levels_by_the_same_policy(hooks: tuple[Hook, Hook]) -> None:
    everything, urgent = hooks
    channels = OtherChannels(parse_urls(f"{everything.url}\n  critical={urgent.url}"), Kept())
    stop = asyncio.Event()
    running = asyncio.create_task(channels.run(stop))
    # 23:13 UTC lies in the quiet hours: a warning waits, a critical one does not, and is repeated until acknowledged
    policy = AlertPolicy(AlertPolicyState(), 600_000, UTC, (time(22), time(7)))
    now = 1_700_003_600_000
    for level in ("warning", "critical"):
        for notice in policy.take([raised(level, key=level)] * 3, now):
            channels.put(notice)
    await until(lambda: everything.got and urgent.got)
    for notice in policy.take([], now + 601_000):
        channels.put(notice)
    await until(lambda: len(urgent.got) == 2)
    assert "Still so" in urgent.got[1]["message"]
    policy.acknowledge()
    assert policy.take([], now + 1_300_000) == []
    assert "(×3)" in everything.got[0]["message"], "one message for three of a kind"
    assert "Equity < 5 & falling" in everything.got[0]["message"]
    assert everything.got[0]["title"] == "Alpha: critical"
    for notice in policy.take([], now + 9 * 3_600_000):
        channels.put(notice)
    stop.set()
    await running
    assert any("⚠️" in message["message"] for message in everything.got), "in the morning the warning comes"
    assert not any("⚠️" in message["message"] for message in urgent.got)


async def test_a_dead_channel_is_an_alert_on_the_others_and_keeps_none_of_them_waiting(
    hooks: tuple[Hook, Hook], capsys: pytest.CaptureFixture[str]
) -> None:
    dead, alive = hooks
    dead.status = 500
    own = Kept()
    channels = OtherChannels(parse_urls(f"{dead.url} {alive.url}"), own, pauses_s=(0.01, 0.01))
    stop = asyncio.Event()
    running = asyncio.create_task(channels.run(stop))
    policy = AlertPolicy(AlertPolicyState(), 600_000, UTC)
    for notice in policy.take([raised("critical")], 1_700_000_000_000):
        channels.put(notice)
    await until(lambda: own.raised and alive.got)
    (alert,) = own.raised
    assert alert.text.startswith("Alerts do not reach json (ALERT_URLS number 1)")
    told = Raised(alert.level, alert.key, alert.text, alert.remedy, "", "telegram_manager", 1_700_000_000_000)
    for notice in policy.take([told], 1_700_000_001_000):
        channels.put(notice)
    await until(lambda: len(alive.got) == 2)
    assert "ALERT_URLS number 1" in alive.got[1]["message"]
    stop.set()
    await running
    assert len(own.raised) == 1, "of itself a dead channel does not tell itself"
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err + alert.text + alert.remedy + repr(parse_urls(dead.url))


@pytest.mark.parametrize("text", ["nonsense", f"foo://{SECRET}", f"critical=foo://{SECRET}@x"])
def test_an_address_that_is_none_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(Misconfigured, match="ALERT_URLS") as fault:
        load(
            CommandCentreSettings,
            env_file=None,
            postgres_password="x",
            redis_password="x",
            alert_urls=f"json://localhost {text}",
        )
    assert "number 2" in str(fault.value)
    assert SECRET not in str(fault.value)


def test_the_test_message_says_of_each_channel_whether_it_took_it(
    hooks: tuple[Hook, Hook], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = hooks
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALERT_URLS", f"{one.url} critical={other.url}")
    assert main(["alert", "test"]) == 0
    assert [hook.got[0]["message"] for hook in hooks] == [TEXT, TEXT]
    other.status = 403
    assert main(["alert", "test"]) == 1
    said = capsys.readouterr()
    assert "json (ALERT_URLS number 1), everything: delivered." in said.out
    assert "json (ALERT_URLS number 2), critical and above: NOT delivered" in said.out
    assert SECRET not in said.out + said.err
    monkeypatch.delenv("ALERT_URLS")
    assert main(["alert", "test"]) == 2
    assert "Alerts go nowhere" in capsys.readouterr().err


def test_html_becomes_plain_text() -> None:
    assert plain_text("🚨 <b>a &amp; b</b>\n<i>x &lt; y</i>") == "🚨 a & b\nx < y"

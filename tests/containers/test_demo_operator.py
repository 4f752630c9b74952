"""Telegram control of the real stack: commands take effect on containers and on the exchange.

The test Bot API server runs in the network namespace of the command centre's container, on its loopback: the command
centre sends its token unencrypted only there.
"""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from demo.ledger_check import Ledger
from tests.containers.compose import ROOT, Compose, measured, wait_for
from tests.containers.test_demo_stack import KEYS
from tests.support.bot_api import TOKEN

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]
ADMIN, PORT, SERVER = 101, 8081, "alpha-test-bot-api"
#: Sends requests to the server from inside its own container; the text comes over standard input.
ASK = (
    "import sys, urllib.request as u; path, body = sys.stdin.read().split('\\n', 1); "
    f"sys.stdout.write(u.urlopen(u.Request('http://127.0.0.1:{PORT}/_test/' + path, data=body.encode() or None, "
    "headers={'Content-Type': 'application/json'}), timeout=10).read().decode())"
)


class Phone:
    """The admin's Telegram client: types, presses buttons, reads."""

    def __init__(self, stack: Compose) -> None:
        self._stack = stack

    def ask(self, path: str, body: object = None) -> Any:
        """One request to the server's test endpoints."""
        text = f"{path}\n{'' if body is None else json.dumps(body)}"
        return json.loads(self._stack.run("docker", "exec", "-i", SERVER, "python3", "-c", ASK, typed=text))

    def said(self, after: int = 0) -> list[dict[str, Any]]:
        """The bot's messages to the admin, from message number `after` on, in their current form."""
        return [row for row in self.ask(f"said?after={after}") if row["chat"] == ADMIN]

    def says(self, text: str, answer: str, limit_s: float = 60) -> dict[str, Any]:
        """Type something; returns the first later message that contains `answer`."""
        after = len(self.ask("said"))
        self.ask("say", {"person": ADMIN, "text": text})
        return self.until(after, answer, limit_s)

    def until(self, after: int, answer: str, limit_s: float) -> dict[str, Any]:
        """Wait for the first message from number `after` on that contains `answer`."""
        found: list[dict[str, Any]] = []

        def came() -> bool:
            found[:] = [row for row in self.said(after) if answer in row["text"]]
            return bool(found)

        wait_for(came, lambda: f"{answer!r} in {[row['text'] for row in self.said(after)]}", limit_s)
        return found[0]

    def orders(self, text: str, question: str, limit_s: float = 60) -> tuple[str, float]:
        """Send a command and confirm it; returns the final message text and the seconds since the button press."""
        asked = self.says(text, question)
        began = time.monotonic()
        self.ask("press", {"person": ADMIN, "chat": ADMIN, "message_id": asked["message_id"], "label": "Yes"})

        def ended() -> str:
            row = next(row for row in self.said() if row["message_id"] == asked["message_id"])
            return row["text"] if row["text"][:1] in "✅🔴" else ""

        wait_for(ended, lambda: f"{text} to end: {self.said()[-1:]}", limit_s)
        return ended(), time.monotonic() - began


@pytest.fixture(scope="module")
def phone(demo_stack: Compose) -> Iterator[Phone]:
    """The command centre of the stack, connected to the test Bot API server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEMO_TELEGRAM_BOT_TOKEN", TOKEN)
        patch.setenv("DEMO_TELEGRAM_ADMIN_IDS", str(ADMIN))
        patch.setenv("DEMO_TELEGRAM_API_URL", f"http://127.0.0.1:{PORT}")
        demo_stack("up", "-d", "--no-deps", "telegram_manager")
    try:
        demo_stack.run(
            *("docker", "run", "-d", "--name", SERVER, "--network", "container:demo-telegram_manager"),
            *(
                "-v",
                f"{ROOT / 'telegram_manager'}:/house/telegram_manager:ro",
                "-v",
                f"{ROOT / 'tests'}:/house/tests:ro",
                "-w",
                "/house",
                "-e",
                "PYTHONPATH=/house",
            ),
            *(
                "--entrypoint",
                "python3",
                f"alpha.invalid/demo/exchange_simulator:{os.environ.get('ALPHA_VERSION', 'local')}",
            ),
            *("-m", "tests.support.bot_api", str(PORT)),
        )
        made = Phone(demo_stack)
        wait_for(lambda: _answers(made), lambda: "the Bot API server to answer", 60)
        wait_for(lambda: _hears(made), lambda: f"the command centre to hear: {made.said()}", 240)
        yield made
    finally:
        demo_stack.run("docker", "rm", "-f", SERVER)
        demo_stack("up", "-d", "--no-deps", "telegram_manager")


def _hears(phone: Phone) -> bool:
    """Whether the command centre answers. After a start it treats older messages as expired: asks again."""
    try:
        phone.says("/whoami", "role     admin", 20)
    except AssertionError:
        return False
    return True


def _answers(phone: Phone) -> bool:
    try:
        phone.ask("said")
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("name", ["shortseller", "shortseller_001"])
def test_stop_and_start_end_and_begin_the_container(phone: Phone, demo_stack: Compose, name: str) -> None:
    text, seconds = phone.orders(f"/stop {name}", "Stop shortseller_001?")
    assert text.startswith("✅"), text
    measured(f"/stop {name}: {seconds:.1f} s from the press to the answer")
    assert demo_stack.states()["shortseller"].startswith("exited")
    assert "topped by an operator" in phone.says("/status shortseller", "Status")["text"]
    text, seconds = phone.orders(f"/start {name}", "Start shortseller_001?")
    assert text.startswith("✅"), text
    measured(f"/start {name}: {seconds:.1f} s from the press to the answer")
    wait_for(
        lambda: demo_stack.states()["shortseller"] == "running healthy",
        lambda: f"shortseller to be healthy: {demo_stack.states()}",
        120,
    )
    wait_for(
        lambda: "topped by an operator" not in phone.says("/status shortseller", "Status")["text"],
        lambda: "the status to say that it runs",
        60,
    )


async def test_a_panic_from_the_phone_leaves_the_exchange_flat(phone: Phone, demo_stack: Compose) -> None:
    ledger = Ledger("http://127.0.0.1:8090")

    async def open_positions() -> int:
        return sum([len(await ledger.positions(key)) for key in KEYS.values()])

    deadline = time.monotonic() + 300
    while not await open_positions():
        assert time.monotonic() < deadline, "no bot opened a position"
        await asyncio.sleep(0.2)
    try:
        text, seconds = await asyncio.to_thread(phone.orders, "/panic", "PANIC", 240)
        assert text.startswith("✅"), text
        measured(f"/panic: {seconds:.1f} s from the press to the answer, which comes after a minute of flat")
        assert await open_positions() == 0
        positions = await asyncio.to_thread(phone.says, "/positions", "Positions")
        assert "No open positions" in positions["text"]
    finally:
        await ledger.close()
        for bot in ("shortseller", "lxalgo", "momentum"):
            for order in ("start", "resume"):
                done = partial(_done, demo_stack, order, bot)
                await asyncio.to_thread(wait_for, done, f"{bot} to {order}".__str__, 180)
    await asyncio.to_thread(demo_stack.wait_healthy, 240)


def _done(stack: Compose, order: str, bot: str) -> bool:
    """Whether a terminal command was carried out. On a machine under load a bot may not answer in time."""
    try:
        stack("exec", "-T", "telegram_manager", "python3", "-m", "alpha", order, bot, "--yes")
    except AssertionError:
        return False
    return True

"""The walk of an operator: a bot opens a position; it is seen, its stop moved, half of it closed from the phone, the rest from the
dashboard; the trade's page tells it all, and the audit shows both persons.

Real processes: exchange, listener, bot, guard, command centre and dashboard, behind TLS, in Chromium. `WALK_PICTURES=DIR` keeps the
pictures: each page at 390, 1280 and 1920 px, light and dark, and the phone. Each must fit, with its buttons in sight.
"""

import asyncio
import os
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from demo.ports import free_port
from telegram_manager.tests.phone import conversation, shoot
from tests.support.bot_api import TOKEN, BotApi, Said
from tests.support.bot_harness import PASSWORD, BotHarness
from tests.support.chromium import DESKTOP, PHONE, PROGRAM, WIDE, Tab, browser
from tests.support.guard_harness import acts, guard
from tests.support.tls import tls_in_front
from tests.support.world import until

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine (Debian: chromium)"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine"),
]
ADA, OTTO = 101, 201
LIMIT_S = 120
#: Buttons that somebody would have to scroll for, sideways.
_OUT_OF_SIGHT = (
    "[...document.querySelectorAll('main button, main input:not([type=hidden])')]"
    ".filter((each) => each.getBoundingClientRect().right > innerWidth).map((each) => each.textContent)"
)


class Walk:
    """What both persons see and do."""

    def __init__(self, api: BotApi, tab: Tab, address: str, pictures: Path) -> None:
        self.api = api
        self.tab = tab
        self.address = address
        self.pictures = pictures
        self.conversations: dict[str, str] = {}

    async def says(self, person: int, text: str, answer: str) -> Said:
        """Type into the phone; the message that answers."""
        after = len(self.api.said)
        self.api.says(person, text)
        said = await asyncio.wait_for(
            self.api.until(lambda m: m.chat == person and answer in m.text, after=after), LIMIT_S
        )
        self.conversations[f"phone-{len(self.conversations) + 1}"] = conversation(text, [said])
        return said

    async def presses(self, person: int, said: Said, label: str, answer: str) -> Said:
        """Press a button on the phone; the message that answers, new or changed."""
        self.api.presses(person, said.button(label)["callback_data"], said)
        found = await asyncio.wait_for(self.api.until(lambda m: m.chat == person and answer in m.text), LIMIT_S)
        self.conversations[f"phone-{len(self.conversations) + 1}"] = conversation("", [found])
        return found

    async def log_in(self, person: int) -> None:
        """Take a link from the bot and press its page's button."""
        said = await self.says(person, "/dashboard", "/login?code=")
        link = re.findall(r"https://\S+", said.text)[0]
        await self.tab.open(link)
        assert await self.tab.value("document.querySelector('h1').textContent") == "Log in to Alpha"
        await self.show(f"login-{person}")
        await self.tab.submit("document.querySelector('button.main').click()")
        assert await self.tab.value("location.pathname") == "/"
        await self.tab.until("document.getElementById('link').textContent == 'live'")

    async def show(self, name: str) -> None:
        """Take the page at each size, light and dark, and require that it fits."""
        for size in (PHONE, DESKTOP, WIDE):
            await self.tab.resize(size)
            for scheme in ("light", "dark"):
                await self.tab.scheme(scheme)
                await asyncio.sleep(0.3)
                await self.tab.picture(self.pictures / f"{name}-{size[0]}-{scheme}.png")
            wide = "document.scrollingElement.scrollWidth <= innerWidth"
            assert await self.tab.value(wide), (name, size)
            assert await self.tab.value(_OUT_OF_SIGHT) == [], (name, size)
        await self.tab.resize(DESKTOP)

    async def steer(self, button: str, question: str, name: str) -> str:
        """Press something on the page of steering, read the question, confirm it; what came of it."""
        await self.tab.submit(button)
        asked = str(await self.tab.value("document.querySelector('h1').textContent"))
        assert question in asked, asked
        await self.show(f"{name}-asked")
        await self.tab.submit("document.querySelector('button[value=yes]').click()")
        await self.tab.until("!document.querySelector('#run').textContent.includes('Under way')", LIMIT_S)
        await self.show(f"{name}-done")
        said = str(await self.tab.value("document.querySelector('#run').innerText"))
        assert await self.tab.value("document.querySelector('#run .good') !== null"), said
        return said


async def eventually(condition: Callable[[], Awaitable[object]], what: str) -> None:
    """Wait for a condition."""

    async def holds() -> bool:
        return bool(await condition())

    await until(holds, LIMIT_S, what)


async def test_two_persons_close_a_position_from_the_phone_and_the_dashboard(tmp_path: Path) -> None:
    pictures = Path(os.environ.get("WALK_PICTURES") or tmp_path / "pictures")
    await asyncio.to_thread(pictures.mkdir, parents=True, exist_ok=True)
    stage, api = BotHarness(tmp_path, speed="60"), BotApi()
    await api.open()
    await stage.open()
    port = free_port()
    try:
        async with tls_in_front(port, tmp_path) as address, browser("--ignore-certificate-errors") as new_tab:
            steering = {
                "DASHBOARD_STEERING": "true",
                "DASHBOARD_PUBLIC_URL": address,
                "ALPHA_TIMEZONE": "Europe/Berlin",
            }
            listener, warden = stage.listener(), guard(stage)
            bot = stage.toy(
                step=False,
                SHORTSELLER_ENTRIES="1",
                SHORTSELLER_HOLD_BARS="100000",
                SHORTSELLER_DIRECTION="Buy",
                SHORTSELLER_STOP="0.2",
            )
            centre = stage.process(
                "telegram_manager",
                ["-m", "telegram_manager"],
                {
                    **stage.environment("alpha_c2"),
                    **steering,
                    "C2_TELEGRAM_BOT_TOKEN": TOKEN,
                    "C2_TELEGRAM_ADMIN_IDS": str(ADA),
                    "C2_TELEGRAM_OPERATOR_IDS": str(OTTO),
                    "C2_TELEGRAM_API_URL": api.url,
                    "C2_NEWS": "entries,exits,stops",
                    "BOT_CONTROL_URL": "unix:///no/such/socket",
                },
            )
            dashboard = stage.process(
                "dashboard",
                ["-m", "dashboard"],
                {
                    **stage.environment("alpha_readonly"),
                    **steering,
                    "DASHBOARD_TOKEN": "a-token-of-the-walk-that-is-long",
                    "DASHBOARD_PORT": str(port),
                    "DASHBOARD_LOGS_DIR": str(tmp_path),
                    "ALPHA_DASHBOARD_DB_PASSWORD": PASSWORD,
                },
            )
            for process in (listener, warden, centre, dashboard):
                process.start()
            await acts(warden)

            async def synced() -> bool:
                return await stage.status() == "synced"

            # its only entry would be held back before
            await eventually(synced, "the live state to be synced")
            bot.start()
            await eventually(stage.position, "the bot to open a position")
            tab = await new_tab()
            walk = Walk(api, tab, address, pictures)
            await api.until_idle()

            # Otto logs in and sees the position
            await walk.log_in(OTTO)
            await tab.until("document.getElementById('positions').textContent.includes('BTCUSDT')", LIMIT_S)
            await walk.show("front")

            # he moves its stop
            held = await stage.position()
            assert held is not None
            stop = f"{float(held['markPrice']) * 0.85:.1f}"
            await tab.open(f"{address}/steer")
            await walk.show("steer")
            await tab.value(f"document.querySelector('input[name=more]').value = '{stop}'")
            said = await walk.steer(
                "document.querySelector('input[name=more]').form.requestSubmit()", "Move the stop", "stop"
            )
            assert "binds until the position is flat" in said

            async def moved() -> bool:
                position = await stage.position()
                return position is not None and abs(float(position["stopLoss"]) - float(stop)) < 0.2

            await eventually(moved, "the stop on the exchange")
            await asyncio.wait_for(
                api.until(lambda m: m.chat == ADA and "on the dashboard: ✅ /movestop" in m.text), LIMIT_S
            )

            # Ada closes half of it from the phone
            size = float(held["size"])
            shown = await walk.says(ADA, "/positions", "BTC")
            asked = await walk.presses(ADA, shown, "50 %", "Close 50 %")
            await walk.presses(ADA, asked, "Yes", "✅ /close")

            async def halved() -> bool:
                position = await stage.position()
                return position is not None and abs(float(position["size"]) - size / 2) < size * 0.02

            await eventually(halved, "half of the position")

            # Otto closes the rest from the dashboard
            await tab.open(f"{address}/steer")
            await tab.until("document.body.textContent.includes('BTCUSDT')")
            close = "document.querySelector('button[value$=\"BTCUSDT 100\"]').click()"
            said = await walk.steer(close, "Close all", "close")

            async def flat() -> bool:
                return await stage.position() is None

            await eventually(flat, "the account to be flat")
            heartbeat = await stage.heartbeat()
            assert heartbeat["state"] == "running", heartbeat
            await asyncio.wait_for(api.until(lambda m: m.chat == ADA and "Left BTCUSDT" in m.text), LIMIT_S)

            # the trade's page tells it all
            await tab.open(f"{address}/trades?range=all")
            await tab.until("document.querySelector('a[href^=\"/trade/\"]') !== null")
            await tab.submit("document.querySelector('a[href^=\"/trade/\"]').click()")
            await tab.until("document.querySelector('[data-drawn=yes], .chart.empty') !== null")
            await walk.show("trade")
            text = str(await tab.value("document.querySelector('main').innerText"))
            for part in ("flat", "StopLoss", "movestop", "close", "manual", str(ADA), str(OTTO)):
                assert part in text, (part, text)
            await walk.says(OTTO, "/trade 1", "BTCUSDT long")

            # the audit shows both persons
            await walk.log_in(ADA)
            await tab.open(f"{address}/audit?range=all")
            await walk.show("audit")
            text = str(await tab.value("document.querySelector('main').innerText"))
            for row in (("telegram", ADA, "close"), ("dashboard", OTTO, "close"), ("dashboard", OTTO, "movestop")):
                source, person, name = row
                pattern = rf"{person}.*{name}.*done.*{source}"
                assert re.search(pattern, text), (pattern, text)
            await tab.open(f"{address}/sessions")
            await walk.show("sessions")
            # another process of this machine may bring a network interface up meanwhile
            assert [each for each in tab.errors if "ERR_NETWORK_CHANGED" not in each] == []
            await asyncio.to_thread(shoot, walk.conversations, pictures)
    except BaseException:
        for process in stage.processes:
            print(f"--- {process.name}: {process.said()[-1500:]}")
        raise
    finally:
        stage.close()
        await api.close()

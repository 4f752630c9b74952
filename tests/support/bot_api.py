"""A Telegram Bot API server that validates requests as Telegram does, for tests with the real client library.

It has one bot and its chats with their messages. Error texts, descriptions and codes are Telegram's.
"""

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from telegram_manager.tests.markup import Unreadable, length, read_html, read_markdown

TOKEN = "123456789:AAtest-token-of-the-tests-AAAAAAAAAAA"
BOT_ID = 123456789
BOT = {"id": BOT_ID, "is_bot": True, "first_name": "Alpha", "username": "alpha_test_bot"}


class Refused(Exception):
    """An error response (`ok` is false)."""

    def __init__(self, code: int, description: str, retry_after: int | None = None, moved: int | None = None) -> None:
        super().__init__(description)
        self.moved = moved
        self.code = code
        self.description = description
        self.retry_after = retry_after


@dataclass
class Said:
    """A message of the bot as users in the chat see it."""

    chat: int
    message_id: int
    text: str
    markup: str
    buttons: list[list[dict[str, str]]]
    topic: int | None = None
    kind: str = "text"
    file: bytes = b""
    file_name: str = ""
    deleted: bool = False
    edits: int = 0

    def button(self, label: str) -> dict[str, str]:
        """The button whose text contains `label`."""
        for row in self.buttons:
            for button in row:
                if label in button["text"]:
                    return button
        raise AssertionError(f"no button {label!r} under {self.text!r}: {self.buttons}")


@dataclass
class BotApi:
    """The server. Tests send messages with `says` and press buttons with `presses`; `said` is what the bot has sent."""

    flood_free: int = 1_000
    clock: Callable[[], float] = time.monotonic
    said: list[Said] = field(default_factory=list)
    deleted: list[tuple[int, int]] = field(default_factory=list)
    answered: list[tuple[str, str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    blocked: set[int] = field(default_factory=set)
    failing: deque[int] = field(default_factory=deque)
    #: Methods that always fail with this code; and groups migrated to supergroups.
    refusing: dict[str, int] = field(default_factory=dict)
    migrated: dict[int, int] = field(default_factory=dict)
    url: str = ""

    def __post_init__(self) -> None:
        self._updates: list[dict[str, Any]] = []
        self._update_ids = itertools.count(1)
        self._newest = 0
        self._message_ids = itertools.count(1)
        self._callback_ids = itertools.count(1)
        self._open_callbacks: dict[str, float] = {}
        self._came = asyncio.Event()
        self._changed = asyncio.Event()
        self._poller: asyncio.Event | None = None
        self._sent_at: dict[int, deque[float]] = {}
        self._sent_all: deque[float] = deque()
        self._runner: web.AppRunner | None = None

    async def open(self, port: int = 0) -> None:
        """Listen on a port of 127.0.0.1."""
        app = web.Application(client_max_size=60_000_000)
        app.router.add_route("*", "/bot{token}/{method}", self._handle)
        app.router.add_post("/_test/say", self._test_say)
        app.router.add_post("/_test/press", self._test_press)
        app.router.add_get("/_test/said", self._test_said)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        host, real_port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{real_port}"

    async def close(self) -> None:
        """Stop listening."""
        self._came.set()
        if self._runner is not None:
            await self._runner.cleanup()

    # user actions

    def says(
        self,
        person: int,
        text: str,
        *,
        chat: int | None = None,
        topic: int | None = None,
        date: int | None = None,
        kind: str = "message",
    ) -> int:
        """Send a message as a user; returns the update id."""
        message = self._message_of(person, chat if chat is not None else person, topic, text, date)
        return self.push({kind: message})

    def presses(
        self, person: int, data: str, said: Said | None = None, *, chat: int | None = None, topic: int | None = None
    ) -> str:
        """Press a button as a user (or send forged data); returns the callback query id."""
        place = said.chat if said is not None else chat if chat is not None else person
        message = self._message_of(
            BOT_ID, place, topic if said is None else said.topic, said.text if said else "x", None
        )
        if said is not None:
            message["message_id"] = said.message_id
        press = f"cb{next(self._callback_ids)}"
        self._open_callbacks[press] = self.clock()
        self.push(
            {
                "callback_query": {
                    "id": press,
                    "from": _user(person),
                    "chat_instance": "1",
                    "message": message,
                    "data": data,
                }
            }
        )
        return press

    def begin_anew(self, number: int) -> None:
        """Restart update ids from here, as for a new token or after a week without updates."""
        self._update_ids = itertools.count(number)
        self._newest = number - 1

    def push(self, update: dict[str, Any]) -> int:
        """Queue any update; returns its id."""
        number = next(self._update_ids)
        self._newest = number
        self._updates.append({"update_id": number, **update})
        self._came.set()
        return number

    async def until(self, condition: Callable[[Said], bool], *, after: int = 0) -> Said:
        """Wait for the first message from number `after` on that meets the condition."""
        while True:
            self._changed.clear()
            for said in self.said[after:]:
                if condition(said):
                    return said
            await self._changed.wait()

    async def until_answered(self, press: str) -> str:
        """Wait for the answer to a button press."""
        while True:
            self._changed.clear()
            for known, text in self.answered:
                if known == press:
                    return text
            await self._changed.wait()

    async def until_idle(self) -> None:
        """Wait until every update was fetched and confirmed by another poll."""
        while self._updates or self._poller is None:
            self._changed.clear()
            await self._changed.wait()

    async def until_polled(self) -> None:
        """Wait until a client polls."""
        while self._poller is None:
            self._changed.clear()
            await self._changed.wait()

    def to(self, chat: int) -> list[Said]:
        """The bot's messages in a chat."""
        return [said for said in self.said if said.chat == chat]

    # requests of the bot

    async def _handle(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        try:
            if request.match_info["token"] != TOKEN:
                raise Refused(401, "Unauthorized")
            handler = getattr(self, f"_do_{method.lower()}", None)
            if handler is None:
                raise Refused(404, "Not Found: method not found")
            self.calls.append(method)
            if method in self.refusing:
                raise Refused(
                    self.refusing[method], "Bad Gateway" if self.refusing[method] >= 500 else "Bad Request: no"
                )
            if method not in ("getUpdates", "getMe") and self.failing:
                code = self.failing.popleft()
                if code == 0:
                    assert request.transport is not None
                    request.transport.close()
                    return web.Response()
                raise (
                    Refused(code, "Too Many Requests: retry after 1", 1)
                    if code == 429
                    else Refused(code, "Bad Gateway")
                )
            result = await handler(await _parameters(request))
            return web.json_response({"ok": True, "result": result})
        except Refused as fault:
            body: dict[str, Any] = {"ok": False, "error_code": fault.code, "description": fault.description}
            if fault.retry_after is not None:
                body["parameters"] = {"retry_after": fault.retry_after}
            if fault.moved is not None:
                body["parameters"] = {"migrate_to_chat_id": fault.moved}
            return web.json_response(body, status=fault.code)
        finally:
            self._changed.set()

    async def _do_getme(self, _: dict[str, Any]) -> Any:
        return {**BOT, "can_join_groups": True, "can_read_all_group_messages": False, "supports_inline_queries": False}

    async def _do_getupdates(self, asked: dict[str, Any]) -> Any:
        offset = int(asked.get("offset") or 0)
        if offset <= self._newest + 1:
            # an offset beyond every id confirms nothing: it belongs to another id sequence
            self._updates = [update for update in self._updates if update["update_id"] >= offset]
        self._changed.set()
        if self._poller is not None:
            self._poller.set()
        mine = asyncio.Event()
        self._poller = mine
        self._changed.set()
        deadline = self.clock() + float(asked.get("timeout") or 0)
        try:
            while not self._updates and self.clock() < deadline:
                self._came.clear()
                waits = [asyncio.create_task(self._came.wait()), asyncio.create_task(mine.wait())]
                await asyncio.wait(waits, timeout=deadline - self.clock(), return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
                if mine.is_set():
                    raise Refused(
                        409,
                        "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
                    )
        finally:
            if self._poller is mine:
                self._poller = None
        return self._updates[: int(asked.get("limit") or 100)]

    async def _do_deletewebhook(self, _: dict[str, Any]) -> Any:
        return True

    async def _do_setmycommands(self, asked: dict[str, Any]) -> Any:
        for row in json.loads(asked["commands"]):
            if not (
                1 <= len(row["command"]) <= 32 and row["command"].islower() and 1 <= len(row["description"]) <= 256
            ):
                raise Refused(400, "Bad Request: BOT_COMMAND_INVALID")
        return True

    async def _do_sendmessage(self, asked: dict[str, Any]) -> Any:
        return self._say(asked, "text", _read(asked, "text", 4096))

    async def _do_sendphoto(self, asked: dict[str, Any]) -> Any:
        content, name = _file(asked, "photo")
        if not content.startswith(b"\x89PNG"):
            raise Refused(400, "Bad Request: IMAGE_PROCESS_FAILED")
        return self._say(asked, "photo", _read(asked, "caption", 1024, may_be_empty=True), content, name)

    async def _do_senddocument(self, asked: dict[str, Any]) -> Any:
        content, name = _file(asked, "document")
        if not content:
            raise Refused(400, "Bad Request: file must be non-empty")
        return self._say(asked, "document", _read(asked, "caption", 1024, may_be_empty=True), content, name)

    async def _do_editmessagetext(self, asked: dict[str, Any]) -> Any:
        chat = self._chat(asked)
        text = _read(asked, "text", 4096)
        said = self._find(chat, int(asked["message_id"]))
        if said is None or said.deleted:
            raise Refused(400, "Bad Request: message to edit not found")
        buttons = _buttons(asked)
        if said.markup == asked["text"] and said.buttons == buttons:
            raise Refused(
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are exactly the same",
            )
        self._flood(chat)
        said.text, said.markup, said.buttons, said.edits = text, asked["text"], buttons, said.edits + 1
        return self._shown(said)

    async def _do_deletemessage(self, asked: dict[str, Any]) -> Any:
        self.deleted.append((self._chat(asked), int(asked["message_id"])))
        said = self._find(*self.deleted[-1])
        if said is not None:
            said.deleted = True
        return True

    async def _do_answercallbackquery(self, asked: dict[str, Any]) -> Any:
        press = asked["callback_query_id"]
        pressed = self._open_callbacks.pop(press, None)
        if pressed is None or self.clock() - pressed > 900:
            raise Refused(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
        if length(asked.get("text", "")) > 200:
            raise Refused(400, "Bad Request: MESSAGE_TOO_LONG")
        self.answered.append((press, asked.get("text", "")))
        return True

    def _say(self, asked: dict[str, Any], kind: str, text: str, content: bytes = b"", name: str = "") -> Any:
        chat = self._chat(asked)
        buttons = _buttons(asked)
        self._flood(chat)
        topic = int(asked["message_thread_id"]) if asked.get("message_thread_id") else None
        markup = str(asked.get("text", asked.get("caption", "")))
        said = Said(chat, next(self._message_ids), text, markup, buttons, topic, kind, content, name)
        self.said.append(said)
        return self._shown(said)

    def _shown(self, said: Said) -> dict[str, Any]:
        message = self._message_of(BOT_ID, said.chat, said.topic, said.text, None)
        message["message_id"] = said.message_id
        message["from"] = BOT
        return message

    def _chat(self, asked: dict[str, Any]) -> int:
        chat = asked.get("chat_id")
        if chat is None or chat == "":
            raise Refused(400, "Bad Request: chat_id is empty")
        try:
            number = int(chat)
        except ValueError:
            if not str(chat).startswith("@"):
                raise Refused(400, "Bad Request: chat not found") from None
            number = -abs(hash(chat)) % 10**9
        if number in self.migrated:
            raise Refused(400, "Bad Request: group chat was upgraded to a supergroup chat", moved=self.migrated[number])
        if number in self.blocked:
            raise Refused(403, "Forbidden: bot was blocked by the user")
        return number

    def _find(self, chat: int, message_id: int) -> Said | None:
        return next((said for said in self.said if said.chat == chat and said.message_id == message_id), None)

    def _flood(self, chat: int) -> None:
        """Refuse more than `flood_free` messages per chat and second, or 30 per second in total."""
        now = self.clock()
        for sent, most in ((self._sent_at.setdefault(chat, deque()), self.flood_free), (self._sent_all, 30)):
            while sent and now - sent[0] >= 1:
                sent.popleft()
            if len(sent) >= most:
                raise Refused(429, "Too Many Requests: retry after 1", 1)
            sent.append(now)

    def _message_of(self, person: int, chat: int, topic: int | None, text: str, date: int | None) -> dict[str, Any]:
        message: dict[str, Any] = {
            "message_id": next(self._message_ids),
            "date": int(time.time()) if date is None else date,
            "chat": {"id": chat, "type": "private", "first_name": "P"}
            if chat > 0
            else {"id": chat, "type": "supergroup", "title": "G"},
            "from": _user(person),
            "text": text,
        }
        if topic is not None:
            message |= {"message_thread_id": topic, "is_topic_message": True}
        return message

    # the same actions for a test in another process

    async def _test_say(self, request: web.Request) -> web.Response:
        asked = await request.json()
        return web.json_response({"update_id": self.says(asked["person"], asked["text"])})

    async def _test_press(self, request: web.Request) -> web.Response:
        asked = await request.json()
        said = self._find(asked["chat"], asked["message_id"])
        assert said is not None
        return web.json_response(
            {"press": self.presses(asked["person"], said.button(asked["label"])["callback_data"], said)}
        )

    async def _test_said(self, request: web.Request) -> web.Response:
        rows = self.said[int(request.query.get("after", "0")) :]
        return web.json_response(
            [
                {"chat": said.chat, "message_id": said.message_id, "text": said.text, "buttons": said.buttons}
                for said in rows
            ]
        )


def _user(person: int) -> dict[str, Any]:
    if person == BOT_ID:
        return BOT
    return {"id": person, "is_bot": False, "first_name": f"Person{person}", "username": f"person{person}"}


async def _parameters(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        found: dict[str, Any] = await request.json()
        return found
    posted = await request.post()
    return {**request.query, **dict(posted.items())}


def _read(asked: dict[str, Any], name: str, most: int, *, may_be_empty: bool = False) -> str:
    raw = str(asked.get(name, ""))
    try:
        mode = asked.get("parse_mode")
        text = read_html(raw) if mode == "HTML" else read_markdown(raw) if mode == "MarkdownV2" else raw
    except Unreadable as fault:
        raise Refused(400, f"Bad Request: can't parse entities: {fault}") from None
    if not text.strip() and not may_be_empty:
        raise Refused(400, "Bad Request: message text is empty")
    if length(text) > most:
        raise Refused(
            400, "Bad Request: message is too long" if most == 4096 else "Bad Request: message caption is too long"
        )
    return text


def _buttons(asked: dict[str, Any]) -> list[list[dict[str, str]]]:
    rows: list[list[dict[str, str]]] = json.loads(asked.get("reply_markup") or "{}").get("inline_keyboard", [])
    for row in rows:
        for button in row:
            if not 1 <= len(button.get("callback_data", "x").encode()) <= 64:
                raise Refused(400, "Bad Request: BUTTON_DATA_INVALID")
            if not button.get("text"):
                raise Refused(400, "Bad Request: text buttons are required")
    return rows


def _file(asked: dict[str, Any], name: str) -> tuple[bytes, str]:
    part = asked.get(name)
    if isinstance(part, str) and part.startswith("attach://"):
        part = asked.get(part.removeprefix("attach://"))
    if not isinstance(part, web.FileField):
        raise Refused(400, f"Bad Request: there is no {name} in the request")
    return part.file.read(), part.filename


async def _serve(port: int) -> None:
    api = BotApi()
    await api.open(port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    import sys

    asyncio.run(_serve(int(sys.argv[1])))

"""Fuzzing the command centre: updates of every kind and field of the Bot API, missing, wrong, huge, with control characters.

    python -m telegram_manager.tests.fuzz --updates 1000000 --seed 7

The updates pass through the real poller's decoding, access control, the audit log and the conversation; answers pass
through the library's own client to the checks of the tests' Bot API, without a socket. PostgreSQL and Redis are real.
Fails if an update stops the loop, a person sees an unexpected fault, Telegram would have refused an answer, unfit
text is stored, or memory grows without bound.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from telegram.request import BaseRequest, RequestData

from operations.commands import BY_NAME
from telegram_manager.bot_client import UpdatesRequest
from telegram_manager.dispatcher import UpdateDispatcher
from telegram_manager.poller import Poller
from tests.support.bot_api import BotApi, Refused

#: Every kind of update in the Bot API (9.x).
KINDS = (
    *("message", "edited_message", "channel_post", "edited_channel_post", "business_connection", "business_message"),
    *(
        "edited_business_message",
        "deleted_business_messages",
        "message_reaction",
        "message_reaction_count",
        "inline_query",
    ),
    *("chosen_inline_result", "callback_query", "shipping_query", "pre_checkout_query", "purchased_paid_media", "poll"),
    *("poll_answer", "my_chat_member", "chat_member", "chat_join_request", "chat_boost", "removed_chat_boost"),
)
#: Fields of messages, queries, polls and members.
FIELDS = (
    *(
        "message_id",
        "message_thread_id",
        "from",
        "sender_chat",
        "sender_boost_count",
        "sender_business_bot",
        "date",
        "chat",
    ),
    *(
        "forward_origin",
        "is_topic_message",
        "is_automatic_forward",
        "reply_to_message",
        "external_reply",
        "quote",
        "text",
    ),
    *(
        "reply_to_story",
        "via_bot",
        "edit_date",
        "has_protected_content",
        "media_group_id",
        "author_signature",
        "entities",
    ),
    *("link_preview_options", "effect_id", "animation", "audio", "document", "paid_media", "photo", "sticker", "story"),
    *(
        "video",
        "video_note",
        "voice",
        "caption",
        "caption_entities",
        "contact",
        "dice",
        "game",
        "poll",
        "venue",
        "location",
    ),
    *(
        "new_chat_members",
        "left_chat_member",
        "new_chat_title",
        "new_chat_photo",
        "delete_chat_photo",
        "group_chat_created",
    ),
    *("supergroup_chat_created", "channel_chat_created", "message_auto_delete_timer_changed", "migrate_to_chat_id"),
    *("migrate_from_chat_id", "pinned_message", "invoice", "successful_payment", "refunded_payment", "users_shared"),
    *("chat_shared", "connected_website", "write_access_allowed", "passport_data", "proximity_alert_triggered", "gift"),
    *(
        "boost_added",
        "chat_background_set",
        "forum_topic_created",
        "forum_topic_edited",
        "forum_topic_closed",
        "checklist",
    ),
    *("forum_topic_reopened", "general_forum_topic_hidden", "giveaway_created", "giveaway", "giveaway_winners", "id"),
    *("giveaway_completed", "video_chat_scheduled", "video_chat_started", "video_chat_ended", "web_app_data"),
    *(
        "video_chat_participants_invited",
        "reply_markup",
        "message",
        "inline_message_id",
        "chat_instance",
        "data",
        "query",
    ),
    *(
        "offset",
        "chat_type",
        "result_id",
        "question",
        "options",
        "total_voter_count",
        "is_closed",
        "is_anonymous",
        "type",
    ),
    *("allows_multiple_answers", "poll_id", "option_ids", "user", "voter_chat", "old_chat_member", "new_chat_member"),
)
PIECES = (
    *(
        "/",
        " ",
        "\x00",
        "\x1b[31m",
        "\u202e",
        "\ud800",
        "\ufeff",
        "<b>",
        "&",
        "'; DROP TABLE x;--",
        "🚨" * 40,
        "9" * 300,
    ),
    *(
        "|",
        "%s",
        "{0}",
        "../..",
        "-1",
        "1e300",
        "1,000",
        "\n" * 5,
        "a" * 3_000,
        "lxalgo",
        "shortseller BTCUSDT",
        "7d",
        "ss",
    ),
)


def value(draw: random.Random, depth: int = 3) -> Any:
    """Any JSON value, probably a wrong one."""
    choice = draw.randrange(12 if depth else 9)
    if choice < 3:
        return "".join(draw.choice(PIECES) for _ in range(draw.randrange(4)))
    if choice < 6:
        return draw.choice((0, -1, 1, 2**31, 2**53, 2**63, -(2**64), 10**40, 1.5, 1e308, True, False, None))
    if choice < 9:
        return draw.choice(([], {}, "", [[]], {"id": 0}, {"": ""}))
    if choice == 9:
        return [value(draw, depth - 1) for _ in range(draw.randrange(4))]
    return {draw.choice(FIELDS): value(draw, depth - 1) for _ in range(draw.randrange(5))}


class Updates:
    """Generates updates. `people` and `places` are those in the settings plus strangers."""

    def __init__(
        self, seed: int, people: list[int], places: list[tuple[int, int | None]], now_s: Callable[[], int]
    ) -> None:
        self._draw = random.Random(seed)
        self._people = people
        self._places = places
        self._now_s = now_s
        self._number = 0

    def next(self) -> dict[str, Any]:
        """One update: valid, then damaged in up to four places."""
        draw = self._draw
        self._number += 1
        kind = draw.choice(KINDS[:2] + KINDS) if draw.random() < 0.5 else draw.choice(("message", "callback_query"))
        payload = self._query() if kind == "callback_query" else self._message()
        for _ in range(draw.choice((0, 0, 0, 1, 1, 2, 4))):
            self._damage(payload)
        update: dict[str, Any] = {"update_id": self._number, kind: payload}
        if draw.random() < 0.01:
            update[draw.choice(KINDS)] = value(draw)
        return update

    def _damage(self, payload: dict[str, Any]) -> None:
        draw = self._draw
        target = payload
        while draw.random() < 0.4:
            inner = [each for each in target.values() if isinstance(each, dict)]
            if not inner:
                break
            target = draw.choice(inner)
        if target and draw.random() < 0.4:
            target.pop(draw.choice(list(target)))
        else:
            target[draw.choice(list(target) if target and draw.random() < 0.6 else FIELDS)] = value(draw)

    def _user(self, person: int) -> dict[str, Any]:
        return {"id": person, "is_bot": False, "first_name": f"P{person}"}

    def _message(self) -> dict[str, Any]:
        draw = self._draw
        person = draw.choice(self._people)
        chat, topic = draw.choice(self._places) if draw.random() < 0.4 else (person, None)
        kind = "private" if chat > 0 else "supergroup"
        message: dict[str, Any] = {
            "message_id": draw.randrange(1, 2**31),
            "date": self._now_s() if draw.random() < 0.9 else 1_000_000_000,
            "chat": {"id": chat, "type": kind},
            "from": self._user(person),
            "text": self._text(),
        }
        if topic is not None:
            message |= {"message_thread_id": topic, "is_topic_message": True}
        return message

    def _text(self) -> str:
        draw = self._draw
        if draw.random() < 0.6:
            name = draw.choice(
                [*BY_NAME, "mute", "ack", "export", "whoami", "help", "menu", "login", "logout", "nothing"]
            )
            words = [draw.choice(PIECES) for _ in range(draw.randrange(3))]
            return " ".join((f"/{name}", *words))
        return "".join(draw.choice(PIECES) for _ in range(draw.randrange(5)))

    def _query(self) -> dict[str, Any]:
        draw = self._draw
        message = self._message()
        data = draw.choice(
            (
                *(
                    "m",
                    "m|steer",
                    "a",
                    "c||yes",
                    "c|x|yes",
                    "q|status||0",
                    "q|trades|ss 5|999",
                    "y|alerts|off",
                    "y|mute|1h",
                ),
                *("o|flatten|lxalgo ETHUSDT", "p|adopt|momentum", "g|daily|", f"a|{'0' * 8}", draw.choice(PIECES)),
            )
        )
        return {
            "id": str(draw.randrange(10**9)),
            "from": message["from"],
            "chat_instance": "1",
            "message": message,
            "data": data,
        }


class DirectRequest(BaseRequest):
    """The library's requests, passed to the tests' Bot API without a socket. Records what it would have refused."""

    def __init__(self, api: BotApi) -> None:
        self._api = api
        self.refused: list[str] = []

    @property
    def read_timeout(self) -> float | None:
        return 15.0

    async def initialize(self) -> None:
        return None

    async def shutdown(self) -> None:
        return None

    async def do_request(
        self, url: str, method: str, request_data: RequestData | None = None, *_: Any, **__: Any
    ) -> tuple[int, bytes]:
        parts = urlsplit(url)
        name = parts.path.rpartition("/")[2]
        asked: dict[str, Any] = dict(parse_qsl(parts.query))
        if request_data is not None:
            asked |= request_data.json_parameters
        if name in ("sendPhoto", "sendDocument"):
            return 200, b'{"ok": true, "result": {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}}}'
        try:
            handler = getattr(self._api, f"_do_{name.lower()}")
            return 200, json.dumps({"ok": True, "result": await handler(asked)}).encode()
        except Refused as fault:
            if (
                fault.code == 400
                and "query is too old" not in fault.description
                and "not found" not in fault.description
            ):
                self.refused.append(f"{name}: {fault.description}")
            return fault.code, json.dumps({"ok": False, "description": fault.description}).encode()


async def run(
    desk: UpdateDispatcher,
    poller: Poller,
    updates: Updates,
    api: BotApi,
    count: int,
    tell: Callable[[str], None],
    batch: int = 100,
) -> None:
    """Send `count` updates through `poller` in batches. Raises AssertionError as the module docstring describes."""
    from telegram_manager.poller import Offset

    offset, began_s, before_kb = Offset(), time.monotonic(), 0
    for done in range(0, count, batch):
        made = [updates.next() for _ in range(min(batch, count - done))]
        answer = json.dumps({"ok": True, "result": made}).encode()
        texts = UpdatesRequest.parse_json_payload(answer)["result"]
        await poller._take(texts, offset, poller._clock.wall_ms())
        await desk.drain()
        assert offset.next == done + len(texts) + 1, "the offset is behind what was taken"
        wrong = [said.text for said in api.said if "went wrong" in said.text or "Traceback" in said.text]
        assert not wrong, wrong[:3]
        api.said.clear()
        api.answered.clear()
        api.deleted.clear()
        api._open_callbacks.clear()
        if done // batch % 100 == 99:
            peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            before_kb = before_kb or peak_kb
            assert peak_kb < before_kb + 200_000, f"memory grows: {before_kb} to {peak_kb} kB"
            tell(
                f"{done + batch:>9,} updates, {(done + batch) / (time.monotonic() - began_s):,.0f} a second, {peak_kb // 1024} MiB"
            )


def main(words: list[str]) -> int:
    """Command-line entry point: the same test, for longer."""
    parser = argparse.ArgumentParser(
        prog="python -m telegram_manager.tests.fuzz", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--updates", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args(words)
    sys.stdout.write(f"{asked.updates:,} updates, seed {asked.seed}\n")
    sys.stdout.flush()
    test = "telegram_manager/tests/test_fuzz.py::test_no_update_stops_the_command_centre"
    environment = {**os.environ, "FUZZ_UPDATES": str(asked.updates), "FUZZ_SEED": str(asked.seed)}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-s", "--timeout", "0", test]
    with contextlib.suppress(KeyboardInterrupt):
        return subprocess.run(command, env=environment, check=False).returncode
    return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

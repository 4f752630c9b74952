"""The client of the Bot API, and the raw updates.

Updates are fetched as JSON and each is decoded by itself: the library would fail on a whole batch because of one update,
for ever, and log the batch, access codes included.
"""

import json
import logging
from typing import Any
from urllib.parse import urlencode

import msgspec
from telegram import Bot
from telegram.error import TelegramError
from telegram.request import HTTPXRequest

from alpha.errors import Rejected
from telegram_manager.seen import ASKED_FOR

_REMOVED = "[removed: it may hold an access code]"


class _Envelope(msgspec.Struct):
    ok: bool = False
    result: list[msgspec.Raw] = []
    description: str = ""
    parameters: dict[str, Any] = {}


class QuietRequest(HTTPXRequest):
    """The library's HTTP client, which never logs what it could not decode: that could be a message with an access code."""

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """The answer as a dictionary; TelegramError when it is none."""
        try:
            answer = json.loads(payload.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise TelegramError("Invalid server response")
        return answer


class UpdatesRequest(QuietRequest):
    """The HTTP client for updates: leaves each update of an answer undecoded."""

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """The answer, with `result` as a list of JSON texts; TelegramError when it is none."""
        try:
            envelope = msgspec.json.decode(payload.decode("utf-8", "replace"), type=_Envelope)
        except (msgspec.DecodeError, RecursionError):
            raise TelegramError("Invalid server response") from None
        return {
            "ok": envelope.ok,
            "result": [bytes(update) for update in envelope.result],
            "description": envelope.description,
            "parameters": envelope.parameters,
        }


def make_bot(token: str, api_url: str) -> Bot:
    """The client of the Bot API. Its own logs are off: they show requests and answers in full."""
    logging.getLogger("telegram").setLevel(logging.CRITICAL + 1)
    return Bot(
        token,
        base_url=f"{api_url}/bot",
        base_file_url=f"{api_url}/file/bot",
        request=QuietRequest(connection_pool_size=32, connect_timeout=5.0, read_timeout=15.0, write_timeout=15.0),
        get_updates_request=QuietRequest(connection_pool_size=2, connect_timeout=5.0),
    )


async def fetch_updates(bot: Bot, request: UpdatesRequest, offset: int, timeout_s: int) -> list[bytes]:
    """The next updates as JSON texts, by long polling. Raises the library's TelegramError."""
    asked = {"timeout": timeout_s, "allowed_updates": json.dumps(ASKED_FOR)}
    if offset:
        asked["offset"] = offset
    found: Any = await request.post(f"{bot.base_url}/getUpdates?{urlencode(asked)}", read_timeout=timeout_s + 10)
    return list(found) if isinstance(found, list) else []


def decode_update(text: bytes) -> object:
    """The update in a JSON text. Raises Rejected when it is no JSON that can be read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Rejected("The update is no JSON that can be read.") from None


def without_codes(raw: object, most: int) -> str:
    """An update as text for the audit, at most so long, without any string that may hold an access code."""
    return json.dumps(_cleaned(raw, 8))[:most]


def _cleaned(value: object, depth: int) -> object:
    if isinstance(value, str):
        return _REMOVED if "login" in value.lower() else value[:200]
    if depth == 0:
        return "..."
    if isinstance(value, dict):
        return {str(_cleaned(str(name), 1)): _cleaned(inner, depth - 1) for name, inner in list(value.items())[:50]}
    if isinstance(value, list):
        return [_cleaned(inner, depth - 1) for inner in value[:50]]
    return value

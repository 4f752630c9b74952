"""The Bot API client, and raw updates.

Updates are fetched as JSON and decoded one by one: the library would fail on a whole batch because of one update,
indefinitely, and log the batch, access codes included.
"""

import json
import logging
import re
from typing import Any
from urllib.parse import urlencode

from telegram import Bot
from telegram.error import TelegramError
from telegram.request import HTTPXRequest

from telegram_manager.incoming_update import ASKED_FOR, Unreadable

_RESULT = re.compile(r'"result"\s*:\s*\[')
#: Brackets and braces; quoted strings are matched whole.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_NUMBER = re.compile(r'"update_id"\s*:\s*(\d{1,15})\b')
_REMOVED = "[removed: it may hold an access code]"


class QuietRequest(HTTPXRequest):
    """The library's HTTP client, without logging what it cannot decode: that could be a message with an access code."""

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """Return the response as a dictionary; TelegramError if it is not one."""
        try:
            answer = json.loads(payload.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise TelegramError("Invalid server response")
        return answer


class UpdatesRequest(QuietRequest):
    """The HTTP client for updates: if a batch cannot be decoded, its updates are returned as individual JSON texts."""

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """Return the response with `result` as a list of updates or of JSON texts; TelegramError if it is neither."""
        try:
            return QuietRequest.parse_json_payload(payload)
        except TelegramError:
            texts = split_updates(payload.decode("utf-8", "replace"))
            if not texts:
                raise
            return {"ok": True, "result": texts}


def split_updates(text: str) -> list[str]:
    """Split `"result": [...]` into the texts of its elements, by brackets and quotes alone, whatever they contain."""
    begin = _RESULT.search(text)
    parts: list[str] = []
    if begin is None:
        return parts
    depth, start = 0, begin.end()
    for token in _TOKEN.finditer(text, begin.end()):
        mark = token[0]
        if mark in "{[":
            start = token.start() if depth == 0 else start
            depth += 1
        elif mark in "}]":
            depth -= 1
            if depth == 0:
                parts.append(text[start : token.end()])
            elif depth < 0:
                break
    return parts


def make_bot(token: str, api_url: str) -> Bot:
    """Make the Bot API client. Its own logs are off: they contain full requests and responses."""
    logging.getLogger("telegram").setLevel(logging.CRITICAL + 1)
    return Bot(
        token,
        base_url=f"{api_url}/bot",
        base_file_url=f"{api_url}/file/bot",
        request=QuietRequest(connection_pool_size=32, connect_timeout=5.0, read_timeout=15.0, write_timeout=15.0),
        get_updates_request=QuietRequest(connection_pool_size=2, connect_timeout=5.0),
    )


async def fetch_updates(bot: Bot, request: UpdatesRequest, offset: int, timeout_s: int) -> list[object]:
    """Return the next updates, by long polling; a text still has to be decoded. Raises the library's TelegramError."""
    asked = {"timeout": timeout_s, "allowed_updates": json.dumps(ASKED_FOR)}
    if offset:
        asked["offset"] = offset
    found: Any = await request.post(f"{bot.base_url}/getUpdates?{urlencode(asked)}", read_timeout=timeout_s + 10)
    return list(found) if isinstance(found, list) else []


def decode_update(text: str) -> object:
    """Decode one update. Raises Unreadable, with the update's number if it can be found."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        found = _NUMBER.search(text)
        raise Unreadable(int(found[1]) if found else None, "it is not valid JSON") from None


def without_codes(raw: object, most: int) -> str:
    """An update as text for the audit log, at most `most` characters, without strings that may hold an access code."""
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

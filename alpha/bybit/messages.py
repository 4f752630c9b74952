"""What a text frame of Bybit says: data of a topic, an answer to a request of ours, or a pong. Pure.

Answers and pongs come in three shapes: `op` with `success` (private and most public hosts), `type` COMMAND_RESP with
lists of topics (option and spread), and `retCode` (trade). A public pong says `op` "ping" with `ret_msg` "pong".
"""

from dataclasses import dataclass

import msgspec

from alpha.errors import Rejected

#: What decoding a text can raise, lists in lists without end among it.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_EMPTY = msgspec.Raw(b"")


class Envelope(msgspec.Struct, gc=False, rename={"creation_ms": "creationTime", "ret_code": "retCode"}):
    """The outer fields of a frame; `data` is still text. `creation_ms` (private) or `ts` (public) is when it was made."""

    topic: str = ""
    type: str = ""
    data: msgspec.Raw = _EMPTY
    creation_ms: int = 0
    ts: int = 0
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""
    ret_code: int | None = None
    req_id: str = ""


class _Topics(msgspec.Struct, rename="camel"):
    fail_topics: list[str] = []


@dataclass(frozen=True, slots=True)
class Answer:
    """The exchange's answer to a request: which one (`req_id`, where it was echoed), about what, and whether it agreed."""

    op: str
    req_id: str
    accepted: bool
    message: str


_decoder = msgspec.json.Decoder(Envelope)
_topics = msgspec.json.Decoder(_Topics)


def decode(frame: str | bytes) -> Envelope:
    """The envelope of a frame. Rejected, with the reason, when it is not an object of Bybit's form."""
    try:
        return _decoder.decode(frame)
    except UNREADABLE as fault:
        raise Rejected(f"A frame cannot be read: {fault}.") from None


def answer_of(envelope: Envelope) -> Answer | None:
    """What a frame without a topic answers; None for a pong and for what answers nothing."""
    if envelope.op == "pong" or (envelope.op == "ping" and envelope.ret_msg == "pong"):
        return None
    if envelope.type == "COMMAND_RESP":
        failed: list[str] = []
        try:
            failed = _topics.decode(envelope.data).fail_topics if bytes(envelope.data) else []
        except msgspec.DecodeError:
            failed = ["unknown"]
        accepted = envelope.success is True and not failed
        return Answer("subscribe", envelope.req_id, accepted, envelope.ret_msg or ", ".join(failed))
    if not envelope.op:
        return None
    accepted = envelope.ret_code == 0 if envelope.ret_code is not None else envelope.success is True
    return Answer(envelope.op, envelope.req_id, accepted, envelope.ret_msg)

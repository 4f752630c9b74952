"""The optional access code: the settings hold only its scrypt hash, and the comparison takes constant time."""

import base64
import hashlib
import hmac
import os

_N, _R, _P, _LENGTH = 2**14, 8, 1, 32


def hash_code(code: str, salt: bytes | None = None) -> str:
    """Hash a code in the form of C2_TELEGRAM_ACCESS_CODE_HASH: `scrypt:salt:digest`, salt and digest in base 64."""
    salt = os.urandom(16) if salt is None else salt
    digest = hashlib.scrypt(code.strip().encode(), salt=salt, n=_N, r=_R, p=_P, dklen=_LENGTH)
    return ":".join(("scrypt", *(base64.b64encode(part).decode() for part in (salt, digest))))


def is_hash(text: str) -> bool:
    """Whether `text` is such a hash."""
    kind, _, rest = text.partition(":")
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in rest.split(":"))
    except ValueError:
        return False
    return kind == "scrypt" and len(salt) >= 8 and len(digest) == _LENGTH


def matches(code: str, hashed: str) -> bool:
    """Whether `code` matches the hash. Takes some 50 ms of CPU: call it in a thread."""
    salt = base64.b64decode(hashed.split(":")[1])
    return hmac.compare_digest(hash_code(code, salt), hashed)

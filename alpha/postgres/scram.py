"""SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5803): they verify a password without containing it."""

import base64
import hashlib
import hmac
import os
import unicodedata

ITERATIONS = 4096


def verifier(password: str, salt: bytes | None = None) -> str:
    """The verifier PostgreSQL stores for this password; with a random salt unless one is given."""
    salt = os.urandom(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", unicodedata.normalize("NFKC", password).encode(), salt, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"

"""Queries this container's own /healthz, or HEALTH_PATH; exits with 0 only when it reports healthy.

It runs every few seconds in every container, so it is started by path (`python3 -IS`) and imports next to nothing.
"""

import os
import socket
import sys


def main() -> int:
    """0 when healthy; 1, with the answer on standard output, when not."""
    port, path = os.environ.get("HEALTH_PORT", "8080"), os.environ.get("HEALTH_PATH", "/healthz")
    try:
        with socket.create_connection(("127.0.0.1", int(port)), timeout=9) as link:
            link.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            answer = b"".join(iter(lambda: link.recv(65_536), b""))
    except (OSError, ValueError) as fault:
        sys.stdout.write(f"http://127.0.0.1:{port}{path} does not answer: {fault}\n")
        return 1
    head, _, body = answer.partition(b"\r\n\r\n")
    sys.stdout.write(body.decode(errors="replace"))
    return 0 if b" 200 " in head.partition(b"\r\n")[0] else 1


if __name__ == "__main__":
    sys.exit(main())

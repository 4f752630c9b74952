"""Asks this container's own /healthz; exits with 0 only when it answers that all is well."""

import os
import sys
import urllib.error
import urllib.request


def main() -> int:
    """0 when healthy; 1, with the answer on standard output, when not."""
    url = f"http://127.0.0.1:{os.environ.get('HEALTH_PORT', '8080')}/healthz"
    try:
        with urllib.request.urlopen(url, timeout=4) as answer:
            sys.stdout.write(answer.read().decode())
            return 0
    except urllib.error.HTTPError as fault:
        sys.stdout.write(fault.read().decode())
    except OSError as fault:
        sys.stdout.write(f"{url} does not answer: {fault}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""`make audit`: known weaknesses of every package in every lock, asked with pip-audit.

Exit codes: 0 none is known, 1 some are (they are listed), 3 not checked: the source of weaknesses could not be reached.
"""

import subprocess
import sys
from pathlib import Path

LOCKS = Path(__file__).resolve().parent
UNREACHABLE = 3
#: What pip-audit prints when nobody answered, as opposed to when something was found.
_AWAY = ("ConnectionError", "Max retries exceeded", "ServiceError", "Temporary failure", "Name or service not known", "Connection refused", "timed out", "HTTPError", "ProxyError")  # fmt: skip


def audit(lock: Path) -> int:
    """Check one lock; prints what was found."""
    words = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off", "-r", str(lock)]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode == 0:
        sys.stdout.write(f"{lock.name}: no known weakness\n")
        return 0
    if any(word in said for word in _AWAY):
        sys.stdout.write(f"{lock.name}: not checked: unreachable\n")
        return UNREACHABLE
    if "No module named" in said:
        sys.stdout.write(f"{lock.name}: not checked: pip-audit is not installed\n")
        return UNREACHABLE
    sys.stdout.write(f"{lock.name}:\n{said}\n")
    return 1


def main() -> int:
    """All locks; the worst that was found counts, and a weakness is worse than no answer."""
    codes = {audit(lock) for lock in sorted(LOCKS.glob("*.lock"))}
    return 1 if 1 in codes else UNREACHABLE if UNREACHABLE in codes else 0


if __name__ == "__main__":
    sys.exit(main())

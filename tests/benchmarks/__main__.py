"""All benchmarks, one after the other, each in a process of its own: `make bench`, or `make bench ARGS='guard listener'`."""

import subprocess
import sys
from pathlib import Path

#: The history's is long and has a target of its own: `make bench-history`.
LEFT_OUT = {"history"}


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))


def main() -> int:
    """Run those that are named, else all but the long one; 1 when one of them failed."""
    wanted = sys.argv[1:] or [name for name in names() if name not in LEFT_OUT]
    unknown = [name for name in wanted if name not in names()]
    if unknown:
        sys.stderr.write(f"There is no benchmark {unknown[0]!r}. There are: {', '.join(names())}.\n")
        return 2
    failed = []
    for name in wanted:
        print(f"\n=== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"tests.benchmarks.bench_{name}"], check=False).returncode != 0:
            failed.append(name)
    if failed:
        sys.stderr.write(f"Failed: {', '.join(failed)}.\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

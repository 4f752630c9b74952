"""The borders that are fed. A target takes a source of chance, a number of rounds and a folder; it returns what it saw.

It raises AssertionError with the input when anything but a sentence comes back, or when something is understood wrongly.
"""

import gzip
import io
import math
import random
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from dotenv import dotenv_values

from alpha.config import env_file
from alpha.errors import Misconfigured
from alpha.registry import Registry, parse_registry
from alpha_cli.rendering.production import compose_services, haproxy_config, redis_users
from exchange_simulator.candle_files import CandleFault, read_candles
from tests.fuzz.exchange_answers import rest
from tests.fuzz.strange import PIECES, mutated
from tests.fuzz.stream_frames import frames

ROOT = Path(__file__).resolve().parents[2]
Target = Callable[[random.Random, int, Path], str]


def _one_sentence(said: str, given: object) -> None:
    assert "\n" not in said, (given, said)
    assert len(said) < 1000, (given, said)


def bots(chance: random.Random, rounds: int, folder: Path) -> str:
    """bots.toml: refused in one line, or accepted and then every rendered file is what it should be."""
    good = (ROOT / "bots.toml").read_text(encoding="utf-8")
    seen: Counter[str] = Counter()
    for _ in range(rounds):
        text = mutated(chance, good).encode(errors="replace").decode()
        try:
            registry = parse_registry(text, Path("bots.toml"))
        except Misconfigured as fault:
            _one_sentence(str(fault), text)
            seen["refused"] += 1
            continue
        seen["accepted"] += 1
        _rendered_soundly(registry, text)
    return ", ".join(f"{number} {what}" for what, number in sorted(seen.items()))


def _rendered_soundly(registry: Registry, text: str) -> None:
    import yaml

    words = [word for bot in registry.bots for word in {bot.id, bot.container, bot.name.casefold(), bot.tag}]
    assert len({word.replace("-", "_").replace(" ", "_") for word in words}) >= len(registry.bots), text
    for bot in registry.bots:
        for word in (bot.id, bot.container, bot.name, bot.tag):
            assert registry.find(word) is bot, (text, word)
    services = yaml.safe_load(
        "x: &strategy {}\ny: &common {}\nz: &exchange {}\ns: &secrets {}\ni: &python-image {}\n"
        + "".join(f"k{number}: &{bot.container}-keys {{}}\n" for number, bot in enumerate(registry.bots))
        + "services:\n"
        + compose_services(registry)
    )["services"]
    assert set(services) == {bot.container for bot in registry.bots}, text
    of_services = redis_users(Registry(())).count("\nuser ")
    assert redis_users(registry).count("\nuser ") == of_services + len(registry.bots), text
    allowed = haproxy_config(registry).split("/containers/(")[1].split(")")[0]
    assert set(allowed.replace("\\", "").split("|")) == {bot.container for bot in registry.bots}, text


def env(chance: random.Random, rounds: int, folder: Path) -> str:
    """`.env`: refused in one line a line, or read as python-dotenv reads it; what is written is read back."""
    path = folder / ".env"
    seen: Counter[str] = Counter()
    batch: dict[str, tuple[str, str]] = {}

    def compare() -> None:
        path.write_text("".join(f"{line}\n" for line, _ in batch.values()), encoding="utf-8", newline="")
        theirs = dotenv_values(path)
        for name, (line, value) in batch.items():
            assert theirs.get(name) == value, (line, value, theirs.get(name))
        batch.clear()

    for number in range(rounds):
        name = f"K{number}"
        value = "".join(chance.choice(PIECES) for _ in range(chance.randrange(4)))
        value = mutated(chance, value).replace("\n", " ").replace("\r", " ").replace("\ud800", "")
        line = f"{name}={value}"
        found = env_file.parse(line)
        for fault in found.faults:
            assert "\n" not in fault.text, line
        if found.faults:
            seen["refused"] += 1
        elif name in found.values:
            seen["accepted"] += 1
            batch[name] = (line, found.values[name])
        try:
            written = f"{name}={env_file.quoted(value)}"
        except ValueError:
            continue
        back = env_file.parse(written)
        if not back.faults:
            assert back.values[name] == value, (written, value)
            batch[f"W{number}"] = (f"W{number}={env_file.quoted(value)}", value)
        if len(batch) > 500:
            compare()
    compare()
    for _ in range(rounds // 20):
        env_file.parse(mutated(chance, (ROOT / ".env.example").read_text(encoding="utf-8"), 20))
    return ", ".join(f"{number} {what}" for what, number in sorted(seen.items()))


def candles(chance: random.Random, rounds: int, folder: Path) -> str:
    """Files of candles: refused in one line that names the file, or sound to the last candle."""
    start, step = 1_735_689_600_000, 300_000
    rows = [f"{start + n * step},10{n}.5,110,90,10{n},{n}.25" for n in range(8)]
    good = "\n".join(["start_ms,open,high,low,close,volume", *rows]) + "\n"
    seen: Counter[str] = Counter()
    for _ in range(rounds):
        raw = mutated(chance, good).encode(errors="replace")
        if chance.random() < 0.05:
            raw = chance.randbytes(chance.randrange(200))
        path = folder / chance.choice(("XUSDT.csv", "XUSDT.csv.gz", "XUSDT.zip"))
        path.write_bytes(_packed(chance, path, raw))
        low = chance.choice((None, None, start + 3 * step, 0, 2**62))
        high = chance.choice((None, None, start + 6 * step, 0))
        try:
            found = read_candles(path, from_ms=low, to_ms=high)
        except CandleFault as fault:
            _one_sentence(str(fault), raw)
            seen["without the file's name"] += path.name not in str(fault)
            seen["refused"] += 1
            continue
        seen["accepted"] += 1
        times = found.start_ms.tolist()
        assert times == [times[0] + n * found.interval_ms for n in range(len(times))] if times else True, raw
        for name in ("open", "high", "low", "close", "volume"):
            values = found.floats(name).tolist()
            assert len(values) == len(times) == len(found.texts(name)), raw
            assert all(math.isfinite(value) and 0 <= value <= 1e18 for value in values), raw
            assert [float(text) for text in found.texts(name)] == values, raw
    assert not seen["without the file's name"]
    return ", ".join(f"{number} {what}" for what, number in sorted(seen.items()))


def _packed(chance: random.Random, path: Path, raw: bytes) -> bytes:
    if path.suffix == ".gz":
        raw = gzip.compress(raw, 1)
    elif path.suffix == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("x.csv", raw)
        raw = buffer.getvalue()
    if path.suffix != ".csv" and chance.random() < 0.2:
        place = chance.randrange(len(raw))
        raw = raw[:place] + bytes([chance.randrange(256)]) + raw[place + chance.randrange(3) :]
    return raw


TARGETS: dict[str, Target] = {"bots": bots, "env": env, "candles": candles, "rest": rest, "frames": frames}

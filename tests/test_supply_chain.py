"""Pins, weaknesses and lists of packages: nothing is claimed that was not read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alpha.errors import Misconfigured
from alpha_cli.rendering.production import BASE_IMAGES, compose_images

ROOT = Path(__file__).resolve().parents[1]
DIGEST = "sha256:" + "a1" * 32


def run(program: str, *words: str, path: Path | None = None, **more: str) -> "subprocess.CompletedProcess[str]":
    found = {"PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"], **more}
    return subprocess.run(
        [sys.executable, program, *words], cwd=ROOT, env={**os.environ, **found}, capture_output=True, text=True, check=False
    )  # fmt: skip


def docker(folder: Path, body: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "docker").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "docker").chmod(0o755)
    return folder


def test_without_a_registry_no_digest_is_written(tmp_path: Path) -> None:
    before = (ROOT / "docker/base-images.env").read_text()
    done = run("docker/images_pin.py", path=docker(tmp_path / "bin", "exit 1"))
    assert done.returncode == 3
    assert "no registry answered for python:3.13-slim" in done.stderr
    done = run("docker/images_pin.py", path=docker(tmp_path / "bin", 'echo "{\\"digest\\": \\"latest\\"}"'))
    assert done.returncode == 3, "what is no digest is none"
    assert (ROOT / "docker/base-images.env").read_text() == before


def test_what_was_read_stands_in_the_compose_file_and_other_lines_are_refused(tmp_path: Path) -> None:
    pins = tmp_path / "base-images.env"
    assert '&redis-image "redis:8"' in compose_images(pins)
    pins.write_text("# read\n" + "".join(f"{name}={tag}@{DIGEST}\n" for name, tag in BASE_IMAGES.items()))
    text = compose_images(pins)
    assert text.count(DIGEST) == len(BASE_IMAGES)
    assert f'"postgres:${{POSTGRES_VERSION:-17@{DIGEST}}}"' in text
    pins.write_text("redis=evil/redis:8\n")
    with pytest.raises(Misconfigured, match="redis must be redis:8@sha256"):
        compose_images(pins)


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("raise SystemExit(0)", 0, "no known weakness"),
        ("print('Found 1 known vulnerability'); raise SystemExit(1)", 1, "Found 1 known"),
        ("print('requests.exceptions.ConnectionError: Max retries exceeded'); raise SystemExit(1)", 3, "unreachable"),
    ],
)
def test_the_audit_tells_a_weakness_from_no_answer(tmp_path: Path, body: str, code: int, said: str) -> None:
    (tmp_path / "pip_audit.py").write_text(body)
    done = run("locks/audit.py", PYTHONPATH=str(tmp_path))
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout.count(said) == len(list((ROOT / "locks").glob("*.lock")))


def test_without_an_image_no_list_is_written(tmp_path: Path) -> None:
    done = run("docker/sbom.py", path=docker(tmp_path / "bin", "exit 0"))
    assert done.returncode == 3
    assert "no Alpha image was found" in done.stderr

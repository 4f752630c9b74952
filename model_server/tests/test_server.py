"""The model server, asked by a published client and by hand: scores, refusals, damaged artefacts."""

import asyncio
import json
import logging
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from aiohttp import web

from alpha.config.loader import load
from alpha.logs import configure
from alpha.scoring.local import Session
from alpha.scoring.manifest import read_artefact
from model_server.app import ModelServer
from model_server.settings import ModelServerSettings
from tests.support.models import artefact, needs_training_packages

pytestmark = needs_training_packages


class Served:
    """A running server."""

    def __init__(self, server: ModelServer, url: str, folder: Path) -> None:
        self.server, self.url, self.folder = server, url, folder
        self.session = Session(read_artefact(folder))

    @property
    def rows(self) -> np.ndarray:
        """Reference rows of the model."""
        return np.asarray(self.session.manifest.reference.rows, dtype=np.float32)

    async def ask(self, path: str = "/v2/models/proof/infer", **changes: Any) -> httpx.Response:
        """An inference of two rows; `changes` replace parts of the request."""
        tensor = {"name": "features", "datatype": "FP32", "shape": [2, 6], "data": self.rows[:2].tolist()}
        tensor |= changes.pop("tensor", {})
        closed_ms = self.session.manifest.trained_to_ms
        body = {"inputs": [tensor], "parameters": {"closed_ms": closed_ms}, **changes}
        async with httpx.AsyncClient(base_url=self.url) as client:
            return await client.post(path, content=json.dumps(body))


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    folder = artefact(tmp_path / "models", effect=1.5)
    settings = load(ModelServerSettings, env_file=None, models_dir=tmp_path / "models", models_max_rows=64)
    server = ModelServer(settings)
    server.store.scan()
    runner = web.ServerRunner(server.http())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Served(server, f"http://127.0.0.1:{runner.addresses[0][1]}", folder)
    await runner.cleanup()


async def test_the_published_client_gets_the_scores_that_a_back_test_computes(served: Served) -> None:
    version, rows = served.folder.name, served.rows[:33]
    now = served.session.manifest.trained_to_ms

    def ask() -> list[np.ndarray]:
        from tritonclient import http

        client = http.InferenceServerClient(served.url.removeprefix("http://"))
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("proof")
        assert client.is_model_ready("proof", version)
        assert not client.is_model_ready("nobody")
        assert client.get_model_metadata("proof")["versions"] == [version]
        answers = []
        for binary_in, binary_out in ((True, True), (False, False), (True, False)):
            tensor = http.InferInput("features", list(rows.shape), "FP32")
            tensor.set_data_from_numpy(rows, binary_data=binary_in)
            wanted = http.InferRequestedOutput("score", binary_data=binary_out)
            answer = client.infer("proof", [tensor], version, outputs=[wanted], parameters={"closed_ms": now})
            answers.append(answer.as_numpy("score"))
        with pytest.raises(Exception, match="trained on data up to"):
            client.infer("proof", [tensor], version)
        client.close()
        return answers

    answers = await asyncio.to_thread(ask)
    for answer in answers:
        assert answer.tobytes() == served.session.scores(rows).tobytes()


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"tensor": {"shape": [2, 5], "data": [[0.0] * 5] * 2}}, 400, "takes 6 features, got 5"),
        ({"tensor": {"datatype": "FP64"}}, 400, "type FP32, got 'FP64'"),
        ({"tensor": {"name": "other"}}, 400, "one input called 'features'"),
        ({"tensor": {"data": [[1.0] * 6, [1.0] * 5]}}, 400, "rows of equal length"),
        ({"tensor": {"data": ["a"] * 12}}, 400, "must be numbers"),
        ({"tensor": {"data": [1.0] * 11}}, 400, "11 values; their shape"),
        ({"tensor": {"data": [1e39] * 12}}, 400, "change(3) of row 0 is inf"),
        ({"tensor": {"data": [[1.0] * 6, [1.0, None, 1.0, 1.0, 1.0, 1.0]]}}, 400, "volume(20) of row 1 is nan"),
        ({"tensor": {"shape": [0, 6], "data": []}}, 400, "no row"),
        ({"tensor": {"shape": [65, 6], "data": [[0.0] * 6] * 65}}, 413, "may have 64 rows, got 65"),
        ({"tensor": {"shape": [-1, 6]}}, 400, "shape"),
        ({"parameters": {"schema": "0123456789abcdef"}}, 400, "other features, another order"),
        ({"parameters": {"features": ["a"] * 6}}, 400, "in this order: change(3)"),
        ({"parameters": {"closed_ms": 4_000_000_000_000}}, 400, "Expired"),
        ({"parameters": {"closed_ms": "now"}}, 400, "closed_ms"),
        ({"outputs": [{"name": "label"}]}, 400, "one output called 'score'"),
        ({"path": "/v2/models/nobody/infer"}, 404, "no model 'nobody'. Models: proof"),
        ({"path": "/v2/models/proof/versions/0123456789ab/infer"}, 404, "no version 0123456789ab"),
        ({"path": "/v2/models/proof/version/infer"}, 404, "/v2/models/NAME"),
    ],
)
async def test_what_the_model_was_not_trained_for_is_refused_with_a_sentence(
    served: Served, changes: dict[str, Any], status: int, said: str
) -> None:
    answer = await served.ask(**changes)
    assert (answer.status_code, said in answer.json()["error"]) == (status, True), answer.text


async def test_requests_that_are_none_are_refused(served: Served) -> None:
    async with httpx.AsyncClient(base_url=served.url) as client:
        path = "/v2/models/proof/infer"
        for content in (b"", b"\xff\xfe", b"[]", b'{"inputs": [NaN]}', b'{"inputs": 1e999}'):
            assert (await client.post(path, content=content)).status_code == 400
        huge = await client.post(path, content=b" " * (65_536 + 64 * 4_096 + 1))
        assert huge.status_code == 413
        binary = {
            "inputs": [
                {"name": "features", "datatype": "FP32", "shape": [1, 6], "parameters": {"binary_data_size": 24}}
            ]
        }
        head = json.dumps(binary).encode()
        for raw, length in (
            (b"1234", len(head)),
            (b"", len(head) + 9),
            (np.full(6, np.inf, "<f4").tobytes(), len(head)),
        ):
            headers = {"Inference-Header-Content-Length": str(length)}
            assert (await client.post(path, content=head + raw, headers=headers)).status_code == 400
        assert (await client.get(path)).status_code == 405
        assert (await client.get("/v1")).status_code == 404
        assert (await client.get("/v2")).json()["extensions"] == ["binary_tensor_data"]


async def test_one_changed_byte_takes_a_model_out_of_service_and_the_right_one_brings_it_back(served: Served) -> None:
    assert (await served.ask()).status_code == 200
    path = served.folder / "model.onnx"
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    served.server.store.scan()
    answer = await served.ask()
    assert answer.status_code == 503
    assert "model.onnx was changed" in answer.json()["error"]
    assert served.server.store.fault is not None, "the health check fails"
    path.write_bytes(content)
    served.server.store.scan()
    assert (await served.ask()).status_code == 200
    shutil.rmtree(served.folder)
    served.server.store.scan()
    assert (await served.ask()).status_code == 404
    assert served.server.store.fault is None


async def test_a_model_that_answers_its_reference_rows_otherwise_is_not_served(served: Served, tmp_path: Path) -> None:
    text = (served.folder / "manifest.json").read_text()
    manifest = json.loads(text)
    manifest["reference"]["scores"][7] += 0.001
    other = tmp_path / "models" / "proof"
    import hashlib

    changed = json.dumps(manifest).encode()
    folder = other / hashlib.sha256(changed).hexdigest()[:12]
    folder.mkdir()
    (folder / "manifest.json").write_bytes(changed)
    shutil.copy(served.folder / "model.onnx", folder)
    served.server.store.scan()
    answer = await served.ask(f"/v2/models/proof/versions/{folder.name}/infer")
    assert answer.status_code == 503
    assert "answers its reference rows otherwise" in answer.json()["error"]
    assert (await served.ask()).status_code == 200, "the sound one goes on"


async def test_malformed_requests_are_400_and_one_short_line_of_the_log_a_minute(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("aiohttp.server", "aiohttp.web"):
        monkeypatch.setattr(logging.getLogger(name), "filters", [])
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    configure(
        "tests", load(ModelServerSettings, env_file=None, models_dir=tmp_path, log_dir=tmp_path, log_level="info")
    )
    host, port = served.url.removeprefix("http://").split(":")
    post = b"POST /v2/models/proof/infer HTTP/1.1\r\nHost: x\r\n"
    for sent in (
        b"GET /v2 HTTP/9.9.9\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        post + b"Content-Encoding: gzip\r\nContent-Length: 8\r\n\r\nnot gzip",
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        assert (await reader.readline()).split()[1] == b"400", sent
        writer.close()
    for handler in root.handlers:
        handler.close()
    lines = (tmp_path / "tests.log").read_text().splitlines()
    assert len([line for line in lines if "Malformed" in line]) == 1
    assert not [line for line in lines if "Traceback" in line]

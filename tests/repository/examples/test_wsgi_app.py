"""examples/wsgi_app.py under wsgiref and gunicorn, and as a WSGI application by the book."""

import asyncio
import importlib.util
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import aiohttp
import pytest
from examples.support import ADDRESS, EXAMPLES, command, line_with

import lume_local

GUNICORN = (
    *("-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "2", "--threads", "8"),
    *("--no-control-socket", "examples.wsgi_app:app"),
)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "words",
    [(str(EXAMPLES / "wsgi_app.py"),), (*GUNICORN, "--preload")],
    ids=["wsgiref", "gunicorn --preload"],
)
async def test_many_threads_clean_at_once(
    words: tuple[str, ...], home: Path, settings: dict[str, str], source: Callable[[str], str]
) -> None:
    sources = [source(f"{n}.csv") for n in range(8)]
    script = command(*words, folder=home, env={**settings, "PORT": "0"})
    async with script:
        url = await line_with(script.process.stderr if words[0] == "-m" else script.process.stdout, ADDRESS)
        async with aiohttp.ClientSession(url) as session:

            async def clean(name: str) -> dict[str, Any]:
                async with session.post("/cleanings", data=name) as answer:
                    assert answer.status == 200, await answer.text()
                    return await answer.json()

            runs = await asyncio.gather(*map(clean, sources))
            async with session.get(f"/cleanings/{runs[0]['id']}") as answer:
                assert await answer.json() == runs[0]
        script.process.terminate()
        done = await script.end()

    assert "Traceback" not in done.err
    assert {run["status"] for run in runs} == {"PARTIAL_FAILED"}
    assert len({run["output"] for run in runs}) == 8


@pytest.fixture
def module(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("wsgi_app", EXAMPLES / "wsgi_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.client:
        yield module


@pytest.fixture
def call(module: ModuleType) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Calls the application, and holds both sides against PEP 3333."""

    def call(method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
        }
        if body:
            environ.update({"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)})
        setup_testing_defaults(environ)
        statuses: list[str] = []
        chunks = validator(module.app)(environ, lambda status, headers, _=None: statuses.append(status))
        try:
            return int(statuses[0].split()[0]), json.loads(b"".join(chunks))
        finally:
            chunks.close()

    return call


def test_what_takes_too_long_is_answered_with_where_to_ask(
    module: ModuleType,
    call: Callable[..., tuple[int, dict[str, Any]]],
    server: lume_local.ThreadedServer,
    source: Callable[[str], str],
) -> None:
    module.PATIENCE = 0.1
    with server.client() as client:
        other = client.run("slow:v1", "slow.csv")
        status, run = call("POST", "/cleanings", source("a.csv").encode())
        other.cancel()

    assert (status, run["status"]) == (202, "CREATED")
    module.PATIENCE = 20
    status, ended = call("POST", "/cleanings", b"a.csv")
    assert (status, ended["id"], ended["status"]) == (200, run["id"], "PARTIAL_FAILED")


def test_what_can_not_be_done_is_told(call: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    assert call("GET", "/cleanings/run_unknown")[0] == 404
    assert call("GET", "/cleanings/no%20id")[0] == 400
    assert call("POST", "/cleanings", b"../secret.csv")[0] == 400
    assert call("POST", "/cleanings", b"\xff.csv")[1]["status"] == "FAILED"
    assert call("GET", "/elsewhere")[0] == 404
    status, run = call("POST", "/cleanings", b"nobody.csv")
    assert (status, run["status"], run["output"]) == (200, "FAILED", None)

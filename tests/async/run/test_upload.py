"""upload_file: streamed, sent anew from the beginning after a failure, its checksum compared."""

import hashlib
from pathlib import Path

import pytest
from aioresponses import aioresponses
from scripted import scripted_client

from lume_async import ApiConnectionError, ApiError, Client, InvalidRequestError
from lume_async._run.upload import CHUNK
from lume_async.testing import FakeAnswer, FakeRequest, fake_client

pytestmark = pytest.mark.usefixtures("http")


def store(request: FakeRequest) -> FakeAnswer:
    body = request.body or b""
    name = request.path.split("?")[0].rsplit("/", 1)[1]
    stored = {
        "source_path": f"upload://{name}",
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    return FakeAnswer(201, stored)


@pytest.fixture
def client() -> Client:
    return scripted_client(store)[0]


@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK + 7])
async def test_the_whole_file_arrives(tmp_path: Path, size: int) -> None:
    client, transport = scripted_client(store)
    file = tmp_path / "customers 2026.csv"
    file.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    source = await client.upload_file(file, flow_version="f:v1")
    (request,) = transport.requests
    assert request.method == "PUT"
    assert request.path.endswith("-customers_2026.csv?flow_version=f:v1")
    assert request.headers["Content-Length"] == str(size)
    assert request.body == file.read_bytes()
    assert source == "upload://" + request.path.split("?")[0].rsplit("/", 1)[1]


async def test_a_cut_upload_begins_anew(tmp_path: Path) -> None:
    answers: list[Exception | None] = [ApiConnectionError("reset"), None]
    client, transport = scripted_client(lambda request: answers.pop(0) or store(request))
    file = tmp_path / "a.csv"
    file.write_bytes(b"a" * (CHUNK + 1))
    await client.upload_file(str(file))
    first, second = transport.requests
    assert first.path == second.path
    assert first.body == second.body


async def test_a_large_file_has_more_time(tmp_path: Path) -> None:
    client, transport = fake_client(store)
    file = tmp_path / "a.csv"
    with file.open("wb") as opened:
        opened.truncate(1024 * 1024)
    await client.upload_file(file)
    assert transport.requests[0].timeout > 60


async def test_what_arrived_changed_is_told(tmp_path: Path) -> None:
    wrong = {"source_path": "upload://x", "bytes": 1, "sha256": "0" * 64}
    client, _ = scripted_client(lambda request: FakeAnswer(201, wrong))
    (tmp_path / "a.csv").write_bytes(b"abc")
    with pytest.raises(ApiError, match="arrived changed"):
        await client.upload_file(tmp_path / "a.csv")


async def test_no_such_file(tmp_path: Path, client: Client, http: aioresponses) -> None:
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(InvalidRequestError, match="no file"):
            await client.upload_file(path)
    http.assert_not_called()

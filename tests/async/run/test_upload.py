"""upload_file: streamed, sent anew from the beginning after a failure, its checksum compared."""

import base64
import hashlib
from pathlib import Path

import pytest

from lume_async import ApiConnectionError, ApiError, InvalidRequestError, ServerError
from lume_async._run.upload import CHUNK
from lume_async.testing import FakeAnswer, FakeRequest, fake_client


def store(request: FakeRequest) -> FakeAnswer:
    body = request.body or b""
    name = request.path.split("?")[0].rsplit("/", 1)[1]
    stored = {
        "source_path": f"upload://{name}",
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    return FakeAnswer(201, stored)


@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK + 7])
async def test_the_whole_file_arrives(tmp_path: Path, size: int) -> None:
    client, transport = fake_client(store)
    file = tmp_path / "customers 2026.csv"
    file.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    source = await client.upload_file(file, flow_version="f:v1")
    (request,) = transport.requests
    assert request.method == "PUT"
    assert request.path.endswith("-customers_2026.csv?flow_version=f%3Av1")
    assert request.headers["Content-Length"] == str(size)
    assert request.body == file.read_bytes()
    assert source == "upload://" + request.path.split("?")[0].rsplit("/", 1)[1]


SERVERS: dict[str, FakeAnswer] = {
    "it does not know the method": FakeAnswer(405, {"title": "no"}),
    "it does not know the path": FakeAnswer(404),
    "it does not implement it": FakeAnswer(501),
    "it answers something else": FakeAnswer(200, b"<html>"),
    "it says nothing sensible": FakeAnswer(200, headers={"Upload-Offset": "-1", "Upload-Complete": "?0"}),
    "it has more than there is": FakeAnswer(
        204, headers={"Upload-Offset": "9999999", "Upload-Complete": "?0"}
    ),
}


@pytest.mark.parametrize("server", SERVERS)
async def test_a_cut_upload_begins_anew_where_the_server_can_not_continue(
    tmp_path: Path, server: str
) -> None:
    answers = iter([ApiConnectionError("reset"), SERVERS[server], None])
    client, transport = fake_client(lambda request: next(answers) or store(request))
    file = tmp_path / "a.csv"
    file.write_bytes(b"a" * (CHUNK + 1))
    await client.upload_file(str(file))
    first, head, second = transport.requests
    assert [each.method for each in transport.requests] == ["PUT", "HEAD", "PUT"]
    assert first.path == second.path == head.path
    assert first.body == second.body


async def test_another_complete_file_of_that_name_is_replaced(tmp_path: Path) -> None:
    other = {"source_path": "upload://a", "bytes": 9, "sha256": "0" * 64}
    complete = FakeAnswer(200, headers={"Upload-Offset": "9", "Upload-Complete": "?1"})
    answers = iter([ApiConnectionError("reset"), complete, FakeAnswer(200, other), None])
    client, transport = fake_client(lambda request: next(answers) or store(request))
    (tmp_path / "a.csv").write_bytes(b"abc")
    await client.upload_file(tmp_path / "a.csv")
    assert [each.method for each in transport.requests] == ["PUT", "HEAD", "GET", "PUT"]


async def test_the_rest_is_sent_with_what_the_draft_asks_for(tmp_path: Path) -> None:
    offset = FakeAnswer(204, headers={"Upload-Offset": "1", "Upload-Complete": "?0"})
    conflict = FakeAnswer(409, {"type": "urn:lume:problem:mismatching-upload-offset", "title": "no"})
    digest = hashlib.sha256(b"abc").hexdigest()
    stored = FakeAnswer(201, {"source_path": "upload://x", "bytes": 3, "sha256": digest})
    client, transport = fake_client([ServerError("full"), offset, conflict, offset, stored])
    (tmp_path / "a.csv").write_bytes(b"abc")
    assert await client.upload_file(tmp_path / "a.csv", flow_version="f:v1") == "upload://x"
    methods = [each.method for each in transport.requests]
    assert methods == ["PUT", "HEAD", "PATCH", "HEAD", "PATCH"]
    rest = transport.requests[-1]
    assert (rest.body, rest.path) == (b"bc", transport.requests[0].path.partition("?")[0])
    expected = {
        "Content-Type": "application/partial-upload",
        "Content-Length": "2",
        "Upload-Offset": "1",
        "Upload-Complete": "?1",
        "Upload-Length": "3",
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode()}:",
    }
    assert {name: rest.headers[name] for name in expected} == expected


@pytest.mark.parametrize("status", [400, 401, 413, 422])
async def test_a_refusal_ends_it(tmp_path: Path, status: int) -> None:
    offset = FakeAnswer(204, headers={"Upload-Offset": "1", "Upload-Complete": "?0"})
    client, _ = fake_client([ApiConnectionError("reset"), offset, FakeAnswer(status)])
    (tmp_path / "a.csv").write_bytes(b"abc")
    with pytest.raises(ApiError) as caught:
        await client.upload_file(tmp_path / "a.csv")
    assert (caught.value.status_code, caught.value.attempts) == (status, 2)


async def test_a_large_file_has_more_time(tmp_path: Path) -> None:
    client, transport = fake_client(store)
    file = tmp_path / "a.csv"
    with file.open("wb") as opened:
        opened.truncate(1024 * 1024)
    await client.upload_file(file)
    assert transport.requests[0].timeout > 60


async def test_what_arrived_changed_is_told(tmp_path: Path) -> None:
    wrong = {"source_path": "upload://x", "bytes": 1, "sha256": "0" * 64}
    client, _ = fake_client(lambda request: FakeAnswer(201, wrong))
    (tmp_path / "a.csv").write_bytes(b"abc")
    with pytest.raises(ApiError, match="arrived changed"):
        await client.upload_file(tmp_path / "a.csv")


async def test_no_such_file(tmp_path: Path) -> None:
    client, transport = fake_client(store)
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(InvalidRequestError, match=r"no file|is a folder: pass a file in it"):
            await client.upload_file(path)
    assert transport.requests == []

"""Files that clients send: whole or not at all, and good as the source of a run wherever they lie."""

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from local.flows import PEOPLE_CSV
from local.servers import serve
from local.wire import Answer, Wire

import lume_local
from lume_local._http.exchange import BodyStream, Problem
from lume_local._http.uploading.incoming import Announced, StoredUpload
from lume_local._http.uploading.uploads import Uploads

CSV = PEOPLE_CSV.encode()


@pytest.fixture
async def small(home: Path) -> AsyncIterator[Wire]:
    """A server that takes a thousand bytes."""
    serving = lume_local.serve(home / "flows", home / ".lume", [home / "in"], max_upload_bytes=1000)
    async with serving as server:
        wire = Wire(server.base_url, server.api_key)
        async with wire.session:
            yield wire


def uploaded(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home / ".lume/uploads").iterdir()}


async def until_draft(home: Path, *, there: bool) -> None:
    async with asyncio.timeout(10):
        while any(name.startswith(".") for name in os.listdir(home / ".lume/uploads")) != there:
            await asyncio.sleep(0.005)


async def test_an_upload_is_stored_and_can_be_run(small: Wire, home: Path) -> None:
    answer = await small.ask("PUT", "/v1/uploads/a-b_c.csv?flow_version=people:v1", data=CSV)
    assert (answer.status, answer.document) == (
        201,
        {
            "source_path": "upload://a-b_c.csv",
            "bytes": len(CSV),
            "sha256": hashlib.sha256(CSV).hexdigest(),
        },
    )
    assert uploaded(home) == {"a-b_c.csv": CSV}
    run = await small.run("people:v1", "upload://a-b_c.csv")
    assert (run["status"], run["source_path"]) == ("SUCCEEDED", "upload://a-b_c.csv")
    # Named by its path it lies outside of the roots.
    assert (await small.submit("people:v1", str(home / ".lume/uploads/a-b_c.csv"))).status == 422
    assert (await small.submit("people:v1", "upload://a-b_c.csv")).kind == "already-processed"


async def test_an_upload_under_the_same_name_takes_its_place(small: Wire, home: Path) -> None:
    await small.ask("PUT", "/v1/uploads/a.csv", data=b"old")
    await small.ask("PUT", "/v1/uploads/a.csv", data=b"")
    assert uploaded(home) == {"a.csv": b""}


def seen(path: Path) -> tuple[int, int, bytes]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, path.read_bytes()


async def in_parts(wire: Wire, content: bytes) -> Answer:
    half, place = len(content) // 2, "/v1/uploads/a.csv"
    await wire.ask("PUT", place, data=content[:half], headers={"Upload-Complete": "?0"})
    headers = {
        "Content-Type": "application/partial-upload",
        "Upload-Offset": str(half),
        "Upload-Complete": "?1",
    }
    return await wire.ask("PATCH", place, data=content[half:], headers=headers)


async def at_once(wire: Wire, content: bytes) -> Answer:
    return await wire.ask("PUT", "/v1/uploads/a.csv", data=content)


@pytest.mark.parametrize(("send", "content"), [(at_once, CSV), (in_parts, CSV), (at_once, b"")])
async def test_the_same_content_leaves_the_file_as_it_is(
    home: Path, send: Callable[[Wire, bytes], Awaitable[Answer]], content: bytes
) -> None:
    path = home / ".lume/uploads/a.csv"
    async with serve(home) as wire:
        first = await send(wire, content)
        before = seen(path)
        again = await send(wire, content)
        assert (again.status, again.document, seen(path)) == (201, first.document, before)
    async with serve(home) as wire:  # which has not seen it arrive
        assert (await send(wire, content)).document == first.document
        assert seen(path) == before
        await send(wire, content + b"x")
        assert seen(path)[2] == content + b"x"
        assert sorted(uploaded(home)) == ["a.csv"]


async def test_other_content_of_the_same_size_is_another_file(small: Wire, home: Path) -> None:
    for content in (b"one", b"two", b"one"):
        await small.ask("PUT", "/v1/uploads/a.csv", data=content)
        assert uploaded(home) == {"a.csv": content}


async def test_something_else_in_its_place_is_replaced(small: Wire, home: Path) -> None:
    (home / "secret").write_bytes(CSV)
    (home / ".lume/uploads/a.csv").symlink_to(home / "secret")
    await small.ask("PUT", "/v1/uploads/a.csv", data=CSV)
    assert not (home / ".lume/uploads/a.csv").is_symlink()
    assert uploaded(home) == {"a.csv": CSV}


async def test_bad_names(small: Wire, home: Path) -> None:
    for name in ("..", ".hidden", "a%20b", "a%00b", "a%5Cb", "%C3%A9", "-a", "x" * 201):
        async with small.session.put(f"/v1/uploads/{name}", data=CSV) as response:
            assert response.status in (404, 422), name  # `..` has left the path before it is sent
        assert uploaded(home) == {}


async def test_uploads_that_are_refused(small: Wire, home: Path) -> None:
    for path, method, headers, status, kind in (
        ("/v1/uploads/a.csv?flow_version=none:v1", "PUT", {}, 404, "flow-version-not-found"),
        ("/v1/uploads/a.csv?flow=people:v1", "PUT", {}, 400, "invalid-query"),
        ("/v1/uploads/a.csv", "PUT", {"Content-Encoding": "gzip"}, 415, "unsupported-encoding"),
        ("/v1/uploads/a.csv", "PUT", {"lume-api-key": "wrong"}, 401, "unauthorized"),
        ("/v1/uploads/a.csv", "POST", {}, 405, "method-not-allowed"),
        ("/v1/uploads/", "PUT", {}, 404, "not-found"),
    ):
        answer = await small.ask(method, path, data=b"id\n1\n", headers=headers)
        assert (answer.status, answer.kind) == (status, kind), path
        assert uploaded(home) == {}


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 100


async def test_too_large_said_beforehand_or_noticed_on_the_way(small: Wire, home: Path) -> None:
    assert (await small.ask("PUT", "/v1/uploads/a", data=b"x" * 1001)).kind == "too-large"
    answer = await small.ask("PUT", "/v1/uploads/a", data=pieces(11))
    assert (answer.status, answer.kind) == (413, "too-large")
    assert "1,000 bytes" in answer.document["detail"]
    assert uploaded(home) == {}
    assert (await small.ask("PUT", "/v1/uploads/a", data=pieces(10))).document["bytes"] == 1000


async def test_an_upload_that_is_cut_off_leaves_nothing(small: Wire, home: Path) -> None:
    for framing, start in (
        ("Content-Length: 500", b"x" * 100),
        ("Transfer-Encoding: chunked", b"64\r\n" + b"x" * 100 + b"\r\n"),
    ):
        url, key = small.session._base_url, small.session.headers["lume-api-key"]
        assert url is not None
        _, writer = await asyncio.open_connection(url.host, url.port)
        head = f"PUT /v1/uploads/a HTTP/1.1\r\nHost: x\r\nlume-api-key: {key}\r\n{framing}\r\n\r\n"
        writer.write(head.encode() + start)
        await until_draft(home, there=True)
        writer.close()
        await writer.wait_closed()
        await until_draft(home, there=False)
        assert uploaded(home) == {}


async def test_a_body_is_asked_for_only_where_the_head_is_accepted(small: Wire) -> None:
    url, key = small.session._base_url, small.session.headers["lume-api-key"]
    assert url is not None
    head = "PUT /v1/uploads/{} HTTP/1.1\r\nHost: x\r\nlume-api-key: {}\r\nExpect: 100-continue\r\n"
    for name, first in (
        ("a", b"HTTP/1.1 100 "),
        ("-a", b"HTTP/1.1 422 "),
    ):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(f"{head.format(name, key)}Content-Length: 2\r\n\r\n".encode())
        assert (await reader.readline()).startswith(first)
        if name == "a":
            writer.write(b"ok")
            await reader.readline()
            assert await reader.readline() == b"HTTP/1.1 201 Created\r\n"
        writer.close()
        await writer.wait_closed()


async def test_drafts_of_a_server_that_died_are_removed(home: Path) -> None:
    folder = home / ".lume/uploads"
    folder.mkdir()
    (folder / ".0.draft").write_text("half")
    (folder / "whole.csv").write_text("id\n")
    async with lume_local.serve(None, home / ".lume"):
        assert uploaded(home) == {"whole.csv": b"id\n"}


async def receive(
    uploads: Uploads, name: str, chunks: AsyncIterator[bytes], length: int | None
) -> StoredUpload:
    stored = await uploads.receive(name, BodyStream(chunks, length), Announced(length), "server")
    assert stored is not None
    return stored


async def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    uploads = Uploads(tmp_path / "up", 10**9)
    uploads.open()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Problem) as caught:
        await receive(uploads, "a", pieces(30_000), None)
    assert caught.value.status == 507
    assert list((tmp_path / "up").iterdir()) == []


async def test_a_large_upload_arrives_whole(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "up", 10**9)
    uploads.open()
    stored = await receive(uploads, "a", pieces(30_000), 3_000_000)
    content = (tmp_path / "up/a").read_bytes()
    assert (stored.size, content) == (3_000_000, b"x" * 3_000_000)
    assert stored.sha256 == hashlib.sha256(content).hexdigest()


async def test_a_quota_for_all_together(home: Path) -> None:
    async with serve(home, uploads_quota=100) as wire:
        assert (await wire.ask("PUT", "/v1/uploads/a.csv", data=b"x" * 60)).status == 201
        assert (await wire.ask("PUT", "/v1/uploads/b.csv", data=b"x" * 40)).status == 201
        full = await wire.ask("PUT", "/v1/uploads/c.csv", data=b"x")
        assert (full.status, full.kind) == (507, "storage-full")
        assert "100 bytes together" in full.document["detail"]
        (home / ".lume/uploads/a.csv").unlink()
        assert (await wire.ask("PUT", "/v1/uploads/c.csv", data=b"x" * 60)).status == 201
        assert sorted(path.name for path in (home / ".lume/uploads").iterdir()) == ["b.csv", "c.csv"]


async def test_the_same_content_that_arrives_twice_at_once_is_one_file(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "up", 10**9)
    uploads.open()
    stored = await asyncio.gather(*(receive(uploads, "a", whole(9), None) for _ in range(5)))
    assert [one.is_new for one in stored].count(True) == 1
    assert os.listdir(tmp_path / "up") == ["a"]


async def test_a_file_that_is_replaced_while_it_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another request, or another server, was faster: what it has put there is compared instead."""
    uploads, path = Uploads(tmp_path, 10**9), tmp_path / "a"
    await receive(uploads, "a", arrives(b"old"), None)
    compare, others = Uploads._has_content, [b"new", b"longer"]

    def and_replace(uploads: Uploads, compared: Path, sha256: str) -> bool:
        found = compare(uploads, compared, sha256)
        if others:
            (tmp_path / "other").write_bytes(others.pop(0))
            os.replace(tmp_path / "other", path)
        return found

    monkeypatch.setattr(Uploads, "_has_content", and_replace)
    stored = await receive(uploads, "a", arrives(b"new"), None)
    assert (stored.is_new, path.read_bytes(), os.listdir(tmp_path)) == (True, b"new", ["a"])


async def test_what_was_there_takes_no_more_of_the_quota(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, 1000, quota=100)
    halfway, no_pause = asyncio.Event(), asyncio.Event()
    await receive(uploads, "a", whole(30), None)
    slow = asyncio.create_task(receive(uploads, "b", arriving(40, then=no_pause, when=halfway), None))
    await halfway.wait()
    await receive(uploads, "a", whole(30), None)
    await receive(uploads, "a", whole(30), None)
    no_pause.set()
    assert (await slow).size == 40


async def arrives(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def arriving(size: int, *, then: asyncio.Event, when: asyncio.Event) -> AsyncIterator[bytes]:
    yield b"x" * size
    when.set()  # what came so far has been taken
    await then.wait()


async def whole(size: int) -> AsyncIterator[bytes]:
    yield b"x" * size


async def test_the_quota_counts_what_is_arriving_and_what_has_arrived_meanwhile(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, 1000, quota=100)
    halfway, no_pause = asyncio.Event(), asyncio.Event()
    slow = arriving(30, then=no_pause, when=halfway)
    first = asyncio.create_task(receive(uploads, "a", slow, None))
    await halfway.wait()
    with pytest.raises(Problem) as caught:
        await receive(uploads, "b", whole(71), None)
    assert (caught.value.status, "with this one have 101" in str(caught.value)) == (507, True)
    with pytest.raises(Problem):
        await receive(uploads, "b", whole(1), 71)  # as long as it says that it is going to be
    await receive(uploads, "b", whole(70), 70)
    no_pause.set()
    await first
    with pytest.raises(Problem):
        await receive(uploads, "c", whole(1), None)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


async def test_what_arrives_while_another_one_does_counts_for_both(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, 1000, quota=100)
    halfway, no_pause = asyncio.Event(), asyncio.Event()

    async def late() -> AsyncIterator[bytes]:
        yield b"x"
        halfway.set()
        await no_pause.wait()
        yield b"x" * 60

    first = asyncio.create_task(receive(uploads, "a", late(), None))
    await halfway.wait()
    await receive(uploads, "b", whole(60), None)
    no_pause.set()
    with pytest.raises(Problem):
        await first
    assert os.listdir(tmp_path) == ["b"]

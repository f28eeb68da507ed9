"""The protocol of uploads that are continued: the draft "Resumable Uploads for HTTP" without interim responses."""

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from local.flows import PEOPLE_CSV
from local.servers import serve
from local.wire import Answer, Wire

import lume_local
from lume_local._http.exchange import BodyStream, Problem
from lume_local._http.uploading import uploads as staging
from lume_local._http.uploading.incoming import Announced, Draft
from lume_local._http.uploading.uploads import Uploads
from lume_local._runs import upkeep

CSV = PEOPLE_CSV.encode()
PLACE = "/v1/uploads/a.csv"
OWNER = "server"
STORED = {
    "source_path": "upload://a.csv",
    "bytes": len(CSV),
    "sha256": hashlib.sha256(CSV).hexdigest(),
}


def digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


async def begin(wire: Wire, content: bytes = CSV[:10], **headers: str) -> Answer:
    """Send a first part."""
    return await wire.ask("PUT", PLACE, data=content, headers={"Upload-Complete": "?0", **headers})


async def append(wire: Wire, at: int, content: bytes, *, is_all: bool = True, **headers: str) -> Answer:
    known = {
        "Content-Type": "application/partial-upload",
        "Upload-Offset": str(at),
        "Upload-Complete": f"?{is_all:d}",
    }
    return await wire.ask("PATCH", PLACE, data=content, headers=known | headers)


def visible(home: Path) -> dict[str, bytes]:
    files = (home / ".lume/uploads").iterdir()
    return {path.name: path.read_bytes() for path in files if not path.name.startswith(".")}


def hidden(home: Path) -> list[str]:
    return [name for name in os.listdir(home / ".lume/uploads") if name.startswith(".")]


async def test_a_file_in_several_parts(home: Path) -> None:
    async with serve(home) as wire:
        first = await begin(wire, **{"Upload-Length": str(len(CSV)), "Repr-Digest": digest(CSV)})
        assert (first.status, first.headers["Location"]) == (204, PLACE)
        assert (first.headers["Upload-Offset"], first.headers["Upload-Complete"]) == ("10", "?0")
        head = await wire.ask("HEAD", PLACE)
        assert (head.headers["Upload-Offset"], head.headers["Upload-Complete"]) == ("10", "?0")
        assert head.headers["Upload-Length"] == str(len(CSV))
        assert head.headers["Upload-Limit"] == "max-size=10737418240, max-age=86400"
        state = await wire.ask("GET", PLACE)
        assert state.document == {
            "source_path": "upload://a.csv",
            "complete": False,
            "bytes": 10,
            "length": len(CSV),
            "sha256": None,
        }
        assert visible(home) == {}
        assert (await append(wire, 10, CSV[10:30], is_all=False)).headers["Upload-Offset"] == "30"
        last = await append(wire, 30, CSV[30:])
        assert (last.status, last.document, last.headers["Upload-Complete"]) == (201, STORED, "?1")
        assert (visible(home), hidden(home)) == ({"a.csv": CSV}, [])
        head = await wire.ask("HEAD", PLACE)
        assert (head.headers["Upload-Offset"], head.headers["Upload-Complete"]) == (str(len(CSV)), "?1")
        assert (await wire.ask("GET", PLACE)).document == STORED | {
            "complete": True,
            "length": len(CSV),
        }
        assert (await wire.run("people:v1", "upload://a.csv"))["status"] == "SUCCEEDED"


async def test_an_upload_in_one_request_says_that_it_is_complete(home: Path) -> None:
    async with serve(home) as wire:
        headers = {"Upload-Complete": "?1", "Repr-Digest": digest(CSV)}
        answer = await wire.ask("PUT", PLACE, data=CSV, headers=headers)
        assert (answer.status, answer.document, answer.headers["Upload-Complete"]) == (201, STORED, "?1")
        assert "Upload-Complete" not in (await wire.ask("PUT", PLACE, data=CSV)).headers
        empty = await wire.ask("PUT", PLACE, data=b"", headers={"Upload-Complete": "?1"})
        assert empty.document["bytes"] == 0


async def test_a_part_and_nothing_more(home: Path) -> None:
    async with serve(home) as wire:
        await begin(wire, CSV)
        assert (await append(wire, len(CSV), b"")).document == STORED


REFUSED: dict[str, tuple[int, bytes, dict[str, str], int, str]] = {
    "too early": (5, CSV[5:], {}, 409, "mismatching-upload-offset"),
    "too late": (11, CSV[11:], {}, 409, "mismatching-upload-offset"),
    "no offset": (10, CSV[10:], {"Upload-Offset": "ten"}, 400, "malformed-request"),
    "no end": (10, CSV[10:], {"Upload-Complete": "yes"}, 400, "malformed-request"),
    "another type": (10, CSV[10:], {"Content-Type": "text/csv"}, 415, "unsupported-media-type"),
    "shorter": (10, CSV[10:-1], {}, 422, "other-content"),
    "longer": (10, CSV[10:] + b"x", {}, 422, "other-content"),
    "another length": (10, CSV[10:], {"Upload-Length": "5"}, 400, "inconsistent-upload-length"),
    "another file": (10, CSV[10:], {"Repr-Digest": digest(b"x")}, 422, "other-content"),
}


async def test_a_part_that_does_not_fit_changes_nothing(home: Path) -> None:
    async with serve(home) as wire:
        for why, (at, content, headers, status, kind) in REFUSED.items():
            before = visible(home)
            await begin(wire, **{"Upload-Length": str(len(CSV)), "Repr-Digest": digest(CSV)})
            answer = await append(wire, at, content, **headers)
            assert (answer.status, answer.kind) == (status, kind), why
            if status == 409:
                assert answer.headers["Upload-Offset"] == "10"
            assert visible(home) == before
            assert (await append(wire, 10, CSV[10:])).document == STORED


async def test_content_that_is_not_what_was_announced_is_never_visible(home: Path) -> None:
    async with serve(home) as wire:
        await wire.ask("PUT", PLACE, data=b"before")
        for headers in ({}, {"Upload-Complete": "?1"}):
            wrong = {"Repr-Digest": digest(b"other"), **headers}
            answer = await wire.ask("PUT", PLACE, data=CSV, headers=wrong)
            assert (answer.status, answer.kind) == (422, "other-content")
            assert (visible(home), hidden(home)) == ({"a.csv": b"before"}, [])
        assert (await append(wire, 0, CSV)).kind == "completed-upload"


async def test_the_rest_of_a_file_is_not_taken_for_the_whole(home: Path) -> None:
    async with serve(home) as wire:
        await begin(wire)
        answer = await wire.ask("PUT", PLACE, data=CSV[10:], headers={"Upload-Offset": "10"})
        assert (answer.status, answer.kind) == (400, "malformed-request")
        assert visible(home) == {}
        assert (await append(wire, 10, CSV[10:])).document == STORED


async def test_nothing_to_continue(home: Path) -> None:
    async with serve(home) as wire:
        for answer in (await append(wire, 0, CSV), await wire.ask("GET", PLACE)):
            assert (answer.status, answer.kind) == (404, "upload-not-found")
        assert (await wire.ask("GET", "/v1/uploads/-a")).status == 404


async def test_more_than_was_announced_ends_the_upload(home: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 11

    async with serve(home) as wire:
        headers = {"Upload-Complete": "?0", "Upload-Length": "10"}
        answer = await wire.ask("PUT", PLACE, data=pieces(), headers=headers)
        assert (answer.status, answer.kind) == (400, "inconsistent-upload-length")
        assert hidden(home) == []


async def test_an_upload_that_is_too_large_says_what_is_allowed(home: Path) -> None:
    async with serve(home, max_upload_bytes=100) as wire:
        headers = {"Upload-Complete": "?0", "Upload-Length": "101"}
        answer = await wire.ask("PUT", PLACE, data=b"", headers=headers)
        assert (answer.status, answer.headers["Upload-Limit"]) == (413, "max-size=100, max-age=86400")


async def test_a_new_upload_of_a_name_replaces_what_was_left(home: Path) -> None:
    async with serve(home) as wire:
        await begin(wire)
        await begin(wire, b"other")
        assert (await wire.ask("HEAD", PLACE)).headers["Upload-Offset"] == "5"
        assert len(hidden(home)) == 1


async def test_the_next_server_continues(home: Path) -> None:
    async with serve(home) as wire:
        await begin(wire, **{"Upload-Length": str(len(CSV)), "Repr-Digest": digest(CSV)})
        (home / ".lume/uploads/.other.part").write_text("not one of ours")
    async with serve(home) as wire:
        head = await wire.ask("HEAD", PLACE)
        assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("10", str(len(CSV)))
        assert (await append(wire, 10, CSV[10:], **{"Repr-Digest": digest(b"x")})).kind == "other-content"
        assert (await append(wire, 10, CSV[10:])).document == STORED
        assert hidden(home) == [".other.part"]


async def test_what_nobody_continues_is_removed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "INTERVAL", 0.02)
    async with serve(home) as wire:
        await begin(wire)
        (old,) = hidden(home)
        await wire.ask("PUT", "/v1/uploads/b.csv", data=b"new", headers={"Upload-Complete": "?0"})
        os.utime(home / ".lume/uploads" / old, (0, 0))
        async with asyncio.timeout(20):
            while old in hidden(home):
                await asyncio.sleep(0.01)
        assert len(hidden(home)) == 1
        assert (await wire.ask("HEAD", PLACE)).status == 404


async def test_a_draft_that_somebody_else_has_removed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "INTERVAL", 0.02)
    async with serve(home) as wire:
        await begin(wire)
        (draft,) = hidden(home)
        (home / ".lume/uploads" / draft).unlink()
        async with asyncio.timeout(20):
            while (await wire.ask("HEAD", PLACE)).status != 404:
                await asyncio.sleep(0.01)
        assert (await wire.ask("GET", "/healthz")).status == 200


async def test_what_is_left_counts_for_the_quota(home: Path) -> None:
    async with serve(home, uploads_quota=100) as wire:
        await begin(wire, b"x" * 60)
        full = await wire.ask("PUT", "/v1/uploads/b.csv", data=b"x" * 41)
        assert (full.status, full.kind) == (507, "storage-full")
        assert (await append(wire, 60, b"x" * 41)).kind == "storage-full"
    async with serve(home, uploads_quota=100) as wire:
        assert (await wire.ask("PUT", "/v1/uploads/b.csv", data=b"x" * 41)).status == 507
        assert (await append(wire, 60, b"x" * 40)).status == 201
        assert (await wire.ask("PUT", "/v1/uploads/b.csv", data=b"x")).status == 507


# -- whose an upload is


@asynccontextmanager
async def two_keys(home: Path) -> AsyncIterator[tuple[Wire, Wire]]:
    """A server, and what two keys of the same role send."""
    names = ("first-key", "other-key")
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    keys = "".join(f'[{name}]\nrole = "submit"\nsha256 = "{digests[name]}"\n' for name in names)
    (home / "keys.toml").write_text(keys)
    async with lume_local.serve(home / "flows", home / ".lume", [home], keys=home / "keys.toml") as server:
        first, other = (Wire(server.base_url, name) for name in names)
        async with first.session, other.session:
            yield first, other


ELSEWHERE: dict[str, Callable[[Wire], Awaitable[Answer]]] = {
    "HEAD": lambda wire: wire.ask("HEAD", PLACE),
    "GET": lambda wire: wire.ask("GET", PLACE),
    "PATCH at its offset": lambda wire: append(wire, 10, CSV[10:]),
    "PATCH at another one": lambda wire: append(wire, 3, CSV[3:], is_all=False),
}


async def test_what_a_key_has_begun_is_not_there_for_others(home: Path) -> None:
    async with two_keys(home) as (first, other):
        unknown = {how: (await ask(other)).document for how, ask in ELSEWHERE.items()}
        await begin(first)
        for how, ask in ELSEWHERE.items():
            answer = await ask(other)
            assert (answer.status, answer.document) == (404, unknown[how]), "nothing tells that there is one"
        assert (await append(first, 10, CSV[10:])).document == STORED
        assert (await other.ask("GET", PLACE)).document["complete"] is True, "a whole one is for all"


async def test_another_key_begins_an_upload_of_its_own(home: Path) -> None:
    async with two_keys(home) as (first, other):
        await begin(first)
        await begin(other, b"other", **{"Upload-Length": "9"})
        assert (await first.ask("HEAD", PLACE)).headers["Upload-Offset"] == "10"
        assert (await append(other, 5, b" one")).status == 201
        assert visible(home) == {"a.csv": b"other one"}
        assert (await append(first, 10, CSV[10:])).document == STORED
        assert (visible(home), hidden(home)) == ({"a.csv": CSV}, [])


async def test_another_key_does_not_end_a_request_that_is_still_sending(home: Path) -> None:
    halfway, go_on = asyncio.Event(), asyncio.Event()
    async with two_keys(home) as (first, other):
        headers = {"Upload-Complete": "?1"}
        body = slowly(CSV[:10], CSV[10:], halfway, go_on)
        sending = asyncio.create_task(first.ask("PUT", PLACE, data=body, headers=headers))
        await halfway.wait()
        async with asyncio.timeout(10):
            while not hidden(home):
                await asyncio.sleep(0.005)
        for ask in ELSEWHERE.values():
            assert (await ask(other)).status == 404
        assert (await other.ask("PUT", PLACE, data=b"other")).status == 201
        go_on.set()
        assert (await sending).document == STORED


async def test_the_next_server_knows_whose_an_upload_is(home: Path) -> None:
    async with two_keys(home) as (first, _):
        await begin(first)
    async with two_keys(home) as (first, other):
        assert (await append(other, 10, CSV[10:])).status == 404
        assert (await append(first, 10, CSV[10:])).document == STORED


# -- without a server


async def slowly(first: bytes, rest: bytes, when: asyncio.Event, then: asyncio.Event) -> AsyncIterator[bytes]:
    yield first
    when.set()
    await then.wait()
    yield rest


async def whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    uploads = Uploads(tmp_path / "up", 10**9)
    uploads.open()
    return uploads


def kept(content: AsyncIterator[bytes], **more: Any) -> dict[str, Any]:
    body = BodyStream(content, None)
    return {"body": body, "announced": Announced(), "owner": OWNER, "is_kept": True, **more}


async def test_who_asks_for_the_offset_ends_the_request_that_is_still_sending(
    uploads: Uploads, tmp_path: Path
) -> None:
    """Its connection may be gone, which is not known here yet: what it has sent is kept, and it adds nothing."""
    halfway, never = asyncio.Event(), asyncio.Event()
    lost = asyncio.create_task(uploads.receive("a", **kept(slowly(b"abc", b"x", halfway, never))))
    await halfway.wait()
    held = await uploads.held("a", OWNER)
    assert held is not None
    assert (held.size, held.sha256) == (3, None)
    with pytest.raises(Problem) as caught:
        await lost
    assert caught.value.kind == "mismatching-upload-offset"
    stored = await uploads.resume("a", 3, BodyStream(whole(b"def"), None), Announced(), OWNER, is_all=True)
    assert stored is not None
    assert (tmp_path / "up/a").read_bytes() == b"abcdef"


async def test_who_continues_ends_the_request_that_is_still_sending(uploads: Uploads, tmp_path: Path) -> None:
    halfway, never = asyncio.Event(), asyncio.Event()
    lost = asyncio.create_task(uploads.receive("a", **kept(slowly(b"abc", b"x", halfway, never))))
    await halfway.wait()
    await uploads.resume("a", 3, BodyStream(whole(b"def"), None), Announced(), OWNER, is_all=True)
    with pytest.raises(Problem):
        await lost
    assert (tmp_path / "up/a").read_bytes() == b"abcdef"


async def test_of_two_under_one_name_the_last_to_end_wins(uploads: Uploads, tmp_path: Path) -> None:
    halfway, go_on = asyncio.Event(), asyncio.Event()
    slow = asyncio.create_task(uploads.receive("a", **kept(slowly(b"slow", b"er", halfway, go_on))))
    await halfway.wait()
    await uploads.receive("a", **kept(whole(b"quick")))
    assert (tmp_path / "up/a").read_bytes() == b"quick"
    go_on.set()
    await slow
    assert (tmp_path / "up/a").read_bytes() == b"slower"
    assert os.listdir(tmp_path / "up") == ["a"]


async def test_of_two_that_break_the_newer_one_stays(uploads: Uploads, tmp_path: Path) -> None:
    began = [asyncio.Event(), asyncio.Event()]
    tasks = []
    for n, event in enumerate(began):
        body = slowly(b"ab" * (n + 1), b"", event, asyncio.Event())
        tasks.append(asyncio.create_task(uploads.receive("a", **kept(body))))
        await event.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert len(os.listdir(tmp_path / "up")) == 1
    held = await uploads.held("a", OWNER)
    assert held is not None
    assert held.size == 4


async def test_what_is_left_in_the_connection_is_kept(uploads: Uploads) -> None:
    halfway = asyncio.Event()
    body = BodyStream(slowly(b"abc", b"", halfway, asyncio.Event()), None, lambda: b"def")
    lost = asyncio.create_task(uploads.receive("a", **kept(whole(b""), body=body)))
    await halfway.wait()
    lost.cancel()
    await asyncio.wait([lost])
    held = await uploads.held("a", OWNER)
    assert held is not None
    assert held.size == 6


@pytest.mark.parametrize("turns", range(0, 60, 6))
@pytest.mark.parametrize("twice", [False, True])
async def test_a_request_that_is_cancelled_at_any_moment_leaves_no_gap(
    uploads: Uploads, tmp_path: Path, turns: int, twice: bool
) -> None:
    """Whatever of its content is kept is a beginning of it, and no file stays open."""
    content = os.urandom(2 * 1024 * 1024 + 5)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 70_000):
            yield content[start : start + 70_000]
            await asyncio.sleep(0)

    task = asyncio.create_task(uploads.receive("a", **kept(pieces())))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    if twice:
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    held = await uploads.held("a", OWNER)
    if held is not None:
        (path,) = (tmp_path / "up").iterdir()
        assert path.read_bytes() == content[: held.size]
        if held.sha256 is None:  # else it was complete before it was cancelled
            rest = BodyStream(whole(content[held.size :]), None)
            await uploads.resume("a", held.size, rest, Announced(), OWNER, is_all=True)
        assert (tmp_path / "up/a").read_bytes() == content
    assert not uploads._receptions
    assert uploads._drafts == set()


async def test_a_write_that_failed_half_way_is_repeated(
    tmp_path: Path, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Draft._write

    def half(self: Draft, turn: Any, at: int, block: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(block[:2])
        raise OSError("broken")

    monkeypatch.setattr(Draft, "_write", half)
    with pytest.raises(OSError, match="broken"):
        await uploads.receive("a", **kept(whole(b"abc")))
    monkeypatch.setattr(Draft, "_write", write)
    await uploads.resume("a", 0, BodyStream(whole(b"abc"), None), Announced(), OWNER, is_all=True)
    assert (tmp_path / "up/a").read_bytes() == b"abc"


async def test_a_draft_that_is_removed_while_it_is_continued(uploads: Uploads, tmp_path: Path) -> None:
    await uploads.receive("a", **kept(whole(b"abc"), is_all=False))
    (draft,) = (tmp_path / "up").iterdir()
    draft.unlink()
    with pytest.raises(Problem) as caught:
        await uploads.resume("a", 3, BodyStream(whole(b"d"), None), Announced(), OWNER, is_all=True)
    assert caught.value.kind == "upload-not-found"
    assert (uploads._drafts, uploads._newest) == (set(), {})


async def test_few_checksums_are_remembered(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_NOTED", 2)
    for name in ("a", "b", "c"):
        await uploads.receive(name, **kept(whole(name.encode())))
    assert [name for name, _ in uploads._digests] == ["b", "c"]
    with monkeypatch.context() as patch:
        patch.delattr(staging.hashlib, "file_digest")
        assert await uploads.held("c", OWNER) is not None


async def test_checksums_of_complete_uploads_are_computed_once(
    uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "up/a").write_bytes(b"abc")
    first = await uploads.held("a", OWNER)
    with monkeypatch.context() as patch:
        patch.delattr(staging.hashlib, "file_digest")
        assert await uploads.held("a", OWNER) == first
    (tmp_path / "up/a").write_bytes(b"abcd")
    assert await uploads.held("a", OWNER) != first

"""Downloads of outputs: resumed where a connection broke, checked, and whole or not there."""

import base64
import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback
from loopback_steps import Request, Sends, reply

from lume_async import (
    ApiConnectionError,
    ApiError,
    Client,
    InvalidRequestError,
    NotSupportedError,
    ResponseDecodeError,
    Retry,
)
from lume_async._base import platform
from lume_async.testing import FakeAnswer, fake_client, no_backoff

CONTENT = random.Random(7).randbytes(1_000_003)
BLOCK = 64 * 1024


def digest_of(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


class Files:
    """The script of a server that sends one file: each connection breaks after `cut` bytes of it."""

    def __init__(self, content: bytes = CONTENT, /, *, cut: int = BLOCK, **headers: str) -> None:
        self.content, self.cut = content, cut
        self.headers = {"ETag": '"1"', "Repr-Digest": digest_of(content), **headers}
        self.asked: list[str | None] = []

    def __call__(self, request: Request) -> Sends:
        wanted = request.headers.get("range")
        self.asked.append(wanted)
        first = 0
        if wanted and request.headers.get("if-range") == self.headers.get("ETag"):
            first = int(wanted.removeprefix("bytes=").removesuffix("-"))
        body, whole = self.content[first:], len(self.content)
        headers = {"Content-Length": str(len(body)), **self.headers}
        headers |= {"Content-Range": f"bytes {first}-{whole - 1}/{whole}"} if first else {}
        lines = [f"{name}: {value}" for name, value in headers.items() if value]
        status = "206 Partial Content" if first else "200 OK"
        return Sends("\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode(), body, self.cut)


async def fetched(files: Files, to: Path, **options: Any) -> Path:
    with no_backoff():
        async with Loopback(files) as server, Client("key", base_url=server.url, **options) as client:
            return await client.attach("run_1").download("mapped", to)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_connection_that_breaks_at_every_64_kb_is_resumed(tmp_path: Path) -> None:
    files = Files()
    seen: list[tuple[int, int | None]] = []
    with no_backoff():
        async with Loopback(files) as server, Client("key", base_url=server.url) as client:
            run = client.attach("run_1")
            path = await run.download(
                "mapped", tmp_path / "rows.bin", progress=lambda done, total: seen.append((done, total))
            )
    assert path == tmp_path / "rows.bin"
    assert path.read_bytes() == CONTENT
    assert left_in(tmp_path) == ["rows.bin"]
    assert len(files.asked) == -(-len(CONTENT) // BLOCK), "each connection brought its part, once"
    assert files.asked[:2] == [None, f"bytes={BLOCK}-"]
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("size", [0, 1, BLOCK, 1024 * 1024])
async def test_files_of_any_size(tmp_path: Path, size: int) -> None:
    content = CONTENT[:size]
    path = await fetched(Files(content, cut=2 * size + 1), tmp_path / "rows.bin")
    assert path.read_bytes() == content


async def test_a_folder_gets_the_file_under_the_servers_name(tmp_path: Path) -> None:
    name = {"Content-Disposition": 'attachment; filename="run_1-mapped.csv"'}
    assert (await fetched(Files(cut=10**9, **name), tmp_path)).name == "run_1-mapped.csv"
    other = {"Content-Disposition": 'attachment; filename="../../evil"'}
    assert (await fetched(Files(cut=10**9, **other), tmp_path)) == tmp_path / "run_1-mapped"


async def test_other_bytes_than_the_server_has_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "rows.bin").write_text("the file of before")
    wrong = {"Repr-Digest": digest_of(b"other")}
    with pytest.raises(ApiError, match="its checksum is another one"):
        await fetched(Files(cut=10**9, **wrong), tmp_path / "rows.bin")
    assert (tmp_path / "rows.bin").read_text() == "the file of before"
    assert left_in(tmp_path) == ["rows.bin"]


async def test_a_server_that_brings_nothing_ends_the_download(tmp_path: Path) -> None:
    files = Files(cut=0)
    with pytest.raises(ApiConnectionError):
        await fetched(files, tmp_path / "rows.bin", retry=Retry(attempts=3))
    assert len(files.asked) == 3
    assert left_in(tmp_path) == []


async def test_a_compressed_body_is_refused(tmp_path: Path) -> None:
    files = Files(cut=10**9, **{"Content-Encoding": "gzip"})
    with pytest.raises(ResponseDecodeError, match="the encoding 'gzip', which was not requested"):
        await fetched(files, tmp_path / "rows.bin")
    assert left_in(tmp_path) == []


async def test_an_error_of_the_server_is_as_in_any_call(tmp_path: Path) -> None:
    detail = "the rows lie at s3://bucket/rows.parquet, and this server sends local files only"
    problem = {"type": "urn:lume:problem:not-supported", "detail": detail}
    client, _ = fake_client([FakeAnswer(422, problem), FakeAnswer(404, b"nothing")])
    run = client.attach("run_1")
    with pytest.raises(InvalidRequestError, match=r"the rows lie at s3://bucket/rows\.parquet"):
        await run.download("mapped", tmp_path / "rows.bin")
    with pytest.raises(NotSupportedError):
        await run.download("mapped", tmp_path / "rows.bin")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(("output", "to"), [("other", "a"), ("mapped", "no/such/folder/a")])
async def test_what_can_not_be_downloaded(tmp_path: Path, output: Any, to: str) -> None:
    client, transport = fake_client([])
    with pytest.raises(InvalidRequestError, match="no request was sent"):
        await client.attach("run_1").download(output, tmp_path / to)
    assert not transport.requests


async def test_a_part_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    answer = FakeAnswer(206, b"abc", {"Content-Range": "bytes 5-7/8"})
    client, _ = fake_client([answer])
    with pytest.raises(ApiError, match="another part of the file"):
        await client.attach("run_1").download("mapped", tmp_path / "rows.bin")
    assert left_in(tmp_path) == []


async def test_a_server_without_ranges_that_always_breaks_at_one_place_ends_the_download(
    tmp_path: Path,
) -> None:
    files = Files(ETag="")
    with pytest.raises(ApiConnectionError):
        await fetched(files, tmp_path / "rows.bin", retry=Retry(attempts=2))
    assert len(files.asked) == 4, "the second series of attempts brought nothing new"


async def test_a_full_disk_is_not_taken_for_a_broken_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(draft: Any, block: bytes) -> None:
        raise ApiError("no space")

    files = Files(cut=10**9)
    monkeypatch.setattr("lume_async._run.results.download._Draft._keep", full)
    with pytest.raises(ApiError, match="no space"):
        await fetched(files, tmp_path / "rows.bin")
    assert len(files.asked) == 1
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("is_posix", [True, False])
async def test_a_file_that_can_not_be_put_in_place_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_posix: bool
) -> None:
    monkeypatch.setattr(platform, "IS_POSIX", is_posix)
    monkeypatch.setattr(platform, "_PATIENCE", 0.1)
    (tmp_path / "run_1-mapped").mkdir()
    with pytest.raises(ApiError, match=r"run_1-mapped' can't be written: Is a directory") as caught:
        await fetched(Files(cut=10**9), tmp_path)
    assert ("close it in all programs" in str(caught.value)) is not is_posix
    assert left_in(tmp_path) == ["run_1-mapped"]


@pytest.mark.parametrize("error", [ValueError, OSError, RuntimeError, KeyError])
async def test_what_the_progress_function_raises_is_raised(tmp_path: Path, error: type[Exception]) -> None:
    def fails(done: int, total: int | None) -> None:
        if done:
            raise error("no more")

    files = Files(cut=10**9)
    async with Loopback(files) as server, Client("key", base_url=server.url) as client:
        with pytest.raises(error, match="no more"):
            await client.attach("run_1").download("mapped", tmp_path / "rows.bin", progress=fails)
    assert len(files.asked) == 1
    assert left_in(tmp_path) == []


async def test_no_progress_function_is_left_unawaited(tmp_path: Path) -> None:
    async def progress(done: int, total: int | None) -> None: ...

    client, transport = fake_client([])
    acts = [
        client.attach("run_1").download("mapped", tmp_path / "rows.bin", progress=progress),
        client.upload(b"x", progress=progress),
    ]
    for act in acts:
        with pytest.raises(TypeError, match="progress must be a plain function"):
            await act
    assert not transport.requests


@pytest.mark.parametrize("checked", [True, False])
async def test_only_the_mark_of_the_end_is_missing(tmp_path: Path, checked: bool) -> None:
    """A gateway sends the file in chunks, and breaks off before the last one: there is no rest to ask for."""
    headers = {"ETag": '"1"'} | ({"Repr-Digest": digest_of(CONTENT)} if checked else {})
    whole = reply(200, CONTENT, headers=headers, framing="chunked")
    script = [whole.cut("last chunk"), reply(416, headers={"Content-Range": f"bytes */{len(CONTENT)}"})]
    async with Loopback([*script, whole]) as server, Client("key", base_url=server.url) as client:
        with no_backoff():
            path = await client.attach("run_1").download("mapped", tmp_path / "rows.bin")
    assert path.read_bytes() == CONTENT
    asked = [request.headers.get("range") for request in server.requests]
    assert asked == [None, f"bytes={len(CONTENT)}-", None][: 2 if checked else 3]


async def test_a_file_that_became_shorter_for_a_server_without_if_range(tmp_path: Path) -> None:
    longer = reply(200, CONTENT * 2, headers={"ETag": '"1"'}).cut(len(CONTENT) + 1)
    script = [longer, reply(416), reply(200, CONTENT, headers={"ETag": '"2"'})]
    async with Loopback(script) as server, Client("key", base_url=server.url) as client:
        with no_backoff():
            path = await client.attach("run_1").download("mapped", tmp_path / "rows.bin")
    assert path.read_bytes() == CONTENT


async def test_a_success_without_a_file_replaces_none(tmp_path: Path) -> None:
    (tmp_path / "rows.bin").write_text("the file of before")
    client, _ = fake_client(lambda request: FakeAnswer(204))
    with pytest.raises(ResponseDecodeError, match="expected a file, got the status 204"):
        await client.attach("run_1").download("mapped", tmp_path / "rows.bin")
    assert (tmp_path / "rows.bin").read_text() == "the file of before"


# A server that lies about what it continues

OLD, NEW = CONTENT[:100_000], CONTENT[:100_000][::-1]
HALF = 40_000


def answer(status: int, body: bytes, cut: int = 10**9, **headers: str | None) -> Sends:
    """An answer, which breaks off after `cut` bytes of its body."""
    told = {"Content-Length": str(len(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in told.items() if value is not None]
    return Sends("\r\n".join([f"HTTP/1.1 {status} OK", *lines, "", ""]).encode(), body, cut)


def rest(body: bytes = NEW, first: int = HALF, total: object = len(NEW), **headers: str | None) -> Sends:
    """A part of a file, which says that it is the rest of the old one."""
    told = {"ETag": '"1"', "Content_Range": f"bytes {first}-{len(body) - 1}/{total}", **headers}
    return answer(206, body[first:], **told)


BEGUN = answer(200, OLD, HALF, ETag='"1"')
WHOLE = answer(200, NEW, ETag='"2"')
RANGE = f"bytes={HALF}-"


async def download_by(script: Any, to: Path) -> list[str | None]:
    """Downloads the file; what was asked for."""
    with no_backoff():
        async with Loopback(script) as server, Client("key", base_url=server.url) as client:
            await client.attach("run_1").download("mapped", to)
    return [request.headers.get("range") for request in server.requests]


@pytest.mark.parametrize(
    ("script", "asked", "expected"),
    [
        ([BEGUN, rest(OLD)], [None, RANGE], OLD),
        ([BEGUN, rest(ETag='"2"'), WHOLE], [None, RANGE, None], NEW),
        ([BEGUN, rest(ETag=None), WHOLE], [None, RANGE, None], NEW),
        ([BEGUN, rest(ETag='W/"1"'), WHOLE], [None, RANGE, None], NEW),
        ([BEGUN, rest(NEW[:-1], total=len(NEW) - 1), WHOLE], [None, RANGE, None], NEW),
        ([BEGUN, rest(total="*"), WHOLE], [None, RANGE, None], NEW),
        ([BEGUN, rest(first=0), WHOLE], [None, RANGE, None], NEW),
        ([BEGUN, rest(first=HALF - 1), WHOLE], [None, RANGE, None], NEW),
        ([BEGUN, rest(Content_Range=None), WHOLE], [None, RANGE, None], NEW),
        ([BEGUN, WHOLE], [None, RANGE], NEW),
        ([BEGUN, answer(200, NEW, ETag='"1"')], [None, RANGE], NEW),
        ([answer(200, OLD, HALF), answer(200, NEW)], [None, None], NEW),
        ([answer(200, OLD, HALF), rest(), WHOLE], [None, None, None], NEW),
        ([answer(200, OLD, HALF, ETag='W/"1"'), answer(200, NEW, ETag='W/"1"')], [None, None], NEW),
        ([answer(200, OLD, HALF, ETag="1"), answer(200, NEW, ETag="1")], [None, None], NEW),
        (
            [
                answer(200, OLD, HALF, ETag='"1"', Repr_Digest=digest_of(OLD)),
                rest(Repr_Digest=digest_of(NEW)),
                WHOLE,
            ],
            [None, RANGE, None],
            NEW,
        ),
    ],
)
async def test_two_files_are_never_mixed(
    tmp_path: Path, script: list[Sends], asked: list[str | None], expected: bytes
) -> None:
    assert await download_by(script, tmp_path / "rows.bin") == asked
    assert (tmp_path / "rows.bin").read_bytes() == expected
    assert left_in(tmp_path) == ["rows.bin"]


async def test_what_the_whole_answer_said_counts_for_a_part_that_says_less(tmp_path: Path) -> None:
    """RFC 9110, 15.3.7: a part need not repeat the headers of the file."""
    name = {"Content_Disposition": 'attachment; filename="run_1-mapped.csv"'}
    begun = answer(200, OLD, HALF, ETag='"1"', Repr_Digest=digest_of(OLD), **name)
    await download_by([begun, rest(OLD)], tmp_path)
    assert left_in(tmp_path) == ["run_1-mapped.csv"]
    with pytest.raises(ApiError, match="its checksum is another one"):
        await download_by([begun, rest()], tmp_path)


@pytest.mark.parametrize("lie", [rest(ETag='"2"'), rest(total="*"), rest(first=1)])
async def test_a_server_that_always_continues_another_file_ends_the_download(
    tmp_path: Path, lie: Sends
) -> None:
    asked = []

    def script(request: Request) -> Sends:
        asked.append(request.headers.get("range"))
        return lie if asked[-1] else BEGUN

    with pytest.raises(ApiError, match="has changed at each attempt"):
        await download_by(script, tmp_path / "rows.bin")
    assert len(asked) <= 24
    assert left_in(tmp_path) == []

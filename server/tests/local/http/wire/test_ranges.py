"""Parts of outputs: `Range`, `If-Range`, `If-None-Match`, and the checksum of the whole file."""

import base64
import hashlib
from pathlib import Path

import pytest
from local.wire import Wire

import lume_local
from lume_async import Client
from lume_local._http import responses


@pytest.fixture
async def output(wire: Wire) -> tuple[str, bytes]:
    run = await wire.run("people:v1", "people.csv")
    content = Path(run["metadata"]["target_locations"]["mapped"]).read_bytes()
    return f"/v1/runs/{run['id']}/outputs/mapped", content


async def test_parts(wire: Wire, output: tuple[str, bytes]) -> None:
    path, content = output
    size = len(content)
    async with wire.session.get(path) as whole:
        assert (whole.status, await whole.read()) == (200, content)
        tag = whole.headers["ETag"]
        assert not tag.startswith("W/")
    for wanted, first, last in (
        ("bytes=0-9", 0, 10),
        ("bytes=10-", 10, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=5-{size + 100}", 5, size),
        ("bytes=0-", 0, size),
    ):
        async with wire.session.get(path, headers={"Range": wanted, "If-Range": tag}) as part:
            body = await part.read()
            assert body == content[first:last]
            assert part.status == (200 if body == content else 206)
            if part.status == 206:
                assert part.headers["Content-Range"] == f"bytes {first}-{last - 1}/{size}"
            assert part.headers["ETag"] == tag


async def test_a_range_that_can_not_be_read_is_ignored(wire: Wire, output: tuple[str, bytes]) -> None:
    for wanted in ("bytes=a-b", "lines=1-2", "bytes=5-2", "bytes=0-1,3-4", ""):
        path, content = output
        async with wire.session.get(path, headers={"Range": wanted}) as whole:
            assert (whole.status, await whole.read()) == (200, content), wanted


async def test_a_range_after_the_end(wire: Wire, output: tuple[str, bytes]) -> None:
    path, content = output
    async with wire.session.get(path, headers={"Range": f"bytes={len(content)}-"}) as refused:
        assert refused.status == 416
        assert refused.headers["Content-Range"] == f"bytes */{len(content)}"
        assert (await refused.json(content_type=None))["type"] == "urn:lume:problem:invalid-range"


async def test_another_file_is_sent_whole(wire: Wire, output: tuple[str, bytes]) -> None:
    path, content = output
    async with wire.session.get(path, headers={"Range": "bytes=10-", "If-Range": '"another"'}) as whole:
        assert (whole.status, await whole.read()) == (200, content)


async def test_a_file_that_the_client_has_is_not_sent_again(wire: Wire, output: tuple[str, bytes]) -> None:
    path, content = output
    async with wire.session.get(path) as whole:
        tag = whole.headers["ETag"]
    for known in (tag, f'"another", W/{tag}', "*"):
        headers = {"If-None-Match": known, "Range": "bytes=3-"}
        for method in ("GET", "HEAD"):
            async with wire.session.request(method, path, headers=headers) as same:
                assert (same.status, same.headers["ETag"], await same.read()) == (304, tag, b"")
    async with wire.session.get(path, headers={"If-None-Match": '"another"'}) as whole:
        assert (whole.status, await whole.read()) == (200, content)


async def test_the_checksum_is_that_of_the_whole_file(wire: Wire, output: tuple[str, bytes]) -> None:
    path, content = output
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    for _ in range(2):
        headers = {"Range": "bytes=3-", "Want-Repr-Digest": "sha-256=1"}
        async with wire.session.get(path, headers=headers) as part:
            assert part.headers["Repr-Digest"] == f"sha-256=:{digest}:"
            assert await part.read() == content[3:]


async def test_the_checksum_of_a_large_file_is_sent_where_it_is_asked_for(
    wire: Wire, output: tuple[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, content = output
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"
    for quick, wanted, said in ((len(content), "", digest), (0, "", None), (0, "sha-256=1", digest)):
        monkeypatch.setattr(responses, "_QUICK", quick)
        async with wire.session.get(path, headers={"Want-Repr-Digest": wanted}) as whole:
            assert (whole.headers.get("Repr-Digest"), await whole.read()) == (said, content)


async def test_the_client_downloads_it(
    server: lume_local.Server, output: tuple[str, bytes], tmp_path: Path
) -> None:
    path, content = output
    async with Client(server.api_key, base_url=server.base_url) as client:
        got = await client.attach(path.split("/")[3]).download("mapped", tmp_path)
    assert got.read_bytes() == content
    assert got.name.startswith(path.split("/")[3])

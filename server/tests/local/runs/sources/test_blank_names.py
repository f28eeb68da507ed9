"""Names with blanks that don't break, as macOS and spreadsheets write them: they go through as any other."""

import asyncio
from pathlib import Path

import pytest
from local.wire import Wire
from moto_server import BUCKET, Bucket
from on_posix import posix_only
from sftp_server import SftpSite

import lume_async
import lume_local
import lume_sync

pytestmark = posix_only
BLANKS = "\u00a0\u202f\u3000\u200b\u200d\ufeff\u202e\u00ad\U000e0020"
"""Some don't break, some are not seen, one turns the direction."""
NAME = f"Screenshot 10.00{BLANKS}AM"
FLOW = f"""
flow = "odd"
version = "v1"
[target]
mapped = "{{data}}/out/{{source_path}}/{{run_id}}.csv"
[columns."Betrag{BLANKS}EUR"]
type = "integer"
from = ["Betrag{BLANKS}€"]
"""
CONTENT = f"Betrag{BLANKS}€\n1\nx\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, text in {"flows/odd.v1.toml": FLOW, f"in/{NAME}.csv": CONTENT}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


async def test_a_file_of_both_packages(home: Path) -> None:
    """Its rows are read, as its column is called."""
    path = f"in/{NAME}.csv"
    async with lume_local.serve(home / "flows", home / ".lume", [home]) as server:

        def with_sync() -> lume_sync.LumeRun:
            with lume_sync.Client(server.api_key, base_url=server.base_url) as client:
                run = client.run("odd:v1", path, force_rerun=True).wait(30)
                assert list(run.mapped()) == [{f"Betrag{BLANKS}EUR": 1}]
                return run

        async with lume_async.Client(server.api_key, base_url=server.base_url) as client:
            uploaded = await client.upload_file(home / path)
            for source_path in (path, uploaded):
                run = await (await client.run("odd:v1", source_path)).wait(30)
                assert (run.status, run.source_path) == ("PARTIAL_FAILED", source_path), run.metadata
                assert [row async for row in run.mapped()] == [{f"Betrag{BLANKS}EUR": 1}]
                assert [row[f"Betrag{BLANKS}€"] async for row in run.rejects()] == ["x"]
            assert (await asyncio.to_thread(with_sync)).source_path == path


@pytest.mark.thorough
async def test_what_arrives(home: Path, bucket: Bucket, sftp_site: SftpSite) -> None:
    """In a folder, a bucket and on an SFTP server: it is read, and then moved."""
    bucket.put(f"in/{NAME}.csv", CONTENT.encode())
    sftp_site.put(f"in/{NAME}.csv", CONTENT.encode())
    places = {"here": "in", "bucket": f"s3://{BUCKET}/in", "site": f"{sftp_site.url}/in"}
    arrivals = (
        f'[[arrival]]\nname = "{name}"\nflow = "odd"\nfrom = "{place}/*.csv"\n'
        'ready = { quiet = "10ms" }\nafter = { move = "done/" }\n'
        for name, place in places.items()
    )
    (home / "arrivals.toml").write_text("\n".join(arrivals))
    roots = [home, f"s3://{BUCKET}/in", sftp_site.root]
    moved = home / f"in/done/{NAME}.csv", sftp_site.files / f"in/done/{NAME}.csv"
    async with lume_local.serve(
        home / "flows", home / ".lume", roots, arrivals=home / "arrivals.toml"
    ) as server:
        async with asyncio.timeout(60):
            while not (all(map(Path.exists, moved)) and bucket.names() == [f"in/done/{NAME}.csv"]):
                await asyncio.sleep(0.05)
        async with (wire := Wire(server.base_url, server.api_key)).session:
            listed = (await wire.ask("GET", "/v1/arrivals")).document["files"]
    assert {one["path"] for one in listed} == {f"{place}/{NAME}.csv" for place in places.values()}

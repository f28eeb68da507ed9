"""What `GET /v1/arrivals` says of a place that can't be used: one clear state for each reason. Then it goes on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from local.store_run import answering
from local.wire import Wire
from moto_server import Bucket
from sftp_server import SftpSite

import lume_local
from lume_local._arrivals import sftp_place, store_place, watcher
from lume_local._sftp import session
from lume_local._worker import object_stores

FLOW = 'flow = "orders"\nversion = "v1"\n[columns.no]\ntype = "integer"\n'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((watcher, "RETRY"), (sftp_place, "POLL"), (store_place, "POLL")):
        monkeypatch.setattr(module, name, 0.05)
    monkeypatch.setattr(session, "PAUSE", 0.001)
    monkeypatch.setattr(object_stores, "_TIMES", 1)


@asynccontextmanager
async def arriving(home: Path, uri: str, root: str) -> AsyncIterator[Wire]:
    """A server to which files arrive."""
    (home / "flows").mkdir()
    (home / "flows/orders.v1.toml").write_text(FLOW)
    arrivals = home / "arrivals.toml"
    lines = f'name = "acme"\nflow = "orders"\nfrom = "{uri}"\nready = {{ quiet = "0s" }}\n'
    arrivals.write_text(f"[[arrival]]\n{lines}")
    roots = [str(home), root]
    async with lume_local.serve(
        home / "flows", home / ".lume", roots, arrivals=arrivals, max_active=1
    ) as server:
        wire = Wire(server.base_url, server.api_key)
        async with wire.session:
            yield wire


async def until(wire: Wire, trouble: str | None, submitted: int) -> str:
    """Wait for a state of the arrival; what it says then."""
    found: dict[str, Any] = {}
    with anyio.move_on_after(30):
        while True:
            (found,) = (await wire.ask("GET", "/v1/arrivals")).document["arrivals"]
            is_so = found["trouble"] is None if trouble is None else trouble in (found["trouble"] or "")
            if is_so and found["submitted"] == submitted:
                return found["trouble"] or ""
            await anyio.sleep(0.02)
    raise AssertionError(found)


@pytest.mark.thorough
async def test_states_of_an_sftp_server(tmp_path: Path, sftp_site: SftpSite) -> None:
    sftp_site.put("in/1.csv", b"no\n1\n")
    async with arriving(tmp_path, f"{sftp_site.url}/in/*.csv", sftp_site.root) as wire:
        await until(wire, None, 1)

        sftp_site.stop()
        sftp_site.put("in/2.csv", b"no\n2\n")
        said = await until(wire, "can't be reached: ", 1)
        assert "check the host, its port and the network" in said
        sftp_site.start()
        await until(wire, None, 2)

        config = sftp_site.folder / "config"
        config.write_text(config.read_text().replace("internal-sftp", "internal-sftp -P opendir"))
        sftp_site.stop()
        sftp_site.start()
        sftp_site.put("in/3.csv", b"no\n3\n")
        await until(wire, f"{sftp_site.url}/in can't be used: the server denies it to this account", 2)
        config.write_text(config.read_text().replace("-P opendir", ""))
        sftp_site.stop()
        sftp_site.start()
        await until(wire, None, 3)


async def test_states_of_a_bucket(tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can't be reached, is overloaded, does not allow it; then it works."""
    bucket.put("in/1.csv", b"no\n1\n")
    denied = "<Error><Code>AccessDenied</Code></Error>"
    with answering(503, "<html>busy</html>") as busy, answering(403, denied) as closed:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        async with arriving(tmp_path, "s3://warehouse/in/*.csv", "s3://warehouse/in") as wire:
            await until(wire, "it can't be reached: check the network and the address of the store", 0)
            for address, words in (
                (busy, "the store is overloaded or out of order"),
                (closed, "the credentials do not allow it"),
            ):
                monkeypatch.setenv("AWS_ENDPOINT_URL", address)
                said = await until(wire, words, 0)
                assert said.startswith("s3://warehouse/in can't be used: ")
            monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
            await until(wire, None, 1)

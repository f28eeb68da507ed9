"""Seeds that runs bring: which are refused, what they count for, and that they are what they were when submitted."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from local.flows import slow_rows
from local.one_run import fetch
from local.servers import process, serve
from local.wire import Wire

from lume_local._runs import upkeep
from lume_local._runs.sources.source_files import (
    batch_of,
    content_in,
    places_of,
    with_content,
    with_seeds,
)

FLOW = """
flow = "sold"
version = "v1"
[source]
identity = "{identity}"
[seeds.countries]
path = "countries.csv"
key = "code"
per_run = true
[seeds.fixed]
path = "countries.csv"
key = "code"
[columns.country]
sql = "seed('countries', upper(C), 'name')"
required = true
"""
OWN = b"code,name\nDE,Deutschland\n"
UPLOADED = {"countries": "upload://own.csv"}


@pytest.fixture
def sold(home: Path) -> Path:
    """A flow with seeds, one source and an uploaded seed."""
    (home / "flows/sold.v1.toml").write_text(FLOW.replace("{identity}", "path"))
    (home / "countries.csv").write_text("code,name\nDE,Germany\n")
    (home / "in.csv").write_text("id,C\n1,de\n")
    (home / ".lume/uploads").mkdir(mode=0o700)
    (home / ".lume/uploads/own.csv").write_bytes(OWN)
    return home


def country(run: dict[str, Any]) -> Any:
    assert run["status"] == "SUCCEEDED", run["metadata"]["error_message"]
    ((value,),) = fetch(run["metadata"]["target_locations"]["mapped"])
    return value


async def test_a_run_brings_a_seed(sold: Path) -> None:
    async with serve(sold) as wire:
        own = await wire.run("sold:v1", "in.csv", seeds=UPLOADED)
        assert country(own) == "Deutschland"
        seeds = {"countries": {"source_path": "upload://own.csv", "sha256": hashlib.sha256(OWN).hexdigest()}}
        assert own["seeds"] == own["metadata"]["run"]["seeds"] == seeds
        assert own["metadata"]["metrics"]["seeds"]["countries"]["sha256"] == seeds["countries"]["sha256"]
        plain = await wire.run("sold:v1", "in.csv")
        assert (country(plain), "seeds" in plain) == ("Germany", False)
        page = await wire.ask("GET", "/v1/runs?flow=sold")
        assert [run.get("seeds") for run in page.document["items"]] == [None, seeds]


async def test_by_its_content_it_is_another_submission(sold: Path) -> None:
    async with serve(sold) as wire:
        run = await wire.run("sold:v1", "in.csv", seeds=UPLOADED)
        (sold / ".lume/uploads/same.csv").write_bytes(OWN)
        again = await wire.submit("sold:v1", "in.csv", seeds={"countries": "upload://same.csv"})
        assert (again.kind, again.document["run_id"]) == ("already-processed", run["id"])
        (sold / ".lume/uploads/own.csv").write_bytes(OWN.replace(b"land", b"l."))
        assert country(await wire.run("sold:v1", "in.csv", seeds=UPLOADED)) == "Deutschl."


async def test_an_idempotency_key_is_for_the_same_seeds(sold: Path) -> None:
    async with serve(sold) as wire:
        first = await wire.submit("sold:v1", "in.csv", key="k", seeds=UPLOADED)
        again = await wire.submit("sold:v1", "in.csv", key="k", seeds=UPLOADED)
        assert (again.status, again.document["id"]) == (200, first.document["id"])
        assert (await wire.submit("sold:v1", "in.csv", key="k")).kind == "idempotency-key-reused"
        await wire.until(first.document["id"])


async def test_a_known_key_is_answered_when_its_seeds_are_gone(sold: Path) -> None:
    """Otherwise a client whose first answer was lost would be told that there is no run."""
    async with serve(sold) as wire:
        first = await wire.submit("sold:v1", "in.csv", key="k", seeds=UPLOADED)
        await wire.until(first.document["id"])
        (sold / ".lume/uploads/own.csv").unlink()
        again = await wire.submit("sold:v1", "in.csv", key="k", seeds=UPLOADED)
        assert (again.status, again.document["id"]) == (200, first.document["id"])
        assert again.headers["Location"] == first.headers["Location"]
        other = await wire.submit("sold:v1", "other.csv", key="k", seeds=UPLOADED)
        assert other.kind == "idempotency-key-reused"
        assert (
            await wire.submit("sold:v1", "in.csv", key="new", seeds=UPLOADED)
        ).kind == "source-not-allowed"


REFUSED: dict[str, tuple[Any, str, str]] = {
    "unknown": ({"other": "upload://own.csv"}, "invalid-field", "no seed 'other'; it has countries, fixed"),
    "fixed": ({"fixed": "upload://own.csv"}, "invalid-field", "write per_run = true"),
    "missing": ({"countries": "upload://none.csv"}, "source-not-allowed", "there is no such file"),
    "a folder": ({"countries": "flows"}, "source-not-allowed", "can't be read"),
    "outside": ({"countries": "/etc/passwd"}, "source-not-allowed", "outside"),
    "no object": (["upload://own.csv"], "invalid-field", "must be an object"),
    "no path": ({"countries": 5}, "invalid-field", "must be a string"),
    "no name": ({" ": "a"}, "invalid-field", "is empty"),
    "too large": ({"countries": "upload://large.csv"}, "invalid-field", "is larger than"),
    "too many": ({str(n): "a" for n in range(101)}, "invalid-field", "the maximum is 100"),
}


async def test_what_is_refused(sold: Path) -> None:
    (sold / ".lume/uploads/large.csv").write_bytes(b"x")
    os.truncate(sold / ".lume/uploads/large.csv", 64 * 1024 * 1024 + 1)
    async with serve(sold) as wire:
        for why, (seeds, kind, words) in REFUSED.items():
            for dry_run in (False, True):
                answer = await wire.submit("sold:v1", "in.csv", seeds=seeds, dry_run=dry_run)
                assert (answer.status, answer.kind, answer.document["field"]) == (422, kind, "seeds"), why
                assert words in answer.document["detail"], why
        assert (await wire.ask("GET", "/v1/runs")).document["items"] == []


LAYOUTS = """
flow = "shops"
version = "v1"
[columns.id]
[layouts.shop.columns]
id = '"id"'
"""


async def waiting(wire: Wire, home: Path) -> tuple[str, str]:
    """A run that keeps the only worker busy, and one with a seed that waits for it."""
    (home / "slow.csv").write_text(slow_rows())
    slow = await wire.submit("slow:v1", "slow.csv")
    own = await wire.submit("sold:v1", "in.csv", seeds=UPLOADED)
    return slow.document["id"], own.document["id"]


async def test_one_that_was_changed_since_fails_its_run(sold: Path) -> None:
    async with serve(sold) as wire:
        slow, own = await waiting(wire, sold)
        (sold / ".lume/uploads/own.csv").write_bytes(OWN + b"FR,x\n")
        await wire.ask("POST", f"/v1/runs/{slow}/cancel")
        run = await wire.until(own)
        assert run["status"] == "FAILED"
        assert "was changed after the run was submitted" in run["metadata"]["error_message"]


async def test_one_that_a_run_waits_for_is_not_removed(sold: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "INTERVAL", 0.02)
    upload = sold / ".lume/uploads/own.csv"
    async with serve(sold, keep_uploads=3600) as wire:
        slow, own = await waiting(wire, sold)
        os.utime(upload, (0, 0))
        for name in ("one", "two"):  # two whole sweeps
            await wire.ask("PUT", f"/v1/uploads/{name}", data=b"x")
            os.utime(upload.with_name(name), (0, 0))
            async with asyncio.timeout(20):
                while upload.with_name(name).exists():
                    await asyncio.sleep(0.01)
        assert upload.exists()
        await wire.ask("POST", f"/v1/runs/{slow}/cancel")
        assert country(await wire.until(own)) == "Deutschland"


async def test_a_killed_server_leaves_seeds_and_layouts_of_what_waits(sold: Path) -> None:
    (sold / "flows/shops.v1.toml").write_text(LAYOUTS)
    async with process(sold) as (server, wire):
        slow, own = await waiting(wire, sold)
        shop = (await wire.submit("shops:v1", "in.csv", layout="shop")).document["id"]
        await wire.until(slow, "TRANSFORMING")
        server.kill()
        await server.wait()
    async with serve(sold) as wire:
        run = await wire.until(own)
        assert (country(run), run["seeds"]["countries"]["source_path"]) == ("Deutschland", "upload://own.csv")
        assert (await wire.until(shop))["layout"] == "shop"


async def test_runs_over_shards_have_them_too(sold: Path) -> None:
    (sold / "in.csv").write_text("id,C\n" + "1,de\n" * 1000)
    async with serve(sold, engine="pool://2", shard_bytes=1024) as wire:
        run = await wire.run("sold:v1", "in.csv", seeds=UPLOADED)
        assert run["metadata"]["metrics"]["shards"]["count"] > 1
        assert set(fetch(run["metadata"]["target_locations"]["mapped"])) == {("Deutschland",)}


async def test_beside_the_content_of_the_source(sold: Path) -> None:
    """Where that is part of the source's identity, and on a development server, where the flow's is."""
    (sold / "flows/sold.v1.toml").write_text(FLOW.replace("{identity}", "content"))
    for dev in (False, True):
        async with serve(sold, dev=dev) as wire:
            assert country(await wire.run("sold:v1", "in.csv", seeds=UPLOADED)) == "Deutschland"
            assert (await wire.submit("sold:v1", "in.csv", seeds=UPLOADED)).kind == "already-processed"
            assert country(await wire.run("sold:v1", "in.csv")) == "Germany"


def test_keys_with_seeds() -> None:
    one, two, three = ("0" * 64, "1" * 64, "2" * 64)
    located = "/a.csv\n/b.csv"
    key = f"{with_seeds(with_content(located, one), two)}#{three}"
    assert places_of(key) == ["/a.csv", "/b.csv"]
    assert content_in(key, located) == one
    assert batch_of(key) == f"{with_content(located, one)}#{three}"
    assert places_of(with_seeds(located, two)) == ["/a.csv", "/b.csv"]

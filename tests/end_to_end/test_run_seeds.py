"""Seeds that a run brings: through both APIs, from a real server."""

import io
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import lume_async
import lume_local
import lume_sync
from lume_sync import InvalidRequestError, LumeRun

FLOW = """
flow = "sold"
version = "v1"
[seeds.countries]
path = "countries.csv"
key = "code"
per_run = true
[seeds.fixed]
path = "countries.csv"
key = "code"
[columns.id]
type = "integer"
required = true
[columns.country]
sql = "seed('countries', upper(C), 'name')"
required = true
[columns.tax]
sql = "seed('countries', upper(C), 'tax')"
"""
SOURCE = "id,C\n1,de\nx,de\n"
OWN = [{"code": "DE", "name": "Deutschland", "tax": Decimal("19.50")}]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("seeds")
    (home / "flows").mkdir()
    (home / "flows/sold.v1.toml").write_text(FLOW)
    (home / "countries.csv").write_text("code,name,tax\nDE,Germany,19\n")
    return home


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[lume_local.ThreadedServer]:
    with lume_local.serve_in_thread(home / "flows", home / ".lume", [home], max_active=1) as server:
        yield server


@pytest.fixture
def client(server: lume_local.ThreadedServer) -> Iterator[lume_sync.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def source(home: Path, request: pytest.FixtureRequest) -> str:
    """One that no other test has."""
    name = f"{abs(hash(request.node.name))}.csv"
    (home / name).write_text(SOURCE)
    return name


def country(run: LumeRun) -> str:
    (row,) = run.wait().mapped()
    return str(row["country"])


def test_the_same_source_with_other_seeds_is_another_submission(
    client: lume_sync.Client, source: str
) -> None:
    plain = client.run("sold:v1", source)
    assert (country(plain), plain.seeds) == ("Germany", None)
    own = client.run("sold:v1", source, seeds={"countries": OWN})
    assert country(own) == "Deutschland"
    assert next(iter(own.mapped()))["tax"] == "19.50", "all digits"
    for seeds, held in ((None, plain), ({"countries": OWN}, own)):
        with pytest.raises(lume_sync.DuplicateRunError) as caught:
            client.run("sold:v1", source, seeds=seeds)
        assert caught.value.run_id == held.id
        assert client.run("sold:v1", source, seeds=seeds, on_duplicate="attach") == held


def test_a_run_says_which_seeds_it_has_brought(client: lume_sync.Client, source: str) -> None:
    run = client.run("sold:v1", source, seeds={"countries": OWN}).wait()
    seed = run.metadata["run"]["seeds"]["countries"]
    assert run.seeds == {"countries": seed["source_path"]}
    assert run.to_dict()["seeds"] == run.metadata["run"]["seeds"]
    assert run.metadata.metrics.seeds["countries"].sha256 == seed["sha256"]
    assert run in list(client.list_runs(source_path=source))


@pytest.mark.parametrize("form", ["path", "file", "generator", "polars", "upload"])
def test_seeds_of_any_kind(client: lume_sync.Client, source: str, tmp_path: Path, form: str) -> None:
    rows = [{"code": "DE", "name": form}]
    text = f"code,name,tax\nDE,{form},1\n".encode()
    rows = [{**row, "tax": "1"} for row in rows]
    given: Any
    if form in ("path", "upload"):
        given = tmp_path / "c.csv"
        given.write_bytes(text)
        given = str(given) if form == "path" else client.upload(given)
    elif form in ("file", "generator"):
        given = {"file": io.BytesIO(text), "generator": (row for row in rows)}[form]
    else:
        given = pytest.importorskip(form).DataFrame(rows)
    assert country(client.run("sold:v1", source, seeds={"countries": given})) == form


def test_a_rerun_and_corrected_rejects_have_the_same_seeds(client: lume_sync.Client, source: str) -> None:
    run = client.run("sold:v1", source, seeds={"countries": OWN}).wait()
    again = run.rerun(force=True).wait()
    assert (country(again), again.seeds) == ("Deutschland", run.seeds)
    rows = list(run.rejects())
    rows[0]["id"] = "2"
    mended = run.resubmit(rows)
    assert (country(mended), mended.seeds) == ("Deutschland", run.seeds)


def test_data_and_seeds_in_one_call_are_one_run(client: lume_sync.Client) -> None:
    data = b"id,C\n5,de\n"
    run = client.run("sold:v1", data=data, seeds={"countries": OWN})
    assert country(run) == "Deutschland"
    again = client.run("sold:v1", data=data, seeds={"countries": OWN})
    assert (again, again.reused) == (run, True)
    other = client.run("sold:v1", data=data)
    assert (country(other), other.reused) == ("Germany", False)


def test_a_dry_run_with_seeds(client: lume_sync.Client, source: str) -> None:
    dry = client.dry_run("sold:v1", source, seeds={"countries": OWN})
    assert [row["country"] for row in dry.mapped] == ["Deutschland"]


async def test_the_asynchronous_client_and_a_batch(server: lume_local.ThreadedServer, source: str) -> None:
    async with lume_async.Client(server.api_key, base_url=server.base_url) as client:
        run = await client.run("sold:v1", source, seeds={"countries": OWN})
        await run.wait()
        assert run.seeds is not None
        requests = [lume_async.RunRequest("sold:v1", source, {"n": 1}, True, seeds=run.seeds)]
        async for outcome in client.run_many(requests):
            assert [row["country"] async for row in outcome.result().mapped()] == ["Deutschland"]


REFUSED: dict[str, tuple[Any, str]] = {
    "not declared": ({"nothing": OWN}, "has no seed 'nothing'; it has countries, fixed"),
    "the same for all runs": ({"fixed": OWN}, "is the same for all runs: write per_run = true"),
    "without its key": ({"countries": [{"name": "x"}]}, "needs one column 'code'; 'data.csv' has 'name'"),
    "no file": ({"countries": "/nowhere.csv"}, "'/nowhere.csv' does not exist"),
    "no seed": ({"countries": 5}, "must be a path, bytes"),
    "nothing": ({"countries": b""}, "has none"),
    "no dict": ([OWN], "must be a dict of seeds by their names"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_the_client_can_know_is_refused_before_anything_is_uploaded(
    client: lume_sync.Client, home: Path, source: str, why: str
) -> None:
    seeds, words = REFUSED[why]
    before = sorted((home / ".lume/uploads").iterdir())
    with pytest.raises(InvalidRequestError, match=words) as caught:
        client.run("sold:v1", source, seeds=seeds)
    assert caught.value.status_code is None
    assert sorted((home / ".lume/uploads").iterdir()) == before


def test_a_column_that_is_missing_fails_the_run(client: lume_sync.Client, source: str) -> None:
    run = client.run("sold:v1", source, seeds={"countries": [{"code": "DE", "other": "x"}]})
    with pytest.raises(lume_sync.RunFailedError, match=r"needs one column 'name'; it has 'code', 'other'"):
        run.wait()

"""A run's layout, named or recognised: through both APIs and the shell, from a real server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.shell import Shell, environment

import lume_async
import lume_local
import lume_sync
from lume_sync import DuplicateRunError, InvalidRequestError, LumeRun, RunFailedError, RunRequest

FLOW = """
flow = "sold"
version = "v1"
[source]
uri = "{source_path}"
[columns.id]
type = "integer"
required = true
[columns.name]
[layouts.shop.columns]
id = '"ID"'
name = '"Name"'
[layouts.bank.columns]
id = '"Nr"'
[layouts.bank.source]
csv = { delim = ";" }
"""
MANY = FLOW.replace('"sold"', '"many"').replace("{source_path}", "{source_path}/*.csv")
SHOP, BANK = "ID,Name\n1,Ann\n2,Bo\nx,Cy\n", "Nr;Konto\n7;DE\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("layouts")
    (home / "flows").mkdir()
    (home / "flows/sold.v1.toml").write_text(FLOW)
    (home / "flows/many.v1.toml").write_text(MANY)
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
    (home / name).write_text(SHOP)
    return name


def layouts(run: LumeRun) -> dict[str, tuple[int, int]]:
    source = run.metadata.metrics.source
    assert source is not None
    return {name: (one.files, one.rows_read) for name, one in source.layouts.items()}


def test_a_recognised_layout_and_a_named_one(client: lume_sync.Client, source: str) -> None:
    plain = client.run("sold:v1", source).wait()
    assert (plain.status, plain.layout, layouts(plain)) == ("PARTIAL_FAILED", None, {"shop": (1, 3)})
    assert [row["id"] for row in plain.mapped()] == [1, 2]
    named = client.run("sold:v1", source, layout="shop").wait()
    assert (named.layout, named.metadata.run.layout, layouts(named)) == ("shop", "shop", {"shop": (1, 3)})
    for layout, held in ((None, plain), ("shop", named)):
        with pytest.raises(DuplicateRunError) as caught:
            client.run("sold:v1", source, layout=layout)
        assert caught.value.run_id == held.id
        assert client.run("sold:v1", source, layout=layout, on_duplicate="attach") == held
    with pytest.raises(RunFailedError, match="has no column 'Nr'"):
        client.run("sold:v1", source, layout="bank").wait()
    again = named.rerun(force=True).wait()
    assert (again.layout, again.status) == ("shop", "PARTIAL_FAILED")


def test_a_dry_run_takes_it_too(client: lume_sync.Client, source: str) -> None:
    found = client.dry_run("sold:v1", source, layout="shop")
    assert (found.metrics.rows_read, found.metrics.rows_rejected) == (3, 1)
    assert client.dry_run("sold:v1", source, layout="bank").would_fail
    with pytest.raises(InvalidRequestError, match="sold:v1 has no layout 'post'; it has bank, shop"):
        client.dry_run("sold:v1", source, layout="post")


def test_the_same_data_with_another_layout_is_another_run(client: lume_sync.Client) -> None:
    first, again, other = (
        client.run("sold:v1", data=b"ID,Name\n9,Zoe\n", layout=layout).wait()
        for layout in ("shop", "shop", None)
    )
    assert (again.id, again.reused) == (first.id, True)
    assert other.id != first.id


def test_rows_are_written_as_their_layout_reads_them(client: lume_sync.Client) -> None:
    rows = [{"Nr": 7, "Konto": "a,b"}]
    run = client.run("sold:v1", data=rows, layout="bank").wait()
    assert (layouts(run), list(run.mapped())) == ({"bank": (1, 1)}, [{"id": 7, "name": None}])
    recognised = client.run("sold:v1", data=[{"ID": 8, "Name": "Ann"}]).wait()
    assert layouts(recognised) == {"shop": (1, 1)}
    with pytest.raises(RunFailedError, match="sold:v1"):
        client.run("sold:v1", data=rows).wait()


def test_corrected_rejects_need_none(client: lume_sync.Client, source: str) -> None:
    run = client.run("sold:v1", source, layout="shop").wait()
    (row,) = run.rejects()
    assert row["_lume_layout"] == "shop"
    again = run.resubmit([row | {"ID": "5"}]).wait()
    assert (again.layout, layouts(again), list(again.mapped())) == (
        *(None, {"shop": (0, 1)}),
        [{"id": 5, "name": "Cy"}],
    )


def test_a_batch_and_its_journal(client: lume_sync.Client, source: str, tmp_path: Path) -> None:
    wanted = [RunRequest("sold:v1", source, layout=layout) for layout in ("shop", None)]
    first = [outcome.result() for outcome in client.run_many(wanted, journal=tmp_path / "journal.db")]
    assert {run.layout for run in first} == {"shop", None}
    again = [outcome.result() for outcome in client.run_many(wanted, journal=tmp_path / "journal.db")]
    assert {run.id for run in again} == {run.id for run in first}
    changed = [RunRequest("sold:v1", source, layout="bank"), wanted[1]]
    with pytest.raises(lume_sync.ConfigurationError, match="layout 'shop' is now 'bank'"):
        list(client.run_many(changed, journal=tmp_path / "journal.db"))


async def test_files_of_two_layouts_are_counted_by_layout(
    server: lume_local.ThreadedServer, home: Path
) -> None:
    (home / "mixed").mkdir()
    for name, content in (("a", SHOP), ("b", BANK), ("c", BANK)):
        (home / f"mixed/{name}.csv").write_text(content)
    async with lume_async.Client(server.api_key, base_url=server.base_url) as client:
        run = await (await client.run("many:v1", "mixed")).wait()
        source = run.metadata.metrics.source
        assert source is not None
        assert [file.layout for file in source.files] == ["shop", "bank", "bank"]
        assert source.layouts["shop"].header == ["ID", "Name"]
        found = await client.statistics(by="layout", flow="many")
        assert [(one.layout, one.runs, one.files, one.rows_read, one.rows_rejected) for one in found] == [
            ("bank", 1, 2, 2, 0),
            ("shop", 1, 1, 3, 1),
        ]
        (other,) = await client.statistics(by="flow_version", flow="many")
        assert (other.rows_read, other.files, other.layout) == (5, None, None)


def test_in_a_shell(server: lume_local.ThreadedServer, source: str, tmp_path: Path) -> None:
    variables = environment(tmp_path, LUME_BASE_URL=server.base_url, LUME_API_KEY=server.api_key)
    with Shell(tmp_path, variables) as shell:
        done = shell.lume("run", "sold:v1", source, "--layout", "shop", "--wait", "--allow-partial")
        assert done.code == 0, done.err
        shown = shell.lume("show", done.out.strip())
        assert "shop  1 file  3 rows, 1 rejected (as submitted)" in shown.out
        assert (
            json.loads(shell.lume("show", done.out.strip(), "-o", "json").out)["metadata"]["run"]["layout"]
            == "shop"
        )
        again = shell.lume("rerun", done.out.strip(), "--wait", "--allow-partial", "-o", "json")
        assert json.loads(again.out)["metadata"]["run"]["layout"] == "shop"
        refused = shell.lume("backfill", "sold:v1", source, "--layout", "post")
        assert "layout: sold:v1 has no layout 'post'; it has bank, shop" in " ".join(refused.out.split())
        (tmp_path / "sold.toml").write_text(FLOW)
        (tmp_path / "sample.csv").write_text(SHOP)
        for layout, words in (
            ("shop", "3 rows read, 2 clean, 1 rejected"),
            ("post", "FAILED: sold:v1 has no layout 'post'; it has bank, shop"),
        ):
            tried = shell.lume("flow", "try", "sold.toml", "sample.csv", "--layout", layout)
            assert words in tried.out, tried.out

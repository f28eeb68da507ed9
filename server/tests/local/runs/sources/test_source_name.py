"""What sources are called: two of different roots are neither one batch of a table nor one target."""

from pathlib import Path
from typing import Any

import pytest
from local.flows import people
from local.loads.table_run import ENV, Database
from local.servers import serve

from lume_local._flow.definition import read_definition
from lume_local._runs.sources.paths import PathRefused, Roots
from lume_local._runs.sources.source_files import (
    SourceName,
    SourceSpec,
    name_of_files,
    name_of_query,
    name_of_urls,
    source_key,
)

INTO = {"mapped": {"url_env": ENV, "table": "clean", "mode": "replace_batch"}}
OWN = "{source_path}.csv"


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").write_text("id\n1\n")
    stores = ("s3://b1", "s3://b2/in")
    return Roots.of((tmp_path / "a", tmp_path / "b"), tmp_path / "data", stores)


def key(roots: Roots, uri: Any, source_path: str) -> str:
    return source_key(read_definition(people(source={"uri": uri})).source, source_path, roots)


def test_sources_of_different_places_have_different_keys(roots: Roots, tmp_path: Path) -> None:
    assert key(roots, "{source_path}", "x.csv") != key(roots, "{source_path}", str(tmp_path / "b/x.csv"))
    assert key(roots, "{source_path}", "s3://b1/x.csv") != key(roots, "{source_path}", "s3://b2/in/x.csv")
    listed = ["s3://b1/header.csv", "s3://b1/{source_path}.csv"]
    assert key(roots, listed, "1") != key(roots, listed, "2")


async def test_a_batch_leaves_that_of_another_root_alone(database: Database, tmp_path: Path) -> None:
    database.execute("CREATE TABLE clean (id bigint, _lume_run_id text)")
    folders = [tmp_path / "a", tmp_path / "b"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / "x.csv").write_text(f"id\n{number}\n")
    (tmp_path / "flows").mkdir()
    async with serve(tmp_path, roots=folders) as wire:
        await wire.ask("PUT", "/v1/flows/people/versions/v1", json=people(target=INTO))
        for folder in (*folders, folders[0]):
            run = await wire.run("people:v1", str(folder / "x.csv"), force_rerun=True)
            assert run["status"] == "SUCCEEDED", run["metadata"]["error_message"]
    assert database.execute("SELECT id FROM clean ORDER BY id") == [(0,), (1,)]


def of_files(roots: Roots, uri: str | tuple[str, ...], source_path: str) -> SourceName:
    wanted = SourceSpec((uri,) if isinstance(uri, str) else uri, source_path)
    return name_of_files(roots, wanted, wanted.files(roots))


def test_names_of_files(roots: Roots, tmp_path: Path) -> None:
    """Those of the first root, and those whose root the flow says, are called so alone."""
    second = tmp_path / "b"
    assert of_files(roots, "{source_path}", "x.csv") == SourceName("x.csv", True)
    assert of_files(roots, "{source_path}", f"{second}/x.csv") == SourceName("x.csv", False)
    assert of_files(roots, f"{second}/{{source_path}}", "x.csv") == SourceName("x.csv", True)
    assert of_files(roots, f"{tmp_path}/{{source_path}}", "b/x.csv") == SourceName("x.csv", False)
    assert of_files(roots, "{source_path}/*.csv", str(second)) == SourceName(".", False)
    (tmp_path / "a/link.csv").symlink_to(second / "x.csv")
    assert of_files(roots, "{source_path}", "link.csv") == SourceName("x.csv", False)


def of_urls(roots: Roots, source_path: str, *uris: str) -> SourceName:
    wanted = SourceSpec(uris, source_path)
    return name_of_urls(roots, wanted)


def test_names_of_objects(roots: Roots) -> None:
    assert of_urls(roots, "s3://b2/in/x.csv", "{source_path}") == SourceName("x.csv", False)
    assert of_urls(roots, "x", "s3://b2/in/{source_path}.csv") == SourceName("x.csv", True)
    assert of_urls(roots, "in/x", "s3://b2/{source_path}.csv") == SourceName("x.csv", False)
    listed = ("s3://b1/header.csv", "s3://b1/{source_path}.csv")
    assert of_urls(roots, "1", *listed) == SourceName("1", True)
    assert of_urls(roots, "2", *listed) == SourceName("2", True)


@pytest.mark.parametrize(
    ("path", "text", "is_own"),
    [
        ("b1", "b1", True),
        ("a/b", "a/b", True),
        ("/a", "a", False),
        ("./a", "./a", False),
        ("a//b", "a//b", False),
    ],
)
def test_names_of_queries(path: str, text: str, is_own: bool) -> None:
    assert name_of_query(path) == SourceName(text, is_own)


def test_a_target_that_another_source_could_have(tmp_path: Path) -> None:
    for template in ("latest.csv", "{run_id}/{source_path}.csv"):
        SourceName("x", False).check(template)
    SourceName("x", True).check(OWN)
    with pytest.raises(PathRefused, match=r"two sources could write to the target .*: 'x'"):
        SourceName("x", False).check(OWN)


async def test_no_run_writes_over_the_target_of_another_root(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / "x.csv").write_text(f"id\n{number}\n")
    (tmp_path / "flows").mkdir()
    async with serve(tmp_path, roots=folders) as wire:
        flow = people(target={"mapped": "{data}/" + OWN})
        await wire.ask("PUT", "/v1/flows/people/versions/v1", json=flow)
        assert (await wire.run("people:v1", "x.csv"))["status"] == "SUCCEEDED"
        other = await wire.run("people:v1", str(folders[1] / "x.csv"))
    assert other["status"] == "FAILED"
    assert "Add {run_id} to the target" in other["metadata"]["error_message"]
    assert (tmp_path / ".lume/x.csv.csv").read_text() == "id\n0\n"

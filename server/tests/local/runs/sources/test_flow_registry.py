"""Flow versions that are asked for and not known: found in a file that is new, or told apart with help."""

import asyncio
from pathlib import Path

from local.flows import PEOPLE, people
from local.servers import serve
from local.wire import Wire

import lume_local
from lume_local._flow.cleaners import CLEANERS, Cleaner
from lume_local._flow.definition import read_definition
from lume_local._runs.flow_registry import COMPILER
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect

V2 = PEOPLE.replace('"v1"', '"v2"').replace("150", "120")


async def told(wire: Wire, ref: str) -> str:
    """The detail of the answer to a submission with an unknown flow version."""
    answer = await wire.submit(ref, "people.csv")
    assert (answer.status, answer.kind) == (404, "flow-version-not-found")
    detail: str = answer.document["detail"]
    return detail


async def test_a_new_file_is_found_when_its_version_is_asked_for(wire: Wire, home: Path) -> None:
    assert "no flow version 'people:v2'" in await told(wire, "people:v2")
    (home / "flows/people.v2.toml").write_text(V2)
    answers = await asyncio.gather(*(wire.submit("people:v2", "people.csv", key="same") for _ in range(5)))
    assert len({answer.document["id"] for answer in answers}) == 1
    assert (await wire.until(answers[0].document["id"]))["status"] == "SUCCEEDED"
    (home / "flows/people.v3.toml").write_text(V2.replace("v2", "v3"))
    assert (await wire.ask("GET", "/v1/flows/people/versions/v3")).status == 200
    (home / "flows/people.v4.toml").write_text(V2.replace("v2", "v4"))
    assert (await wire.ask("GET", "/v1/flows/people/versions/v4/schema")).document["title"] == "people:v4"


async def test_a_version_that_is_known_is_not_read_again(wire: Wire, home: Path) -> None:
    (home / "flows/people.v1.toml").write_text(PEOPLE.replace("150", "33"))
    assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"
    (home / "flows/other.toml").write_text(PEOPLE.replace("150", "33"))
    await told(wire, "people:v9")
    definition = (await wire.ask("GET", "/v1/flows/people/versions/v1")).document["definition"]
    assert definition["columns"]["age"]["maximum"] == 150


async def test_mistakes_in_new_files_are_told(wire: Wire, home: Path) -> None:
    (home / "flows/bad.toml").write_text("flow = x")
    assert "bad.toml:1: is not TOML" in await told(wire, "people:v2")
    (home / "flows/people.v2.toml").write_text(V2.replace('"Age"', '"Age" +'))
    detail = await told(wire, "people:v2")
    assert "people:v2 has a mistake" in detail
    assert "people.v2.toml:13: columns.age.sql" in detail
    (home / "flows/people.v2.toml").write_text(V2)
    (home / "flows/twin.toml").write_text(V2)
    assert "is in people.v2.toml and twin.toml" in await told(wire, "people:v2")
    (home / "flows/twin.toml").unlink()
    assert (await wire.run("people:v2", "people.csv"))["status"] == "SUCCEEDED"


async def test_what_there_is_instead(wire: Wire, home: Path) -> None:
    for ref, words in (
        ("people", "write name:version, such as 'people:v1'"),
        ("peopel", "write name:version, such as 'people:v1'"),
        ("xyz", "write name:version, such as 'orders:v1'"),
        ("people:v7", "this flow has people:v1"),
        ("peple:v1", "did you mean 'people:v1'?"),
        ("entirely:else", "there are notes:v1, people:v1, slow:v1"),
    ):
        detail = await told(wire, ref)
        assert f"no flow version {ref!r}, nor a file with it in {home / 'flows'}" in detail
        assert words in detail


async def test_without_a_folder(tmp_path: Path) -> None:
    async with lume_local.serve(None, tmp_path / ".lume", [tmp_path]) as server:
        wire = Wire(server.base_url, server.api_key)
        async with wire.session:
            assert await told(wire, "a:v1") == "there is no flow version 'a:v1': none is registered"
            for n in range(12):
                await wire.ask("PUT", f"/v1/flows/people/versions/v{n}", json=people(version=f"v{n}"))
            assert (await told(wire, "people:w")).endswith(
                "this flow has …, people:v2, people:v3, people:v4, people:v5, people:v6, people:v7, "
                "people:v8, people:v9, people:v10, people:v11"
            )


async def test_a_folder_that_is_gone(home: Path) -> None:
    async with serve(home) as wire:
        (home / "flows").rename(home / "elsewhere")
        assert "there is no flows folder" in await told(wire, "people:v2")
        assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"


async def test_how_a_version_is_split_may_change(home: Path, caplog) -> None:
    flow = home / "flows/people.v2.toml"
    flow.write_text(V2)
    async with serve(home) as wire:
        assert (await wire.run("people:v2", "people.csv"))["status"] == "SUCCEEDED"
        before = (await wire.ask("GET", "/v1/flows/people/versions/v2")).document
        flow.write_text(V2 + "[engine]\nshards = 1\n")
        run = await wire.run("people:v2", "people.csv", force_rerun=True)
        after = (await wire.ask("GET", "/v1/flows/people/versions/v2")).document

    assert run["status"] == "SUCCEEDED"
    assert "notes" not in run["metadata"]
    assert after["definition"]["engine"] == {"shards": 1}
    assert after["content_hash"] == before["content_hash"]


async def test_a_version_that_has_run_keeps_its_cleaners(home: Path, monkeypatch, caplog) -> None:
    flow = home / "flows/people.v2.toml"
    flow.write_text(V2.replace("""'lower(trim("Email"))'""", """'parse_email("Email")'"""))
    async with serve(home) as wire:
        assert (await wire.run("people:v2", "people.csv"))["status"] == "SUCCEEDED"
        before = (await wire.ask("GET", "/v1/flows/people/versions/v2")).document["content_hash"]
    monkeypatch.setitem(CLEANERS, "parse_email", Cleaner(version=2))
    async with serve(home) as wire:
        after = (await wire.ask("GET", "/v1/flows/people/versions/v2")).document["content_hash"]
    (warning,) = [record.getMessage() for record in caplog.records if "cleaners" in record.getMessage()]

    assert before == after
    assert warning.startswith("people:v2 keeps the cleaners it was compiled with")
    assert "(parse_email)" in warning


SHAPE = """
aliases checks cleaners columns comment compression csv encoding excel expect fixed footer format header
judged_by_table layouts lookups max_line_bytes max_ratio max_unpacked_bytes members null on_unknown_columns records
ref references respelled rules seeds siblings sources unique where whole
"""
OF_A_COLUMN = "inner kept made name ordered threw value"


def test_a_compiled_form_of_another_shape_has_another_number() -> None:
    with connect() as connection:
        compiled = compile_flow(connection, read_definition(people()))
    shape = sorted(compiled), sorted(compiled["columns"][0])
    assert (COMPILER, *shape) == (9, SHAPE.split(), OF_A_COLUMN.split()), "raise COMPILER, then change this"

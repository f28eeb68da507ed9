"""Keys of rows that come back, by the target that has the accepted ones; retention, turns, kills of the order."""

import asyncio
import json
import sqlite3
import tomllib
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import depth
import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.loads.table_run import ENV, Database
from local.servers import serve
from local.wire import Wire

import lume_local
from lume_local._runs.recorder import RunRecorder
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import StoredRun

FLOW = """
flow = "parts"
version = "{version}"
{more}
[columns.code]
{kind}
required = true
{unique}
[columns.mark]
{rule}
[columns.origin]
sql = '"mark"'
[columns.first]
sql = '"mark"'
"""
UNIQUE, RULE = "unique = true", 'pattern = "^good$"'
REPEATS = "code: repeats the value of an earlier row"
OUTCOMES = ("SUCCEEDED", "PARTIAL_FAILED", "FAILED")


async def registered(wire: Wire, version: str = "v1", **parts: str) -> str:
    parts = {"more": "", "kind": "", "unique": UNIQUE, "rule": RULE} | parts
    flow = tomllib.loads(FLOW.format(version=version, **parts))
    assert (await wire.ask("PUT", f"/v1/flows/parts/versions/{version}", json=flow)).status in (200, 201)
    return f"parts:{version}"


def written(home: Path, name: str, *rows: tuple[str, str]) -> str:
    lines = [",".join(json.dumps(value) for value in row) for row in (("code", "mark"), *rows)]
    (home / name).write_text("\n".join(lines).replace('\\"', '""') + "\n")
    return name


async def mended(
    wire: Wire, parent: str, ref: str, *rows: tuple[Any, str], name: str = "mended", tries: bool = True
) -> dict[str, Any]:
    """Rows that are right now, by the number of their reject's row. A dry run, before, must say the same."""
    lines = ["_lume_row,_lume_reasons,code,mark", *(f'{row},,"{code}",good' for row, code in rows)]
    text, source = "\n".join(lines).encode() + b"\n", f"upload://{name}.csv"
    assert (await wire.ask("PUT", f"/v1/uploads/{name}.csv", data=text)).status in (200, 201)
    of = {"run_metadata": {"resubmit_of": parent}, "force_rerun": True}
    dry = (await wire.submit(ref, source, **of, dry_run=True)).document if tries else None
    run = await wire.run(ref, source, **of)
    assert dry is None or (dry["status"], figures(dry)) == (run["status"], figures(run))
    return run


def figures(run: dict[str, Any]) -> tuple[int, dict[str, int]]:
    metrics = run["metadata"]["metrics"]
    return metrics["rows_mapped"], metrics["reject_reasons"]


TARGETS = {
    "parquet": "",
    "csv": '[target]\nmapped = "{data}/out/{run_id}.csv"',
    "ndjson": '[target]\nmapped = "{data}/out/{run_id}.ndjson"',
    "parts": '[target]\nmapped = "{data}/out/{run_id}/"\n[engine]\nshards = 2',
    "sharded": "[engine]\nshards = 2",
}
KINDS = {
    "sql = '''coalesce(\"code\", '')'''": ("0", "", 'ä,"b";'),
    'type = "integer"\nsql_type = "HUGEINT"': ("12345678901234567890123", "-7", "0"),
    'type = "number"\nsql_type = "DECIMAL(20,3)"': ("0.125", "12345678901234567.125", "-1"),
    'type = "number"': ("0.1", "1e300", "-3"),
    'type = "string"\nformat = "date-time"': (
        "2024-03-01T10:30:00+02:00",
        "1999-12-31T23:59:59.000001Z",
        "2000-01-01T00:00:00Z",
    ),
    'type = "string"\nformat = "uuid"\nsql_type = "UUID"': tuple(
        f"{n}b1f0c52-7f0e-4c53-8a3f-2f7f0c6c4b0e" for n in range(3)
    ),
    'type = "boolean"': ("yes", "no"),
}


@pytest.mark.parametrize(
    "target", ["parquet", *(pytest.param(one, marks=pytest.mark.thorough) for one in list(TARGETS)[1:])]
)
async def test_the_outputs_that_keys_are_read_from(home: Path, target: str) -> None:
    async with serve(home) as wire:
        is_whole = depth.is_thorough and target == "parquet"
        kinds = dict(list(KINDS.items())[: None if is_whole else 2])
        for number, (kind, codes) in enumerate(kinds.items()):
            ref = await registered(wire, f"v{number}", kind=kind, more=TARGETS[target])
            good = [(code, "good") for code in codes]
            name = written(home, f"{number}.csv", *good, *((code, "bad") for code in codes))
            run = await wire.run(ref, name)
            assert figures(run)[0] == len(codes), run["metadata"]
            replay = await registered(wire, f"lax{number}", kind=kind, more=TARGETS[target], rule="")
            done = (await wire.ask("POST", "/v1/replays", json={"flow": "parts", "to": replay})).document
            for one in done["runs"]:
                found = await wire.until(one["id"])
                assert figures(found)[1][REPEATS] == len(codes), found["metadata"]
                assert figures(found)[0] == 0
            await wire.ask("POST", "/v1/rejects/discard", json={"flow": "parts", "why": "seen"})


OTHERS = "mark VARCHAR(9), origin VARCHAR(9), first VARCHAR(9)"
MODES = {
    "append": 'mode = "append"',
    "replace_batch": 'mode = "replace_batch"',
    "upsert": 'mode = "upsert"\nkey = ["code"]',
}


@pytest.mark.thorough
@pytest.mark.parametrize("mode", MODES)
async def test_keys_of_a_table(home: Path, database: Database, mode: str) -> None:
    """Those of the rows of a run, if the table says which these are."""
    database.execute(f"CREATE TABLE parts (code BIGINT PRIMARY KEY, {OTHERS}, _lume_run_id VARCHAR(99))")
    table = f'[target.mapped]\nurl_env = "{ENV}"\ntable = "parts"\n{MODES[mode]}'
    async with serve(home) as wire:
        ref = await registered(wire, kind='type = "integer"', more=table)
        rows = ("1", "good"), ("2", "bad"), ("1", "good"), ("3", "bad")
        run = await wire.run(ref, written(home, "a.csv", *rows))
        await wire.run(ref, written(home, "b.csv", ("7", "good"), ("8", "bad")))
        lax = await registered(wire, "v2", kind='type = "integer"', more=table, rule="")
        mend = await mended(wire, run["id"], lax, (2, "5"), (3, "1"), (4, "6"))
        assert figures(mend) == (2, {REPEATS: 1})
        again = await mended(wire, mend["id"], lax, (2, "9"), name="again")
        assert figures(again) == (1, {})
        more = await mended(wire, run["id"], lax, (2, "5"), (4, "10"), name="more")
        assert figures(more) == (1, {REPEATS: 1})
        if mode == "upsert":
            return  # rows of other runs are updated
        database.execute(f"DELETE FROM parts WHERE _lume_run_id = '{run['id']}'")
        gone = await mended(wire, run["id"], lax, (2, "11"), name="gone")
        assert (
            f"code: can't be checked, because the output of {run['id']} is gone"
            in gone["metadata"]["error_message"]
        )


@pytest.mark.thorough
async def test_a_table_that_does_not_know_its_runs_is_compared_as_a_whole(
    home: Path, database: Database
) -> None:
    table = f'[target.mapped]\nurl_env = "{ENV}"\ntable = "parts"\nmode = "append"'
    database.execute(
        "CREATE TABLE parts (code VARCHAR(9), mark VARCHAR(9), origin VARCHAR(9), first VARCHAR(9))"
    )
    async with serve(home) as wire:
        ref = await registered(wire, more=table)
        run = await wire.run(ref, written(home, "a.csv", ("1", "good"), ("2", "bad"), ("3", "bad")))
        await wire.run(ref, written(home, "b.csv", ("7", "good")))
        assert figures(await mended(wire, run["id"], ref, (2, "7"), (3, "8"))) == (1, {REPEATS: 1})
        database.execute("DROP TABLE parts")
        broken = await mended(wire, run["id"], ref, (2, "7"), name="broken")
        assert broken["status"] == "FAILED"


async def test_several_unique_columns(home: Path) -> None:
    """A row that repeats one of them holds none of its values."""
    async with serve(home) as wire:
        two = "sql = '\"mark\"'\nunique = true\n[columns.third]\nsql = '\"code\"'"
        ref = await registered(wire, rule=two)
        run = await wire.run(ref, written(home, "a.csv", ("1", "x"), ("1", "y"), ("2", "x")))
        assert figures(run)[0] == 1
        text = "_lume_row,_lume_reasons,code,mark\n2,,1,z\n3,,2,z\n,,3,z\n,,2,w\n"
        await wire.ask("PUT", "/v1/uploads/m.csv", data=text.encode())
        mend = await wire.run(ref, "upload://m.csv", run_metadata={"resubmit_of": run["id"]})
        assert figures(mend) == (1, {REPEATS: 2, "mark: repeats the value of an earlier row": 1})


@pytest.mark.thorough
async def test_a_column_that_the_first_version_lacks_is_not_compared_and_said(home: Path) -> None:
    async with serve(home) as wire:
        first = await registered(wire)
        run = await wire.run(first, written(home, "a.csv", ("1", "good"), ("2", "bad"), ("3", "bad")))
        new = "\n[columns.serial]\nsql = '\"code\"'\nunique = true"
        second = await registered(wire, "v2", unique="", rule=RULE + new)
        mend = await mended(wire, run["id"], second, (2, "1"), (3, "2"))
        assert figures(mend) == (2, {})
        words = "serial: not compared with 1 earlier run of this source, whose version lacks the column"
        assert words in mend["metadata"]["metrics"]["warnings"]
        again = await mended(wire, run["id"], second, (2, "2"), (3, "4"), name="again")
        assert figures(again) == (1, {"serial: repeats the value of an earlier row": 1}), (
            "the first mend has it"
        )


async def test_ever_keeps_its_own_rules(home: Path) -> None:
    """It knows the values of an output that is gone, too."""
    async with serve(home) as wire:
        ref = await registered(wire, unique='unique = "ever"')
        run = await wire.run(ref, written(home, "a.csv", ("1", "good"), ("2", "bad"), ("3", "bad")))
        Path(run["metadata"]["target_locations"]["mapped"]).unlink()
        mend = await mended(wire, run["id"], ref, (2, "1"), (3, "3"))
        assert figures(mend) == (1, {"code: repeats the value of an earlier run": 1})


@pytest.mark.thorough
async def test_an_output_whose_time_is_over_and_a_run_that_was_purged(home: Path) -> None:
    """Keys that are known decide; of others nobody knows."""
    async with serve(home) as wire:
        ref = await registered(wire)
        rows = [(str(n), "bad") for n in range(2, 9)]
        run = await wire.run(ref, written(home, "a.csv", ("1", "good"), *rows))
        mend = await mended(wire, run["id"], ref, (2, "2"))
    await forget(home, mend["id"])
    async with serve(home) as wire:
        held = f"code: can't be checked, because the output of {mend['id']} is gone"
        found = await mended(wire, run["id"], ref, (3, "1"), (4, "4"), name="two")
        assert found["status"] == "FAILED"
        assert f"all 2 rows were rejected: {REPEATS} (1); {held} (1)" in found["metadata"]["error_message"]
        lax = await registered(wire, "v2", rule="")
        done = (await wire.ask("POST", "/v1/replays", json={"flow": "parts", "to": lax})).document
        assert figures(await wire.until(done["runs"][0]["id"])) == (0, {held: 6})
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite")) as state, state:
        state.execute("DELETE FROM runs WHERE run_id = ?", [mend["id"]])
        state.execute("DELETE FROM mends WHERE run_id = ?", [mend["id"]])
    async with serve(home) as wire:
        found = await mended(wire, run["id"], ref, (5, "5"), name="three")
        assert held in found["metadata"]["error_message"]


async def forget(home: Path, run_id: str) -> None:
    """As `--keep-output` does with the mapped rows of a run."""
    store = SqliteStore(home / ".lume/state/runs.sqlite")
    try:
        run = await store.require(run_id)
        Path(run.target_locations["mapped"]).unlink()
        await store.outputs.forget(run_id, "mapped")
        await store.settled()
    finally:
        store.close()


@pytest.mark.timeout(20)
async def test_a_run_whose_end_is_recorded_is_waited_for_without_spinning(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is active until its lane releases it: an idle lane that looks meanwhile must not ask again and again."""
    real, may_leave, ended = RunRecorder.end, asyncio.Event(), asyncio.Event()
    next_waiting, looks, first, other = SqlStore.next_waiting, 0, "", ""

    async def end(self: RunRecorder, run_id: str, *arguments: Any, **named: Any) -> None:
        await real(self, run_id, *arguments, **named)
        if run_id not in (first, other) and not ended.is_set():
            ended.set()
            await may_leave.wait()

    async def counted(self: SqlStore, *arguments: Any) -> StoredRun | None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)
        return await next_waiting(self, *arguments)

    async with serve(home, max_active=2) as wire:
        ref = await registered(wire)
        run = await wire.run(ref, written(home, "a.csv", ("1", "good"), ("2", "bad"), ("3", "bad")))
        first = run["id"]
        monkeypatch.setattr(RunRecorder, "end", end)
        mends = [
            asyncio.create_task(mended(wire, first, ref, (row, str(row)), name=f"m{row}", tries=False))
            for row in (2, 3)
        ]
        await ended.wait()
        await asyncio.wait_for(both_are_there(wire), 10)
        monkeypatch.setattr(SqlStore, "next_waiting", counted)
        other = (await wire.submit(ref, written(home, "b.csv", ("4", "good")))).document["id"]  # wakes a lane
        assert (await wire.until(other))["status"] == "SUCCEEDED", "a free lane takes it, not its turn"
        assert looks < 20
        may_leave.set()
        assert {one["status"] for one in await asyncio.gather(*mends)} <= set(OUTCOMES)


async def both_are_there(wire: Wire) -> None:
    while len((await wire.ask("GET", "/v1/runs")).document["items"]) < 3:
        await asyncio.sleep(0.01)


async def test_a_draft_whose_run_failed_is_judged_again(home: Path) -> None:
    """A value that was new when it was judged may have been accepted since: the row is not submitted for ever."""
    async with serve(home, max_active=1) as wire:
        ref = await registered(wire)
        run = await wire.run(ref, written(home, "a.csv", ("1", "good"), ("2", "bad"), ("3", "bad")))
        change = {"run": run["id"], "row": 1, "cells": {"code": "9", "mark": "good"}}
        saved = await wire.ask("PATCH", "/v1/drafts/parts", json={"rows": [change]})
        judged = await wire.ask("POST", "/v1/drafts/parts/judge", json={"limit": 10, "to": ref})
        assert [row["reasons"] for row in judged.document["items"]] == [[]]
        assert (await mended(wire, run["id"], ref, (3, "9")))["status"] == "SUCCEEDED"

        submit = {"rev": saved.document["rev"], "to": ref}
        submitted = (await wire.ask("POST", "/v1/drafts/parts/submit", json=submit)).document
        assert (await wire.until(submitted["runs"][0]["id"]))["status"] == "FAILED"
        again = (await wire.ask("POST", "/v1/drafts/parts/submit", json=submit)).document
        assert again["runs"] == []
        (row,) = (await wire.ask("GET", "/v1/drafts/parts")).document["items"]
        assert (row["state"], row["reasons"]) == ("open", [REPEATS])


async def accepted(wire: Wire, runs: list[dict[str, Any]]) -> list[str]:
    """The codes that they have mapped together."""
    found: list[str] = []
    for run in runs:
        page = await wire.ask("GET", f"/v1/runs/{run['id']}/mapped?limit=1000")
        found += [row["code"] for row in page.document["items"]] if page.status == 200 else []
    return sorted(found)


CODES = st.sampled_from("abcdefg")
ROWS = st.lists(st.tuples(CODES, st.sampled_from(["good", "bad"])), min_size=2, max_size=12)
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["resubmit", "replay", "draft"]),
        st.integers(0, 9),
        st.lists(CODES, min_size=1, max_size=5),
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lume_local.ThreadedServer]:
    """One for all examples: its flows are theirs by a name of their own."""
    home = tmp_path_factory.mktemp("home")
    (home / "flows").mkdir()
    with lume_local.serve_in_thread(home / "flows", home / ".lume", roots=[home], max_active=2) as running:
        yield running


@pytest.mark.thorough
@examples(6)
@given(first=ROWS, acts=ACTS)
def test_each_key_is_accepted_once_whatever_comes_back(
    server: lume_local.ThreadedServer, first: list[tuple[str, str]], acts: list[tuple[str, int, list[str]]]
) -> None:
    """Of a source, by its run and all that is done with what that has rejected, and they, in any order."""
    anyio.run(_come_back, server, first, acts)


async def _come_back(
    server: lume_local.ThreadedServer, first: list[tuple[str, str]], acts: list[tuple[str, int, list[str]]]
) -> None:
    wire = Wire(server.base_url, server.api_key)
    async with wire.session:
        await wire.ask("POST", "/v1/rejects/discard", json={"flow": "parts", "why": "of an earlier example"})
        ref, lax = await registered(wire), await registered(wire, "v2", rule="")
        rows = "\n".join(["code,mark", "first,good", *map(",".join, first)])
        name = f"{uuid.uuid4().hex}.csv"
        await wire.ask("PUT", f"/v1/uploads/{name}", data=rows.encode() + b"\n")
        runs = [await wire.run(ref, f"upload://{name}")]
        for act, chosen, codes in acts:
            if act == "resubmit":
                runs.append(await resubmit(wire, runs[chosen % len(runs)], lax, codes))
            elif act == "replay":
                body = {"flow": "parts", "to": lax}
                dry = (await wire.ask("POST", "/v1/replays", json=body | {"dry_run": True})).document
                done = (await wire.ask("POST", "/v1/replays", json=body)).document
                ended = [await wire.until(one["id"]) for one in done["runs"]]
                assert sum(figures(one)[0] for one in ended) == dry["passed"], "a dry run says the same"
                runs += ended
            else:
                ended = [await wire.until(one["id"]) for one in (await draft(wire, codes))["runs"]]
                assert {one["status"] for one in ended} <= {"SUCCEEDED"}, "the console says the same"
                runs += ended
        found = await accepted(wire, runs)
        assert len(found) == len(set(found)), found


async def resubmit(wire: Wire, parent: dict[str, Any], ref: str, codes: list[str]) -> dict[str, Any]:
    """Some of its rejects with other codes, and rows that are new where it has too few."""
    page = await wire.ask("GET", f"/v1/runs/{parent['id']}/rejects")
    rows = [row["_lume_row"] for row in page.document["items"]] if page.status == 200 else []
    numbered = [(rows[n] if n < len(rows) else "", code) for n, code in enumerate(codes)]
    return await mended(wire, parent["id"], ref, *numbered, name=uuid.uuid4().hex)


async def draft(wire: Wire, codes: list[str]) -> dict[str, Any]:
    """Edit open rows in the console, and submit what the flow would accept."""
    await wire.ask("DELETE", "/v1/drafts/parts")
    rows = (await wire.ask("GET", "/v1/rejects", params={"flow": "parts"})).document["items"]
    changes = [
        {"run": row["_lume_run"], "row": row["_lume_reject"], "cells": {"code": code, "mark": "good"}}
        for row, code in zip(rows, codes, strict=False)
    ]
    if not changes:
        return {"runs": []}
    saved = await wire.ask("PATCH", "/v1/drafts/parts", json={"rows": changes})
    for limit in (1, 2000):
        await wire.ask("POST", "/v1/drafts/parts/judge", json={"limit": limit, "to": "parts:v2"})
    answer = await wire.ask(
        "POST", "/v1/drafts/parts/submit", json={"rev": saved.document["rev"], "to": "parts:v2"}
    )
    found: dict[str, Any] = answer.document
    return found

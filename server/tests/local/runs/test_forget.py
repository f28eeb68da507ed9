"""A person is forgotten: no byte of the data folder has the value, and what is left can be used as before."""

import base64
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import tomllib
import zipfile
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import duckdb
import moto_server
import orjson
import psycopg
import pytest
from attrs import evolve
from local import servers, stores
from local.flows import PEOPLE
from local.states import moved
from local.wire import Wire

from lume_local._runs.forget import without
from lume_local._runs.sql.sql_forget import FILES
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.arrived import ASIDE, Arrived, RefusedFile
from lume_local._runs.store.records import NewRun
from lume_local._shared.person import Person

ADA = "ada@example.com"
SOURCE = f"id,Email,Age\n1,{ADA},36\n2,bob@example.org,40\nx,{ADA},7\n3,cy@example.org,x\n"
CSV = PEOPLE.replace('"people"', '"plain"') + (
    '[target]\nmapped = "{data}/out/{run_id}/mapped.csv"\nrejects = "{data}/out/{run_id}/rejects.csv"\n'
)


async def forget(
    wire: Wire, match: Mapping[str, str] = {"email": ADA}, **fields: Any
) -> tuple[list[int], set[str], dict[str, str]]:
    """All pages of a request: rows of outputs, of rejects, and texts; the uploads; and what is left."""
    counts, uploads, left, cursor = Counter[str](), set[str](), dict[str, str](), None
    while True:
        body = {"match": match, "dry_run": False, "cursor": cursor, **fields}
        answer = await wire.ask("POST", "/v1/forget", json=body)
        assert answer.status == 200, answer.document
        counts.update({name: answer.document[name] for name in ("outputs", "rejects", "texts")})
        uploads.update(answer.document["uploads"])
        left |= answer.document["left"]
        if (cursor := answer.document["next_cursor"]) is None:
            return list(counts.values()), uploads, left


def mentions(folder: Path, value: str) -> list[str]:
    """The files in which any byte sequence, unpacked or not, has the value."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(value.encode() in content for content in _contents(path))
    ]


def _contents(path: Path) -> list[bytes]:
    found = [path.read_bytes()]
    if found[0].startswith(b"PAR1"):
        rows = duckdb.sql(f"FROM read_parquet('{path}')").fetchall()
        metadata = duckdb.sql(f"FROM parquet_metadata('{path}')").fetchall()
        found += [repr(rows).encode(), repr(metadata).encode()]
    elif found[0].startswith(b"\x1f\x8b"):
        found.append(gzip.decompress(found[0]))
    elif found[0].startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            found += [archive.read(name) for name in archive.namelist()]
    return found


async def upload(wire: Wire, name: str, content: bytes) -> str:
    answer = await wire.ask("PUT", f"/v1/uploads/{name}", data=content)
    assert answer.status == 201, answer.document
    return str(answer.document["source_path"])


async def rows(wire: Wire, run: dict[str, Any], part: str) -> list[dict[str, Any]]:
    """The rows of an output, read by the server, or by DuckDB from parts."""
    place = run["metadata"]["target_locations"][part]
    if place.endswith("_manifest.json"):
        names = [one["file"] for one in json.loads(Path(place).read_bytes())["parts"]]
        found = duckdb.read_parquet([str(Path(place).with_name(name)) for name in names])
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    answer = await wire.ask("GET", f"/v1/runs/{run['id']}/{part}")
    assert answer.status == 200, answer.document
    return list(answer.document["items"])


def in_tables(value: str) -> list[str]:
    """The tables of a state in PostgreSQL that have the value in a row, as text or as bytes."""
    with psycopg.connect(os.environ[stores.STATE_ENV]) as connection:
        query = "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables"
        names = [name for (name,) in connection.execute(f"{query} WHERE table_schema = 'lume'".encode())]
        found = {
            name: repr(connection.execute(f"SELECT t::text FROM {name} AS t".encode()).fetchall())
            for name in names
        }
    assert len(names) > 20
    return [name for name, text in found.items() if value in text or value.encode().hex() in text]


async def test_nothing_in_the_data_folder_has_the_value(each_state: str, wire: Wire, home: Path) -> None:
    run = await wire.run("people:v1", await upload(wire, "a.csv", SOURCE.encode()))
    await upload(wire, "unread.csv.gz", gzip.compress(SOURCE.encode()))
    book = io.BytesIO()
    with zipfile.ZipFile(book, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", f"<t>{ADA}</t>")
    await upload(wire, "unread.xlsx", book.getvalue())
    await upload(wire, "bob.csv", b"id,Email,Age\n7,bob@example.org,1\n")
    why = {"why": f"asked {ADA} herself"}
    assert (await wire.ask("POST", f"/v1/runs/{run['id']}/dismiss", json=why)).status == 200
    change = {"run": run["id"], "row": 1, "rev": 0, "cells": {"id": "4", "Age": "8"}}
    assert (await wire.ask("PATCH", "/v1/drafts/people", json={"rows": [change]})).status == 200
    counted = await forget(wire, dry_run=True)
    assert counted == ([1, 1, 2], {"a.csv", "unread.csv.gz", "unread.xlsx"}, {})
    assert len(mentions(home / ".lume", ADA)) >= 5, "a dry run has changed nothing"
    is_shared = each_state == "postgresql"
    assert bool(is_shared and in_tables(ADA)) == is_shared
    assert await forget(wire) == counted
    assert not (is_shared and in_tables(ADA))
    left = mentions(home / ".lume", ADA)
    assert left == [], left
    assert await forget(wire) == ([0, 0, 0], set(), {})

    run = (await wire.get(run["id"])).document
    metrics = run["metadata"]["metrics"]
    assert (metrics["rows_read"], metrics["rows_mapped"], metrics["rows_filtered"]) == (4, 1, 1)
    assert [row["email"] for row in await rows(wire, run, "mapped")] == ["bob@example.org"]
    first, second = await rows(wire, run, "rejects")
    assert (first["_lume_row"], first["Email"], first["id"]) == (3, None, None)
    assert (second["_lume_row"], second["Email"]) == (4, "cy@example.org")
    async with wire.session.get(f"/v1/runs/{run['id']}/outputs/mapped") as output:
        assert output.status == 200
        content = await output.read()
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert output.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    (still,) = (await wire.ask("GET", "/v1/rejects", params={"flow": "people"})).document["items"]
    assert still["_lume_row"] == 4
    assert (await wire.ask("GET", "/v1/drafts/people")).document["rows"] == 0
    acts = (await wire.ask("GET", "/v1/audit", params={"what": "forget"})).document["items"]
    assert [act["subject"] for act in acts] == ["uploads and texts"] * 2 + [run["id"]]
    assert acts[-1]["detail"] == {"columns": ["email"], "mapped": 1, "rejects": 1}
    assert ADA not in json.dumps(acts)


LATIN = """
flow = "latin"
version = "v1"
[source.csv]
delim = ";"
encoding = "latin-1"
[target]
mapped = "{data}/out/{run_id}/mapped.csv"
rejects = "{data}/out/{run_id}/rejects.csv"
[columns.name]
from = ["Käufer"]
[columns.age]
from = ["Alter"]
type = "integer"
"""
NESTED = """
flow = "nested"
version = "v1"
[source]
format = "ndjson"
[target]
mapped = "{data}/out/{run_id}/mapped.ndjson"
rejects = "{data}/out/{run_id}/rejects.ndjson"
[columns.name]
from = ["Käufer"]
[columns.age]
from = ["Alter"]
type = "integer"
"""
PARQUET = LATIN.replace('"latin"', '"parquet"').replace("/rejects.csv", "/rejects.parquet")
PARTS = LATIN.replace('"latin"', '"parts"').replace("{run_id}/mapped.csv", "{run_id}/parts/")
MARY = 'Mary "O\'Hara" Müller'
LINES = [(MARY, "7"), ("Bob", "8"), (MARY, "x"), ("Cy", "y"), (MARY, "9")]


def latin(lines: list[tuple[str, str]]) -> bytes:
    rows = "".join(f'"{name.replace(chr(34), chr(34) * 2)}";{age}\n' for name, age in lines)
    return f"Käufer;Alter\n{rows}broken; {MARY} ;line\nbroken;of Bob;too\n".encode("latin-1")


def ndjson(lines: list[tuple[str, str]]) -> bytes:
    rows = [json.dumps({"Käufer": name, "Alter": age}, ensure_ascii=False) for name, age in lines]
    return "\n".join([*rows, f'{{"Käufer": "{MARY}', '{"Käufer": "Bob', ""]).encode()


@pytest.mark.parametrize(
    ("definition", "content"),
    [(LATIN, latin(LINES)), (NESTED, ndjson(LINES)), (PARQUET, latin(LINES)), (PARTS, latin(LINES))],
    ids=["csv", "ndjson", "parquet", "parts"],
)
@pytest.mark.parametrize("ignores", [False, True], ids=["exactly", "any_case"])
async def test_each_format_of_outputs(
    home: Path, wire: Wire, definition: str, content: bytes, ignores: bool
) -> None:
    (name,) = re.findall('flow = "(.*)"', definition)
    document = tomllib.loads(definition)
    answer = await wire.ask("PUT", f"/v1/flows/{name}/versions/v1", json=document)
    assert answer.status == 201, answer.document
    suffix = "ndjson" if name == "nested" else "csv"
    run = await wire.run(f"{name}:v1", await upload(wire, f"a.{suffix}", content))
    before = [await rows(wire, run, part) for part in ("mapped", "rejects")]
    wanted = f" {MARY.upper()} " if ignores else MARY
    # By the name in the target or in the source.
    counts, uploads, _ = await forget(wire, {"KÄUFER" if ignores else "name": wanted}, ignore_case=ignores)
    run = (await wire.get(run["id"])).document
    after = [await rows(wire, run, part) for part in ("mapped", "rejects")]
    assert counts == [2, 2, 0]
    assert uploads == {f"a.{suffix}"}
    assert after[0] == [row for row in before[0] if row["name"] != MARY]
    assert [row["_lume_row"] for row in after[1]] == [row["_lume_row"] for row in before[1]]
    assert [row["_lume_line"] for row in after[1]] == [row["_lume_line"] for row in before[1]]
    assert [row["_lume_reasons"] for row in after[1]] == [row["_lume_reasons"] for row in before[1]]
    kept = [old for old in before[1] if "Mary" not in json.dumps(old)]
    assert [new for new, old in zip(after[1], before[1], strict=True) if new == old] == kept
    assert "Mary" not in json.dumps(after)
    assert len(kept) == 2
    open_rows = (await wire.ask("GET", "/v1/rejects", params={"flow": name})).document["items"]
    assert len(open_rows) == 2
    assert "Mary" not in json.dumps(open_rows)
    for output in (home / ".lume/out").rglob("_manifest.json"):
        about = json.loads(output.read_bytes())
        assert about["rows"] == len(after[0]) == 1
        assert about["bytes"] == sum(file.stat().st_size for file in output.parent.glob("part-*"))
    # The rest is corrected and processed as ever.
    changes = [
        {"run": run["id"], "row": one["_lume_reject"], "rev": 0, "cells": {"Alter": "5"}}
        for one in open_rows[:1]
    ]
    saved = await wire.ask("PATCH", f"/v1/drafts/{name}", json={"rows": changes})
    assert saved.status == 200, saved.document
    assert (await wire.ask("POST", f"/v1/drafts/{name}/judge", json={})).status == 200
    sent = await wire.ask("POST", f"/v1/drafts/{name}/submit", json={"rev": saved.document["rev"]})
    assert sent.status == 201, sent.document
    (again,) = sent.document["runs"]
    assert [row["name"] for row in await rows(wire, await wire.until(again["id"]), "mapped")] == ["Cy"]
    assert list(home.rglob(".forget*")) == []


KILLER = """
import os, signal
def dying(owner, name, before):
    def die():
        os.kill(os.getpid(), signal.SIGKILL)
    work = getattr(owner, name)
    if asyncio.iscoroutinefunction(work):
        async def killed(*given, **named):
            before and die()
            await work(*given, **named)
            die()
    else:
        def killed(*given, **named):
            before and die()
            work(*given, **named)
            die()
    setattr(owner, name, killed)

import asyncio
from lume_local._http.uploading.uploads import Uploads
from lume_local._runs import forget
from lume_local._runs.sql.sql_forget import SqlForget
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared import commit
dying({owner}, {name!r}, {before})
"""
POINTS = [
    ("forget", "_begin"),
    ("WorkerPool", "forget"),
    ("Uploads", "remove_old"),
    ("commit", "commit"),
    ("commit", "put_in_place"),
    ("SqlForget", "note"),
    ("forget", "_remove"),
    ("SqlForget", "replace"),
    ("SqliteStore", "_wipe"),
]
"""The steps of forgetting, in the order in which they come."""


@pytest.mark.parametrize(
    ("owner", "name", "before"),
    [
        pytest.param(*point, before, marks=() if (at + before) % 3 == 0 else pytest.mark.thorough)
        for at, point in enumerate(POINTS)
        for before in (True, False)
    ],
)
async def test_a_kill_leaves_nothing_half_done(
    home: Path, owner: str, name: str, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = servers.SCRIPT
    why = {"why": f"asked {ADA} herself"}
    async with servers.process(home) as (_, wire):
        run = await wire.run("people:v1", await upload(wire, "a.csv", SOURCE.encode()))
        assert (await wire.ask("POST", f"/v1/runs/{run['id']}/dismiss", json=why)).status == 200
    monkeypatch.setattr(servers, "SCRIPT", KILLER.format(owner=owner, name=name, before=before) + script)
    async with servers.process(home) as (process, wire):
        with suppress(aiohttp.ClientError):
            await forget(wire)
            pytest.fail(f"{name} was not called")
        assert await process.wait() == -signal.SIGKILL
    monkeypatch.setattr(servers, "SCRIPT", script)
    async with servers.process(home) as (_, wire):
        # Before it is repeated, everything can be read, and is as it was, or all of it is as it will be.
        found = (await wire.get(run["id"])).document
        is_done = found["metadata"]["metrics"]["rows_mapped"] == 1
        mapped, rejects = [await rows(wire, found, part) for part in ("mapped", "rejects")]
        assert [row["email"] for row in mapped] == [ADA] * (not is_done) + ["bob@example.org"]
        assert [row["Email"] for row in rejects] == [None if is_done else ADA, "cy@example.org"]
        opened = (await wire.ask("GET", "/v1/rejects", params={"flow": "people"})).document["items"]
        assert [row["_lume_row"] for row in opened] == ([4] if is_done else [3, 4])
        assert list(home.rglob(".forget*")) == []
        await forget(wire)
        found = (await wire.get(run["id"])).document
        assert [row["email"] for row in await rows(wire, found, "mapped")] == ["bob@example.org"]
        assert mentions(home / ".lume", ADA) == []
        acts = (await wire.ask("GET", "/v1/audit", params={"what": "forget"})).document["items"]
        assert [act["detail"]["rejects"] for act in acts if act["subject"] == run["id"]] == [1]


async def test_a_row_has_all_values(wire: Wire) -> None:
    content = f"id,Email,Age\n1,{ADA},36\n2,{ADA},40\n3,bob@example.org,36\n".encode()
    run = await wire.run("people:v1", await upload(wire, "a.csv", content))
    await upload(wire, "bob.csv", b"id,Email,Age\n7,bob@example.org,36\n")
    # A number is compared as one. "36" is too short to be looked for in texts, and so in files that no run has read.
    assert (await forget(wire, {"email": ADA, "Age": "36.0"}))[:2] == ([1, 0, 0], {"a.csv"})
    assert [row["id"] for row in await rows(wire, run, "mapped")] == [2, 3]


async def test_columns_of_layouts_whatever_their_form(wire: Wire) -> None:
    layouts = {
        "text": {"source": {"header": {"contains": ["Mail"]}}, "columns": {"email": '"Mail"'}},
        "first": {
            "source": {"header": {"contains": ["Post"]}},
            "columns": {"email": {"from": {"first": ["Post", "Address"]}}},
        },
    }
    columns = {"id": {"type": "integer", "sql": '"id"'}, "email": {"type": "string"}}
    flow = {"flow": "several", "version": "v1", "columns": columns, "layouts": layouts}
    answer = await wire.ask("PUT", "/v1/flows/several/versions/v1", json=flow)
    assert answer.status == 201, answer.document
    for name in ("Mail", "Post"):
        content = f"id,{name}\n1,{ADA}\n".encode()
        run = await wire.run("several:v1", await upload(wire, f"{name}.csv", content))
        assert run["status"] == "SUCCEEDED", run
    for name in ("Mail", "Post", "Address", "email"):
        counts, _, _ = await forget(wire, {name: ADA}, dry_run=True)
        assert counts[0] == 2, name


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"match": {}},
        {"match": []},
        {"match": {"email": ""}},
        {"match": {"email": 7}},
        {"match": {"email": "x" * 1001}},
        {"match": {str(n): "x" for n in range(11)}},
        {"match": {"email": ADA}, "dry_run": "no"},
        {"match": {"email": ADA}, "others": True},
    ],
)
async def test_a_request_that_names_nobody_is_refused(wire: Wire, body: dict[str, Any]) -> None:
    answer = await wire.ask("POST", "/v1/forget", json=body)
    assert (answer.status, answer.kind) == (422, "invalid-field")


async def test_outputs_that_a_run_may_use_wait_for_its_end(wire: Wire, home: Path) -> None:
    run = await wire.run("people:v1", await upload(wire, "a.csv", SOURCE.encode()))
    (home / "slow.csv").write_text("id\n" + "1\n" * 100_000)
    slow = (await wire.submit("slow:v1", "slow.csv")).document["id"]
    waiting = (await wire.submit("people:v1", await upload(wire, "bob.csv", SOURCE.encode()))).document["id"]
    counts, uploads, left = await forget(wire)
    assert (counts, uploads) == ([0, 0, 0], {"a.csv"})
    assert set(left) == {run["id"], slow, waiting, "upload://bob.csv"}
    assert waiting in left[run["id"]]
    assert len(await rows(wire, run, "mapped")) == 2
    for run_id in (waiting, slow):
        await wire.ask("POST", f"/v1/runs/{run_id}/cancel")
        await wire.until(run_id)
    assert await forget(wire) == ([1, 1, 0], {"bob.csv"}, {})


async def test_places_that_stay_are_named(home: Path, wire: Wire) -> None:
    (home / "ada.csv").write_text(SOURCE)
    run = await wire.run("people:v1", "ada.csv")
    there = Path(run["metadata"]["target_locations"]["mapped"])
    removed = there.parents[1] / f"run_{'0' * 32}" / there.name
    removed.parent.mkdir()
    shutil.copy(there, removed)
    counts, _, left = await forget(wire)
    assert counts == [1, 1, 0]
    assert set(left) == {"ada.csv", str(removed)}
    assert "rerun" in left["ada.csv"]
    assert "runs that were removed" in left[str(removed)]
    again = await wire.run("people:v1", "ada.csv", force_rerun=True)
    assert len(await rows(wire, again, "mapped")) == 2, "as it was said"


async def test_a_file_that_no_run_has_processed_is_named(home: Path, wire: Wire) -> None:
    (home / "wrong.csv").write_text(SOURCE.replace("Email", "Mail"))
    (home / "other.csv").write_text(SOURCE.replace("Email", "Mail").replace(ADA, "dan@example.org"))
    for name in ("wrong.csv", "other.csv"):
        run = await wire.run("people:v1", name)
        assert run["status"] == "FAILED", run
    _, _, left = await forget(wire)
    assert left == {str(home / "wrong.csv"): "has the values, and has no output: remove the rows there"}


async def test_arrived_files_that_were_put_aside_are_searched(store: SqlStore) -> None:
    """Whether their run has failed or they were refused; and the path of the first as long as the run is known."""
    new = NewRun("people:v1", "in/failed.csv", "key", None, False, None, "x")
    new = evolve(new, arrived=Arrived("acme", "in/failed.csv", "seen", b"content", move=True))
    await moved(store, (await store.create(new))[0].run_id, "FAILED")
    (move,) = await store.arrivals.moves("acme")
    await store.arrivals.moved(move, is_gone=True, aside="aside/failed.csv")
    for name, seen in (("refused", f"{ASIDE}aside/refused.csv"), ("stays", "seen")):
        await store.arrivals.refuse(RefusedFile("acme", f"in/{name}.csv", seen, "why", "now"))
    found = [
        row[-1] for table in FILES for row in await store.forgetting.texts(table, (), 10, FILES) if row[-1]
    ]
    assert sorted(found) == ["aside/failed.csv", "aside/refused.csv", "in/failed.csv"]


async def test_a_rule_with_the_value_is_named(wire: Wire) -> None:
    document = tomllib.loads(PEOPLE.replace('"people"', '"rule"'))
    document["columns"]["email"]["sql"] = f'(CASE "Email" WHEN \'{ADA}\' THEN NULL ELSE "Email" END)'
    document["columns"]["email"].pop("from", None)
    answer = await wire.ask("PUT", "/v1/flows/rule/versions/v1", json=document)
    assert answer.status == 201, answer.document
    _, _, left = await forget(wire)
    assert left == {"rule:v1": "has the values in its definition, which stays"}


@pytest.mark.parametrize("kind", ["parquet", "csv", "ndjson"])
async def test_a_value_that_was_forgotten_is_no_repetition(wire: Wire, kind: str) -> None:
    document = tomllib.loads(PEOPLE.replace('"people"', '"once"'))
    document["columns"]["email"]["unique"] = document["columns"]["id"]["unique"] = "ever"
    document["target"] = {"mapped": f"{{data}}/once/{{run_id}}/mapped.{kind}"}
    assert (await wire.ask("PUT", "/v1/flows/once/versions/v1", json=document)).status == 201
    for name in ("a", "b"):
        run = await wire.run("once:v1", await upload(wire, f"{name}.csv", SOURCE.encode()))
        assert run["metadata"]["metrics"]["rows_mapped"] == (2 if name == "a" else 0)
    await forget(wire, {"email": ADA.upper()}, ignore_case=True)
    # Nor are the other values of her row; those of other rows are.
    run = await wire.run("once:v1", await upload(wire, "c.csv", SOURCE.encode()))
    assert [row["email"] for row in await rows(wire, run, "mapped")] == [ADA]


async def test_an_object_is_written_again(home: Path, bucket: moto_server.Bucket) -> None:
    document = tomllib.loads(LATIN)
    document["target"] = {
        part: f"s3://{moto_server.BUCKET}/{{run_id}}/{part}.csv" for part in ("mapped", "rejects")
    }
    async with servers.serve(home, roots=[home, f"s3://{moto_server.BUCKET}"]) as wire:
        assert (await wire.ask("PUT", "/v1/flows/latin/versions/v1", json=document)).status == 201
        run = await wire.run("latin:v1", await upload(wire, "a.csv", latin(LINES)))
        assert len(await rows(wire, run, "mapped")) == 3
        counts, uploads, left = await forget(wire, {"name": MARY})
        assert (counts, uploads, left) == ([2, 2, 0], {"a.csv"}, {})
        assert [row["name"] for row in await rows(wire, run, "mapped")] == ["Bob"]
        assert "Mary" not in json.dumps(await rows(wire, run, "rejects"))
        assert (await forget(wire, {"name": MARY}))[0] == [0, 0, 0]
    assert mentions(home / ".lume", "Mary") == []


async def test_pages_of_texts_also_those_that_are_bytes(store: SqlStore) -> None:
    person = Person([ADA])
    bodies = [orjson.dumps({"n": n, "why": f"to <{ADA}>" if n == 2 else "other"}) for n in range(5)]
    for body in bodies:
        await store.sql.write(partial(store.messages.add, body))
    after, found = (), list[bytes]()
    while page := await store.forgetting.texts("notices", after, 2):
        for seq, body in map(tuple, page):
            after = (seq,)
            found.append(body)
            if (new := without(person, body)) != body:
                await store.forgetting.replace("notices", after, [new])
    assert found == bodies
    left = [notice.body for notice in await store.messages.notices(10)]
    assert left == [*bodies[:2], b'{"n":2,"why":"to <***>"}', *bodies[3:]]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"{ADA} was rejected", "*** was rejected"),
        (f"n{ADA} was rejected", None),
        (f"{ADA}m", None),
        (f'{{"why":"{ADA}: {ADA}","{ADA}":1}}', '{"why":"***: ***","***":1}'),
        ('{"rows":4711}', None),
        ("4711", None),
    ],
)
def test_a_value_is_a_word_of_a_text(text: str, left: str | None) -> None:
    assert without(Person([ADA]), text) == (left or text)
    assert without(Person([ADA, "nobody"]), text) == text, "it has all of them"
    assert without(Person(["ada"]), text) == text, "too short"
    assert without(Person([ADA.upper()], ignore_case=True), text) == (left or text)
    assert "4711" not in text or without(Person(["4711"]), text) == ("***" if text == "4711" else text)


@pytest.mark.parametrize("other", [f"mary-{ADA}", f"mary.{ADA}", f"x+{ADA}", f"{ADA}.au", f"{ADA}-x.org"])
async def test_a_longer_address_is_somebody_else(wire: Wire, other: str) -> None:
    """An upload that only has this one stays, and so does a line that is malformed."""
    run = await wire.run(
        "people:v1", await upload(wire, "other.csv", f"id,Email,Age\n1,{other},1,2\n2,b@c.de,3\n".encode())
    )
    assert await forget(wire) == ([0, 0, 0], set(), {})
    assert (await rows(wire, run, "rejects"))[-1]["_lume_raw"] == f"1,{other},1,2"
    for text in (f"-{ADA}.", f"{ADA}; {other}", f"to:{ADA}-"):
        assert Person([ADA]).is_in(text)
        assert Person([ADA]).in_bytes(text.encode()) == {0}


@pytest.mark.parametrize(
    "text",
    [r"\u00c9va@x.de", r"\u00C9va@x.de", r"\u00C9v\u0061\u0040x.de", "Éva@x.de", r"\u00c9\u0076a@x\u002ede"],
)
@pytest.mark.parametrize("ignore_case", [True, False])
async def test_escapes_of_json_hide_nobody(text: str, ignore_case: bool) -> None:
    assert json.loads(f'"{text}"') == "Éva@x.de"
    person = Person(["éVA@x.de" if ignore_case else "Éva@x.de"], ignore_case)
    line = f'{{"mail":"{text}","path":"C:\\\\users\\/a"}}'.encode()
    assert person.in_bytes(line) == {0}
    assert person.are_in(line)
    assert not Person(["Éva@x.d"]).in_bytes(line)
    assert not Person(["ava@x.de"]).in_bytes(line)


def test_other_values_with_backslashes_are_found() -> None:
    for value in (r"a\u00C9b", r"AC\/DC", "AC/DC", "𝄞clef"):
        person = Person([value])
        assert person.in_bytes(json.dumps({"v": value}).encode()) == {0}
        assert person.in_bytes(value.encode()) == {0}
    assert Person(["AC/DC"]).in_bytes(rb'{"v":"AC\/DC"}') == {0}


async def test_uploads_with_escapes_are_found_and_short_values_said(wire: Wire) -> None:
    await upload(wire, "a.json", rb'[{"mail":"\u00C9va@x.de"}]')
    assert await forget(wire, {"email": "Éva@x.de"}) == ([0, 0, 0], {"a.json"}, {})
    _, _, left = await forget(wire, {"id": "1"})
    assert left == {"uploads and texts": "were not searched: a value has fewer than 4 characters"}


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16-le"])
@pytest.mark.parametrize("value", ["özgür béart", "ÖZGÜR BÉART", "Özgür Béart"])
def test_case_does_not_matter_beyond_ascii(value: str, encoding: str) -> None:
    person = Person([value], ignore_case=True, encoding=encoding)
    for spelling in ("Özgür Béart", "özgür béart", "ÖZGÜR BÉART", "özgÜr BÉart"):
        block = f"7;{spelling};x".encode(encoding)
        assert person.are_in(block)
        assert person.in_bytes(block) == {0}
        assert person.is_in(spelling)
        assert not Person(["özgür béarts"], ignore_case=True, encoding=encoding).are_in(block)
    assert person.in_bytes(f"n{value}".encode()) == set(), "it is no word"

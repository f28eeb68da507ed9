"""The current table of a flow, after random histories against a plain model, and where there is none."""

import csv
import io
import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pyarrow
import pytest
from attrs import define, field
from depth import seeds
from local.servers import serve
from local.wire import ARROW, Answer, Wire

from lume_local._http import result_operations

TABLE = "/v1/flows/parts/table"
LENIENT = "CASE WHEN n = 'y' THEN '7' ELSE n END"
"""What the second version makes of a value that the first one rejects."""


def definition(version: str, suffix: str, **columns: Any) -> dict[str, Any]:
    return {
        "flow": "parts",
        "version": version,
        "target": {"mapped": f"{{data}}/{{run_id}}{suffix}", "rejects": "{data}/{run_id}.bad.csv"},
        "columns": {
            "k": {},
            "n": {"type": "integer", "sql_type": "INTEGER", "required": True},
            **columns,
        },
    }


async def registered(wire: Wire, suffix: str = ".parquet") -> None:
    second = definition("v2", suffix, w={"sql": "'new'"})
    second["columns"]["n"]["sql"] = LENIENT
    for one in (definition("v1", suffix), second):
        path = f"/v1/flows/parts/versions/{one['version']}"
        assert (await wire.ask("PUT", path, json=one)).status == 201


async def table(wire: Wire, limit: int = 1000, **query: str) -> list[dict[str, Any]]:
    """All pages."""
    found, cursor, rows = list[dict[str, Any]](), None, None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        answer = await wire.ask("GET", TABLE, params={**query, "limit": str(limit), **more})
        assert answer.status == 200, answer.document
        found += answer.document["items"]
        rows = answer.document["rows"] if rows is None else rows
        if (cursor := answer.document["next_cursor"]) is None:
            assert len(found) == rows == answer.document["rows"]
            return found


async def as_arrow(wire: Wire, **query: str) -> pyarrow.Table:
    answer = await wire.ask("GET", TABLE, params=query, headers={"Accept": ARROW})
    assert answer.status == 200, answer.document
    return pyarrow.ipc.open_stream(answer.document).read_all()


async def refused(wire: Wire, status: int, **query: str) -> Answer:
    answer = await wire.ask("GET", TABLE, params=query)
    assert answer.status == status, answer.document
    return answer


# -- the model


@define(eq=False)
class Line:
    """A row as it is read, in one reading of its source: what the last run that accepted it has made of it."""

    k: str
    n: str
    accepted: int | None = None
    by: str = ""
    is_closed: bool = False


@define
class Reading:
    """What a run has read of a source: its rows, and those of runs on their rejects."""

    source: str
    lines: list[Line] = field(factory=list)


@define
class Model:
    """The newest reading of each source is the table."""

    wire: Wire
    home: Path
    chance: random.Random
    readings: list[Reading] = field(factory=list)
    rejects: dict[str, tuple[Reading, list[Line]]] = field(factory=dict)
    """The rejects of each run, as they are numbered."""
    count: int = 0

    def rows(self, source: str | None = None, version: str | None = None) -> Counter[tuple[str, int]]:
        newest = {reading.source: reading for reading in self.readings}
        return Counter(
            (line.k, line.accepted)
            for reading in newest.values()
            for line in reading.lines
            if line.accepted is not None and source in (None, reading.source) and version in (None, line.by)
        )

    async def step(self) -> str:
        """Do something; return when it ended."""
        acts = [self.read, self.mend, self.mend, self.replay, self.discard]
        run = await self.chance.choice(acts if self.rejects else [self.read])()
        return str(run["finished_at"]) if run else ""

    async def read(self) -> dict[str, Any]:
        reading = Reading(self.chance.choice(["a.csv", "b.csv", "c.csv"]))
        for _ in range(self.chance.randint(1, 6)):
            self.count += 1
            reading.lines.append(Line(f"k{self.count}", self.chance.choice(["x", "y", "1", "2", "3"])))
        text = "k,n\n" + "".join(f"{line.k},{line.n}\n" for line in reading.lines)
        (self.home / reading.source).write_text(text)
        version = self.chance.choice(["v1", "v2"])
        run = await self.wire.run(f"parts:{version}", reading.source, force_rerun=True)
        if run["status"] != "FAILED":  # all of them would be rejected
            self.readings.append(reading)
            self.judged(run, version, reading, reading.lines)
        return run

    def judged(self, run: dict[str, Any], version: str, reading: Reading, lines: list[Line]) -> None:
        """What a run on these lines makes of them."""
        rejected = []
        for line in lines:
            n = "7" if version == "v2" and line.n == "y" else line.n
            if n.isdecimal():
                line.accepted, line.by = int(n), version
            else:
                rejected.append(line)
        metrics = run["metadata"]["metrics"]
        assert (metrics["rows_rejected"], metrics["rows_read"]) == (len(rejected), len(lines))
        if rejected:
            self.rejects[run["id"]] = reading, rejected

    async def mend(self) -> dict[str, Any] | None:
        """Send back some rejects of a run, which may be mended already, or of an older reading."""
        run_id = self.chance.choice(list(self.rejects))
        reading, lines = self.rejects[run_id]
        document = (await self.wire.get(run_id)).document
        version = document["flow_version"].partition(":")[2]
        page = (await self.wire.ask("GET", f"/v1/runs/{run_id}/rejects")).document["items"]
        assert [row["k"] for row in page] == [line.k for line in lines]
        chosen = sorted(self.chance.sample(range(len(lines)), self.chance.randint(1, len(lines))))
        again, out = list[tuple[Line, Line]](), io.StringIO(newline="")
        writer = csv.writer(out)
        writer.writerow(["_lume_row", "_lume_reasons", "k", "n"])
        for number in chosen:
            n = self.chance.choice(["x", "4", "5", "6"])
            writer.writerow([page[number]["_lume_row"], "", lines[number].k, n])
            again.append((lines[number], Line(lines[number].k, n)))
        run = await mended(self.wire, run_id, f"parts:{version}", out.getvalue())
        if run["status"] == "FAILED":
            return None
        for line, _ in again:
            line.is_closed = True
        self.judged(run, version, reading, [new for _, new in again])
        for line, new in again:
            if new.accepted is not None:  # else it is a row of its own
                line.accepted, line.by = new.accepted, new.by
        reading.lines += [new for _, new in again if new.accepted is None]
        return run

    async def replay(self) -> dict[str, Any] | None:
        """Send all open rows through the lenient version, in one run."""
        newest = {reading.source: reading for reading in self.readings}
        opened = [
            line
            for reading, lines in self.rejects.values()
            for line in lines
            if not line.is_closed and newest[reading.source] is reading
        ]
        body = {"flow": "parts", "to": "parts:v2"}
        answer = await self.wire.ask(
            "POST", "/v1/replays", json=body, headers={"Idempotency-Key": str(self.count)}
        )
        self.count += 1
        assert answer.document["rows"] == len(opened), "every open row, and no other"
        run = None
        for one in answer.document["runs"]:
            run = await self.wire.until(one["id"])
        for line in opened if run else ():
            if run and run["status"] != "FAILED" and (line.n == "y" or line.n.isdecimal()):
                line.accepted, line.by, line.is_closed = 7 if line.n == "y" else int(line.n), "v2", True
        return run

    async def discard(self) -> None:
        run_id = self.chance.choice(list(self.rejects))
        answer = await self.wire.ask("POST", "/v1/rejects/discard", json={"run": run_id, "why": "so it is"})
        assert answer.status == 200
        for line in self.rejects[run_id][1]:
            line.is_closed = True


async def mended(wire: Wire, run_id: str, version: str, text: str) -> dict[str, Any]:
    name = f"{abs(hash((run_id, text)))}.csv"
    await wire.ask("PUT", f"/v1/uploads/{name}", data=text.encode())
    metadata = {"resubmit_of": run_id}
    return await wire.run(version, f"upload://{name}", run_metadata=metadata, force_rerun=True)


def counted(rows: list[dict[str, Any]]) -> Counter[tuple[str, int]]:
    return Counter((row["k"], row["n"]) for row in rows)


@seeds(12)
async def test_each_row_is_there_once(seed: int, each_state: str, wire: Wire, home: Path) -> None:
    chance = random.Random(seed)
    await registered(wire, chance.choice([".parquet", ".csv", ".ndjson"]))
    model, past = Model(wire, home, chance), list[tuple[str, Counter[tuple[str, int]]]]()
    found = list[dict[str, Any]]()
    for _ in range(12):
        if at := await model.step():
            past.append((at, model.rows()))
        found = await table(wire)
        assert counted(found) == model.rows()
    by_version = [model.rows(version=version) for version in ("v1", "v2")]
    assert [counted(await table(wire, version=one)) for one in ("v1", "v2")] == by_version
    for source in ("a.csv", "b.csv"):
        assert counted(await table(wire, source_path=source)) == model.rows(source)
    assert await table(wire, 2) == found, "in small pages"
    assert counted((await as_arrow(wire)).to_pylist()) == model.rows()
    for at, rows in past:
        assert counted(await table(wire, as_of=at)) == rows


async def test_the_rows_are_those_of_the_account(wire: Wire, home: Path) -> None:
    """Without a reading that replaces another one, and a row that is accepted twice."""
    await registered(wire)
    (home / "a.csv").write_text("k,n\na,1\nb,x\nc,y\nd,x\n")
    (home / "b.csv").write_text("k,n\ne,1\nf,y\n")
    run = await wire.run("parts:v1", "a.csv")
    await wire.run("parts:v1", "b.csv")
    await mended(wire, run["id"], "parts:v1", "_lume_row,_lume_reasons,k,n\n2,,b,9\n")
    replay = await wire.ask(
        "POST", "/v1/replays", json={"flow": "parts"}, headers={"Idempotency-Key": "once"}
    )
    await wire.until(replay.document["runs"][0]["id"])

    (flow,) = (await wire.ask("GET", "/v1/inbox")).document["flows"]
    assert (len(await table(wire)), flow["account"]["accepted"], flow["open"]) == (5, 5, 1)


@pytest.mark.parametrize("dev", [False, True])
async def test_however_a_source_is_read_its_last_run_replaces_the_others(home: Path, *, dev: bool) -> None:
    """With other seeds, or by a version that has changed, it is another source for the ledger."""
    flow = (
        'flow = "parts"\nversion = "v1"\n[seeds.words]\npath = "words.csv"\nkey = "k"\nper_run = true\n'
        "[columns.k]\n[columns.n]\nsql = \"seed('words', k, 'n')\"\n"
    )
    (home / "flows/parts.v1.toml").write_text(flow)
    (home / "words.csv").write_text("k,n\na,1\nc,9\n")
    (home / "a#b.csv").write_text("k\na\n")
    (home / "a#c.csv").write_text("k\nc\n")
    async with serve(home, dev=dev) as wire:
        await wire.run("parts:v1", "a#c.csv")
        await wire.run("parts:v1", "a#b.csv")
        for n in ("2", "3"):
            await wire.ask("PUT", f"/v1/uploads/{n}.csv", data=f"k,n\na,{n}\n".encode())
            await wire.run("parts:v1", "a#b.csv", seeds={"words": f"upload://{n}.csv"})
        assert await table(wire) == [{"k": "c", "n": "9"}, {"k": "a", "n": "3"}]
        if dev:
            (home / "flows/parts.v1.toml").write_text(flow.replace("'n')", "'n') || '!'"))
            await wire.run("parts:v1", "a#b.csv")
            assert await table(wire) == [{"k": "c", "n": "9"}, {"k": "a", "n": "1!"}]


# -- its form


async def test_columns_of_all_versions(wire: Wire, home: Path) -> None:
    await registered(wire)
    (home / "a.csv").write_text("k,n\na,1\n")
    (home / "b.csv").write_text("k,n\nb,y\n")
    assert (await as_arrow(wire)).schema.names == ["k", "n", "w"], "nothing ran: those of the newest version"
    assert await table(wire) == []
    await wire.run("parts:v1", "a.csv")
    await wire.run("parts:v2", "b.csv")

    rows = [{"k": "a", "n": 1, "w": None}, {"k": "b", "n": 7, "w": "new"}]
    assert await table(wire) == rows
    found = await as_arrow(wire)
    assert found.to_pylist() == rows
    assert list(map(str, found.schema.types)) == ["string", "int32", "string"]
    assert (await as_arrow(wire, version="v1")).schema.names == ["k", "n"]


@pytest.mark.parametrize("other", [{"n": {"type": "string"}}, {"N": {"type": "integer"}}])
async def test_a_column_of_two_types(wire: Wire, home: Path, other: dict[str, Any]) -> None:
    await registered(wire)
    third = definition("v3", ".parquet")
    third["columns"] = {"k": {}, **{name: {"sql": "n", **column} for name, column in other.items()}}
    assert (await wire.ask("PUT", "/v1/flows/parts/versions/v3", json=third)).status == 201
    for version in ("v1", "v3"):
        (home / f"{version}.csv").write_text("k,n\na,1\n")
        await wire.run(f"parts:{version}", f"{version}.csv")

    problem = (await refused(wire, 422)).document["detail"]
    (column,) = other
    assert f"column 'n' is INTEGER in parts:v1, and {column!r} is" in problem
    assert "such as parts:v3" in problem
    assert len(await table(wire, version="v3")) == 1


async def test_the_tag_is_that_of_the_rows(wire: Wire, home: Path) -> None:
    await registered(wire)
    (home / "a.csv").write_text("k,n\na,1\nb,x\n")
    run = await wire.run("parts:v1", "a.csv")

    async def tag(**headers: str) -> tuple[int, str]:
        answer = await wire.ask("GET", TABLE, headers=headers)
        return answer.status, answer.headers["ETag"]

    _, first = await tag()
    assert await tag(**{"If-None-Match": first}) == (304, first)
    await wire.ask("POST", "/v1/rejects/discard", json={"run": run["id"], "why": "no row of the table"})
    assert await tag(**{"If-None-Match": first, "Accept": ARROW}) == (304, first)
    await wire.run("parts:v1", "a.csv", force_rerun=True)
    status, second = await tag(**{"If-None-Match": first})
    assert (status, second != first) == (200, True)


async def test_pages_are_of_one_state(wire: Wire, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await registered(wire)
    for name in ("a", "b"):
        (home / f"{name}.csv").write_text(f"k,n\n{name},1\n{name},2\n")
        await wire.run("parts:v1", f"{name}.csv")
    page = (await wire.ask("GET", TABLE, params={"limit": "1"})).document
    await wire.run("parts:v1", "b.csv", force_rerun=True)

    async def rest(cursor: str | None, found: list[Any]) -> list[Any]:
        while cursor is not None:
            following = (await wire.ask("GET", TABLE, params={"limit": "1", "cursor": cursor})).document
            found, cursor = found + following["items"], following["next_cursor"]
        return [(row["k"], row["n"]) for row in found]

    whole = [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert await rest(page["next_cursor"], page["items"]) == whole
    monkeypatch.setattr(result_operations, "_TABLES", 0)  # as after a restart, or from another server
    other = (await wire.ask("GET", TABLE, params={"limit": "1"})).document
    assert await rest(other["next_cursor"], other["items"]) == whole
    owner, tag, _, place = page["next_cursor"].split("-", 3)
    for wrong in (f"{owner}-{'0' * 32}-0-{place}", f"{owner}-{tag}-7-{place}"):
        assert (await refused(wire, 409, cursor=wrong)).kind == "output-changed"
    cursor = quote(page["next_cursor"])
    assert (await refused(wire, 400, version="v1", cursor=cursor)).kind == "invalid-cursor"


# -- where there is none


async def test_outputs_that_are_gone(wire: Wire, home: Path) -> None:
    await registered(wire)
    for name in ("a", "b"):
        (home / f"{name}.csv").write_text("k,n\na,1\nb,2\n")
    await wire.run("parts:v1", "a.csv")
    run = await wire.run("parts:v1", "b.csv")
    page = (await wire.ask("GET", TABLE, params={"limit": "1"})).document
    Path(run["metadata"]["target_locations"]["mapped"]).unlink()

    cursor = page["next_cursor"]
    while (answer := await wire.ask("GET", TABLE, params={"cursor": cursor})).status == 200:
        cursor = answer.document["next_cursor"]
    assert (answer.kind, answer.document["run_id"]) == ("output-gone", run["id"])
    await wire.run("parts:v1", "b.csv", force_rerun=True)
    assert len(await table(wire)) == 4


async def test_outputs_whose_time_is_over(wire: Wire, home: Path) -> None:
    """They are as if the server had removed them; and the first run as if it had been purged."""
    await registered(wire)
    (home / "a.csv").write_text("k,n\na,1\nb,2\n")
    runs = [await wire.run("parts:v1", "a.csv", force_rerun=True) for _ in range(2)]
    before, now = runs[0]["finished_at"], runs[1]["finished_at"]

    def changed(statement: str, run: dict[str, Any]) -> None:
        with closing(sqlite3.connect(home / ".lume/state/runs.sqlite")) as db, db:
            db.execute(f"{statement} WHERE run_id = ?", [run["id"]])

    changed("UPDATE outputs SET identity = ''", runs[0])
    assert len(await table(wire)) == len(await table(wire, as_of=now)) == 2
    gone = (await refused(wire, 410, as_of=before)).document["detail"]
    assert f"2 rows of parts can't be read: the outputs of {runs[0]['id']} were removed" in gone
    page = (await wire.ask("GET", TABLE, params={"limit": "1"})).document
    changed("DELETE FROM runs", runs[0])
    assert "old runs of parts were purged" in (await refused(wire, 410, as_of=before)).document["detail"]
    assert len(await table(wire, 1)) == 2
    changed("UPDATE outputs SET identity = ''", runs[1])
    assert (await refused(wire, 410)).kind == "output-gone"
    answer = await wire.ask("GET", TABLE, params={"limit": "1", "cursor": page["next_cursor"]})
    assert answer.document["items"] == [{"k": "b", "n": 2}], "still there, and of the same state"


async def test_rows_in_a_table_of_a_database(wire: Wire, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTS_URL", f"sqlite:///{home}/parts.db")
    flow = definition("v1", "")
    flow["target"] = {
        "mapped": {"url_env": "PARTS_URL", "table": "clean_parts", "mode": "append", "create": True}
    }
    assert (await wire.ask("PUT", "/v1/flows/parts/versions/v1", json=flow)).status == 201
    (home / "a.csv").write_text("k,n\na,1\n")
    await wire.run("parts:v1", "a.csv")

    assert "parts.db?table=clean_parts: query it there" in (await refused(wire, 422)).document["detail"]


async def test_a_replay_of_which_a_part_is_replaced(wire: Wire, home: Path) -> None:
    await registered(wire)
    for name in ("a", "b"):
        (home / f"{name}.csv").write_text(f"k,n\n{name}1,y\n{name}2,2\n{name}3,y\n")
        await wire.run("parts:v1", f"{name}.csv")
    replay = await wire.ask("POST", "/v1/replays", json={"flow": "parts"}, headers={"Idempotency-Key": "one"})
    await wire.until(replay.document["runs"][0]["id"])
    assert len(await table(wire)) == 6
    await wire.run("parts:v1", "a.csv", force_rerun=True)

    assert [row["k"] for row in await table(wire)] == ["b2", "b1", "b3", "a2"]
    assert (await as_arrow(wire)).to_pylist() == await table(wire)


async def test_rows_that_cannot_be_told_apart(wire: Wire, home: Path) -> None:
    """Corrected rejects in another order: their rows are known, but not where each of them is."""
    await registered(wire)
    (home / "a.csv").write_text("k,n\na,1\nb,x\nc,x\nd,x\n")
    run = await wire.run("parts:v1", "a.csv")
    head = "_lume_row,_lume_reasons,k,n\n"
    sorted_ = await mended(wire, run["id"], "parts:v1", f"{head}3,,c,3\n2,,b,2\n")
    assert counted(await table(wire)) == {("a", 1): 1, ("b", 2): 1, ("c", 3): 1}
    await mended(wire, run["id"], "parts:v1", f"{head}4,,d,4\n")
    assert len(await table(wire)) == 4
    await mended(wire, run["id"], "parts:v1", f"{head}2,,b,5\n")

    assert sorted_["id"] in (await refused(wire, 422)).document["detail"]
    await wire.run("parts:v1", "a.csv", force_rerun=True)
    assert counted(await table(wire)) == {("a", 1): 1}


async def test_many_rejects_here_and_there(wire: Wire, home: Path) -> None:
    """The set of those that a run has taken is longer than any text for people may be."""
    await registered(wire)
    (home / "a.csv").write_text("k,n\na,1\n" + "b,x\n" * 6000)
    run = await wire.run("parts:v1", "a.csv")
    chosen = sorted(random.Random(1).sample(range(2, 6002), 3000))
    lines = "".join(f"{row},,b,{row}\n" for row in chosen)
    first = await mended(wire, run["id"], "parts:v1", f"_lume_row,_lume_reasons,k,n\n{lines}")
    assert len(first["metadata"]["metrics"]["accepted_rejects"]["rows"]) > 500
    again = f"_lume_row,_lume_reasons,k,n\n{chosen[7]},,b,0\n"
    await mended(wire, run["id"], "parts:v1", again)

    numbers = [1, *(row for row in chosen if row != chosen[7]), 0]
    assert [row["n"] for row in await table(wire)] == numbers


async def test_a_person_is_forgotten_among_mended_rows(wire: Wire, home: Path) -> None:
    """The other rows of that run have another place in its output than among the rejects."""
    await registered(wire)
    (home / "a.csv").write_text("k,n\nadam,x\nbert,x\ncarl,x\ndora,1\n")
    run = await wire.run("parts:v1", "a.csv")
    head = "_lume_row,_lume_reasons,k,n\n"
    first = await mended(wire, run["id"], "parts:v1", f"{head}1,,adam,1\n2,,bert,2\n3,,carl,3\n")
    body = {"match": {"k": "adam"}, "dry_run": False}
    assert (await wire.ask("POST", "/v1/forget", json=body)).document["outputs"] == 1
    assert counted(await table(wire)) == {("bert", 2): 1, ("carl", 3): 1, ("dora", 1): 1}
    await mended(wire, run["id"], "parts:v1", f"{head}2,,bert,5\n")

    assert first["id"] in (await refused(wire, 422)).document["detail"]


async def test_a_run_on_rejects_that_was_purged(wire: Wire, home: Path) -> None:
    """As one is, in time, after whose upload another one with the same name was run."""
    await registered(wire)
    (home / "a.csv").write_text("k,n\na,1\nb,x\nc,x\n")
    run = await wire.run("parts:v1", "a.csv")
    head = "_lume_row,_lume_reasons,k,n\n"
    first = await mended(wire, run["id"], "parts:v1", f"{head}2,,b,2\n")
    await mended(wire, run["id"], "parts:v1", f"{head}3,,c,3\n")
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite")) as db, db:
        for name in ("runs", "mends"):
            db.execute(f"DELETE FROM {name} WHERE run_id = ?", [first["id"]])
    answer = await refused(wire, 410)
    assert (answer.kind, first["id"] in answer.document["detail"]) == ("output-gone", True)
    assert await table(wire, source_path="b.csv") == []

    await mended(wire, run["id"], "parts:v1", f"{head}2,,b,5\n")
    assert counted(await table(wire)) == {("a", 1): 1, ("b", 5): 1, ("c", 3): 1}, "nothing is missing"


async def test_wrong_questions(wire: Wire) -> None:
    assert (await wire.ask("GET", "/v1/flows/part/table")).status == 404
    await registered(wire)
    assert (await refused(wire, 404, version="v9")).kind == "flow-version-not-found"
    for query in ({"as_of": "2026-01-01"}, {"as_of": "now"}, {"limit": "0"}, {"cursor": "1"}):
        assert (await refused(wire, 400, **query)).document["field"] in query


async def test_a_stream_breaks_off_where_an_output_is_gone(wire: Wire, home: Path) -> None:
    await registered(wire)
    places = []
    for name in ("a", "b"):
        (home / f"{name}.csv").write_text("k,n\na,1\n")
        run = await wire.run("parts:v1", f"{name}.csv")
        places.append(Path(run["metadata"]["target_locations"]["mapped"]))
    places[1].write_bytes(places[0].read_bytes() + b" ")

    with pytest.raises(aiohttp.ClientPayloadError):
        await as_arrow(wire)
    assert (await refused(wire, 409, source_path="b.csv")).kind == "output-changed"

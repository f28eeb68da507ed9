"""Old runs go, and nothing that a client asks for is answered otherwise because of that."""

import random
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import duckdb
import pytest
from attrs import evolve
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.runs.store.test_ledger import Model
from local.servers import serve
from local.states import moved

from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.audit import PURGE, ActFilter
from lume_local._runs.store.ledger import Claim
from lume_local._runs.store.records import Cursor, Duplicate, NewRun, Purged, StoredRun
from lume_local._shared.identity import SourceContent

LATE, END = "2027-01-01T00:00:00Z", "2026-01-01T00:00:00Z"
DAY = 86400.0
METRICS = {
    "rows_read": 3,
    "rows_mapped": 3,
    "source": {"bytes": 9, "lines": 4, "records": 3, "header": ["a"]},
    "columns": {"a": {"nulls": 0}},
}


async def purged(store: SqliteStore, before: str = LATE, *, outputs: bool = False) -> Purged:
    """A whole purge, in small parts."""
    total, after = Purged(), ("", 0)
    while True:
        found, following = await store.purge.old(before, after, 3, outputs=outputs)
        total += await store.purge.remove(found, before, outputs=outputs, detail={})
        if following is None:
            return total
        after = following


class Purging(Model):
    """The model of the ledger, in which old runs are purged every now and then, and runs have more to lose."""

    def __init__(self, store: SqliteStore, dice: random.Random, folder: Path) -> None:
        super().__init__(store, dice)
        self.folder, self.copies = folder, 0
        self.asked, self.keys = set[tuple[str, str]](), list[str]()

    async def step(self) -> None:
        if self.dice.random() < 0.2:
            await self.purge()
            await self.check()
        elif self.dice.random() < 0.2:
            await self.other()
        else:
            await super().step()

    async def other(self) -> None:
        """What is no success, or still active, perhaps for ever; and keys that are forgotten."""
        kind = self.dice.choice(("FAILED", "CANCELLED", "TRANSFORMING", "forget"))
        if kind == "forget":
            await self.store.forget(LATE if self.dice.random() < 0.3 else END, 2)
            self.keys = [key for key in self.keys if await self.store.run_of_key(key)]
            return
        run = await self.created("people:v0", f"/other{self.dice.randrange(3)}-{self.number}")
        values = {} if kind == "TRANSFORMING" else {"finished_at": END, "error_message": "why"}
        await moved(self.store, run.run_id, kind, **values)

    async def created(
        self,
        ref: str,
        source: str,
        *,
        force: bool = False,
        metadata: Any = None,
        claims: Sequence[Claim] = (),
    ) -> StoredRun:
        self.number += 1
        key = f"key{self.number}" if self.dice.random() < 0.3 else None
        new = NewRun(ref, source, source, metadata, force, key, "x", note="a note", traceparent="trace")
        run, _ = await self.store.create(new, claims)
        self.asked.add((ref, source))
        self.keys += [] if key is None else [key]
        return run

    async def ended(self, run: StoredRun, *rest: Any, **more: Any) -> None:
        await super().ended(run, *rest, **more)
        outputs, read = {"mapped": "1-2"}, SourceContent(self.number, "seen")
        await self.store.sql.write(lambda: self.store.outputs.note(run.run_id, outputs))
        await self.store.sql.write(lambda: self.store.sources.note(run.run_id, read))

    async def purge(self) -> None:
        before, found = self.copy(), await self.seen()
        await purged(self.store, outputs=self.dice.random() < 0.3)
        after = self.copy()
        assert await self.seen() == found
        assert await self.answers(after) == await self.answers(before)
        kept = {row[0] for row in self.store._db.execute("SELECT seq FROM rejected")}
        for of in self.rejects:
            assert of.run.seq in kept or all(row.state not in ("open", "replaying") for row in of.rows)
        self.rejects = [of for of in self.rejects if of.run.seq in kept]
        runs = {row[0] for row in self.store._db.execute("SELECT run_id FROM runs")}
        self.replayed = {run_id: rows for run_id, rows in self.replayed.items() if run_id in runs}
        assert {run.run_id for run, *_ in self.active} <= runs

    def copy(self) -> Path:
        self.copies += 1
        path = self.folder / f"copy{self.copies}.sqlite"
        with closing(sqlite3.connect(path)) as copy:
            self.store._db.backup(copy)
        return path

    async def seen(self) -> dict[str, Any]:
        """What a purge must not change."""
        store, newest = self.store, await self.store.newest()
        return {
            "feed": [await store.changes(Cursor(0, seq), 5) for seq in self.cursors(newest.seq)],
            "counts": await store.statistics.counts(["status"], None, None, worst_first=False, limit=100),
            "used": [await store.is_used(ref) for ref in ("people:v0", "people:v9", "orders:v1", "never:v1")],
            "waiting": await store.unfinished(),
            "inbox": await store.ledger.inbox(None, END),
        }

    def cursors(self, newest: int) -> list[int]:
        row = self.store._db.execute("SELECT value FROM facts WHERE name = 'forgotten_change'").fetchone()
        first = int(row[0]) if row else 0
        return [first, (first + newest) // 2, newest]

    async def answers(self, path: Path) -> dict[Any, Any]:
        """What the same submissions are answered with."""
        found = dict[Any, Any]()
        with closing(SqliteStore(path)) as store:
            for key in self.keys:
                run, is_new = await store.create(NewRun("f:v1", "x", "/x", None, False, key, "x"))
                found[key] = is_new, shown(run)
            for ref, source in sorted(self.asked):
                try:
                    await store.create(NewRun(ref, source, source, None, False, None, "x"))
                except Duplicate as error:
                    run = await store.require(error.run_id)
                    read, follow_up = (
                        await store.sources.read_by(run.run_id),
                        await store.attention.of(run.run_id),
                    )
                    output = await store.outputs.identity(run.run_id, "mapped")
                    assert follow_up is not None
                    found[ref, source] = error.is_active, shown(run), read, output
                else:
                    found[ref, source] = "a new run"
        return found


def shown(run: StoredRun) -> StoredRun:
    """Without what a run in compact form lacks, by the documentation."""
    kept = {name: value for name, value in run.metrics.items() if name != "columns"}
    return evolve(run, rev=0, stages=[], metrics=kept, is_compact=False)


@pytest.mark.thorough
@examples(20)
@given(seed=st.integers(0, 2**32), steps=st.integers(5, 40))
def test_a_purge_changes_no_answer(seed: int, steps: int) -> None:
    async def go(store: SqliteStore, folder: Path) -> None:
        model = Purging(store, random.Random(seed), folder)
        for _ in range(steps):
            await model.step()
        await model.purge()

    with tempfile.TemporaryDirectory() as name, closing(SqliteStore(Path(name) / "runs.sqlite")) as store:
        anyio.run(go, store, Path(name))


async def a_run(store: SqliteStore, source: str, status: str = "SUCCEEDED", **more: Any) -> StoredRun:
    force, key = more.pop("force", False), more.pop("key", None)
    new = NewRun("f:v1", source, source, {"a": 1}, force, key, "", "https://a.b/", "trace", "note", "ann")
    run, _ = await store.create(new)
    stages = [{"name": "TRANSFORMING"}]
    values = {"stages": stages, "metrics": METRICS, "finished_at": END, "outputs": {"mapped": "1-2"}, **more}
    return await moved(store, run.run_id, status, **values)


def counted(store: SqliteStore) -> dict[str, int]:
    tables = [
        "runs",
        "traces",
        "notes",
        "outputs",
        "sources",
        "deliveries",
        "rejected",
        "closings",
        "rejected_for",
    ]
    return {name: store._db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}


async def test_what_nothing_needs_goes_with_all_that_belongs_to_it(store: SqliteStore) -> None:
    failed = await a_run(store, "/a", "FAILED", event=b"{}")
    replaced = await a_run(store, "/b", ledger={"reasons": {"why": None}}, read=SourceContent(1, "x"))
    await a_run(store, "/b", force=True)
    await a_run(store, "/last")
    assert await purged(store) == Purged(1, 1), "a webhook that is to be delivered keeps its run"
    (delivery,) = [one.id for one in await store.deliveries.waiting(10)]
    await store.deliveries.delivered(delivery)
    assert await purged(store) == Purged(1, 0)
    assert [await store.get(run.run_id) for run in (failed, replaced)] == [None, None]
    left = {"runs": 2, "traces": 1, "notes": 2, "outputs": 2}
    assert counted(store) == dict.fromkeys(counted(store), 0) | left
    assert await store.sources.last_headers("f:v1") == {"": ["a"]}
    assert await purged(store) == Purged(), "what is compact is not looked at again"
    acts = await store.audit.acts(ActFilter(what=PURGE), None, 10)
    assert [(noted.act.by, noted.act.detail["removed"], noted.act.detail["compact"]) for noted in acts] == [
        *(("server", 1, 0), ("server", 1, 1))
    ]


async def test_a_compact_run_goes_once_a_newer_one_has_its_source_or_its_key_is_forgotten(
    store: SqliteStore,
) -> None:
    first = await a_run(store, "/a")
    keyed = await a_run(store, "/b", "FAILED", key="k")
    await a_run(store, "/last")
    assert await purged(store) == Purged(0, 2)
    compact = await store.require(first.run_id)
    assert (compact.is_compact, compact.stages, compact.rev) == (True, [], first.rev + 1)
    assert compact.metrics == {
        **{"rows_read": 3, "rows_mapped": 3},
        "source": {"bytes": 9, "lines": 4, "records": 3},
    }
    await a_run(store, "/a", force=True)
    await a_run(store, "/last", force=True)
    assert await purged(store) == Purged(2, 1)
    assert await store.get(first.run_id) is None
    assert (await store.require(keyed.run_id)).is_compact
    assert await store.forget(LATE, 100)
    assert await purged(store) == Purged(1, 0)
    assert await store.get(keyed.run_id) is None


async def test_outputs_that_are_still_to_be_removed_keep_their_run(store: SqliteStore) -> None:
    first = await a_run(store, "/a")
    await a_run(store, "/a", force=True)
    await a_run(store, "/last")
    assert await purged(store, outputs=True) == Purged(0, 2)
    await store.outputs.forget(first.run_id, "mapped")
    assert await purged(store, outputs=True) == Purged(1, 0)
    assert await store.get(first.run_id) is None


async def test_a_server_archives_and_removes_old_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    archive = home / "archive"
    (home / "bad.csv").write_text("id,Email,Age\n1,no address,2\n2,b@example.org,3\n")
    for name in ("a", "b", "gone"):
        (home / f"{name}.csv").write_text((home / "people.csv").read_text())
    async with serve(home) as wire:
        first = await wire.run("people:v1", "a.csv", run_metadata={"ticket": 7})
        second = await wire.run("people:v1", "a.csv", force_rerun=True)
        bad = await wire.run("people:v1", "bad.csv")
        failed = await wire.run("people:v1", "missing.csv")
        young = await wire.run("people:v1", "b.csv")
        feed = (await wire.ask("GET", "/v1/changes")).document["next_cursor"]
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite")) as db, db:
        old = [one["id"] for one in (first, second, bad, failed)]
        db.execute(
            f"UPDATE runs SET finished_at = '2026-01-01T00:00:00Z' WHERE run_id IN ({','.join('?' * 4)})", old
        )
    async with serve(home, keep_runs=DAY, archive="archive") as wire:
        while not (acts := (await wire.ask("GET", "/v1/audit?what=purge")).document["items"]):
            await anyio.sleep(0.01)
        assert [(await wire.get(run["id"])).status for run in (first, failed)] == [404, 404]
        now = {run["id"]: (await wire.get(run["id"])).document for run in (second, bad, young)}
        assert [run["metadata"]["stages"] != [] for run in now.values()] == [False, True, True]
        assert "old run" in now[second["id"]]["metadata"]["notes"][0]
        again = await wire.submit("people:v1", "a.csv")
        told = again.status, again.document["run_id"], again.document["source_changed"]
        assert told == (409, second["id"], False)
        rows = (await wire.ask("GET", f"/v1/runs/{second['id']}/mapped")).document["items"]
        assert len(rows) == 3
        assert (await wire.ask("GET", f"/v1/changes?after={feed}")).status == 200
        listed = (await wire.ask("GET", "/v1/runs")).document["items"]
        assert {run["id"] for run in listed} == set(now)
    (file,) = archive.iterdir()
    assert acts[0]["detail"] == {**acts[0]["detail"], "removed": 2, "compact": 1, "archive": file.name}
    query = f"SELECT run_id, status, rows_read, run_metadata, finished_at::VARCHAR FROM '{file}' ORDER BY created_at"
    found = duckdb.execute(query).fetchall()
    assert [row[:3] for row in found] == [
        (first["id"], "SUCCEEDED", 3),
        (second["id"], "SUCCEEDED", 3),
        (failed["id"], "FAILED", None),
    ]
    assert found[0][3] == '{"ticket":7}'
    assert found[0][4].startswith("2026-01-01 ")


async def test_without_room_for_the_archive_nothing_is_removed(home: Path) -> None:
    async with serve(home) as wire:
        failed = await wire.run("people:v1", "missing.csv")
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite")) as db, db:
        db.execute("UPDATE runs SET finished_at = '2026-01-01T00:00:00Z'")
    (home / "archive").write_text("a file")
    async with serve(home, keep_runs=DAY, archive=home / "archive") as wire:
        while (answer := await wire.ask("GET", "/healthz")).status == 200:
            await anyio.sleep(0.01)
        assert "removing old runs" in answer.document["detail"]
        assert (await wire.get(failed["id"])).status == 200

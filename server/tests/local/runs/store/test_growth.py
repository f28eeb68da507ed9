"""No operation of the store costs more because the server has been running for long.

SQLite counts the steps that a statement takes and shows its plan: both are the same on every machine. Each operation
is carried out in a state with a short history and in one that is twenty times as long.
"""

import inspect
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest
from attrs import evolve, frozen
from local.states import PARTS, moved

from lume_local._runs.sql.operation import Publishing
from lume_local._runs.sql.sql_forget import FILES, TEXTS
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sql.sql_table import parts_queries
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.arrived import Arrived, Move, RefusedFile, place_of
from lume_local._runs.store.audit import Act, ActFilter
from lume_local._runs.store.drafts import SENT_BACK, Judgement, Reject, Review, Room, RowChange, Submission
from lume_local._runs.store.ledger import Assignment, Claim, RowFilter, RowsOfRun
from lume_local._runs.store.records import (
    Cursor,
    Duplicate,
    NewDelivery,
    NewRun,
    RunFilter,
    StoredFlow,
    StoredRun,
)
from lume_local._shared.identity import SourceContent
from lume_local._shared.row_set import all_rows, as_text, packed

SHORT, LONG = 1_000, 20_000
NEW = NewRun("f:v1", "new.csv", "/new.csv", {}, False, "new", "print", "https://a.b/", "trace", "a note")
_NUMBERS = count()
"""Of new sources: random names would have another order in each store, and an index is read in their order."""
GROWING = """
seeds runs changes idempotency_keys deliveries traces notes outputs sources attention mends dismissals
rejected rejected_for closings row_accounts draft_rows audit notices arrived arrived_paths
"""
GROW_WITH_HISTORY = GROWING.split()


class Recorded(sqlite3.Connection):
    """A connection that knows which statements it has executed."""

    statements: list[tuple[str, tuple[Any, ...]]]

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self.__dict__.setdefault("statements", []).append((sql, values))
        return super().execute(sql, *values)

    def executemany(self, sql: str, values: Any) -> sqlite3.Cursor:
        rows = list(values)
        self.__dict__.setdefault("statements", []).append((sql, (rows[0],)))
        return super().executemany(sql, rows)


@frozen
class Aged:
    """A store with a history: half the runs of `f` have succeeded, all those of `broken` have failed."""

    store: SqliteStore
    db: Recorded
    runs: int

    async def steps(self, work: Awaitable[Any]) -> tuple[int, set[str]]:
        """How many steps SQLite took for an operation, and what its statements scan."""
        count = 0

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        self.db.statements.clear()
        self.db.set_progress_handler(step, 1)
        try:
            await work
        except Duplicate:
            pass
        finally:
            self.db.set_progress_handler(None, 1)
        return count, {line for sql, values in list(self.db.statements) for line in self._scans(sql, values)}

    def _scans(self, sql: str, values: tuple[Any, ...]) -> list[str]:
        if sql.split()[0] in ("BEGIN", "COMMIT", "ROLLBACK", "DROP", "CREATE"):
            return []
        plan = [row["detail"] for row in self.db.execute(f"EXPLAIN QUERY PLAN {sql}", *values).fetchall()]
        return [line for line in plan if line.startswith("SCAN") and line.split()[1] in GROW_WITH_HISTORY]


HISTORY = """
INSERT INTO runs (run_id, rev, flow_version, source_path, source_key, run_metadata, force_rerun, status,
    created_at, finished_at, stages, metrics, target_locations, submitted_by)
SELECT 'run_' || n, 5, CASE WHEN n = 9 THEN 'old:v1' WHEN n % 2 = 1 THEN 'broken:v1' ELSE 'f:v1' END,
    CASE WHEN n = 9 THEN 'old' ELSE 's' || n END, '/s' || n, '{}', 0,
    CASE WHEN n = 9 THEN 'CRASHED' WHEN n % 2 = 1 THEN 'FAILED' ELSE 'SUCCEEDED' END, at, at, '[]', '{"source": {}}',
    '{"mapped": "out/x"}', CASE WHEN n = 9 THEN 'old' WHEN n % 3 = 0 THEN 'bob' ELSE 'ann' END
    FROM n ORDER BY n;
INSERT INTO flow_versions SELECT DISTINCT flow_version, 'x', '{}', '{}', 'x', 'x' FROM runs;
INSERT INTO layout_counts
    SELECT DISTINCT substr(created_at, 1, 13), flow_version, status, 'shop', 1, 1, 1, 0 FROM runs;
INSERT INTO changes (run_id, status, finished_at, at) SELECT 'run_' || n, 'SUCCEEDED', at, at FROM n ORDER BY n;
INSERT INTO outputs SELECT 'run_' || n, 'mapped', CASE WHEN n % 8 = 0 THEN 'x' ELSE '' END FROM n;
INSERT INTO sources SELECT 'run_' || n, n, 'x', 'x' FROM n;
INSERT INTO notes SELECT 'run_' || n, 'x' FROM n;
INSERT INTO seeds SELECT 'run_' || n, '{}' FROM n;
INSERT INTO traces SELECT 'run_' || n, 'x' FROM n;
INSERT INTO idempotency_keys SELECT 'k' || n, 'x', 'run_' || n, at FROM n;
INSERT INTO mends SELECT 'run_' || n, 'run_' || (n / 8) FROM n WHERE n > 8;
INSERT INTO dismissals SELECT 'run_' || n, 'x', at FROM n WHERE n % 3 = 0;
INSERT INTO deliveries SELECT 'dlv_' || n, 'run_' || n, 'u', body, 1, NULL, at, NULL, at FROM n;
INSERT INTO notices (body) SELECT body FROM n ORDER BY n;
INSERT INTO message_states SELECT 'k' || n, 1, '[]', CASE WHEN n % 2 = 1 THEN n END FROM n;
INSERT INTO inbox (flow, reason, open) VALUES ('f', '', 8), ('f', 'why', 8), ('f', 'other', 8), ('lost', '', 0);
INSERT INTO rejected (seq, run_id, flow, source_key, at, count, open, closed)
    SELECT n + 1, 'run_' || n, 'f', '/s' || n, at, 8, CASE WHEN n % 4 = 0 THEN 8 ELSE 0 END,
    CASE WHEN n % 4 > 0 THEN closed END FROM n;
INSERT INTO rejected_for SELECT 2 + n % 2, n + 1, CASE WHEN n % 4 = 0 THEN 8 ELSE 0 END, NULL FROM n;
INSERT INTO closings (seq, state, count, rows, by, at)
    SELECT n + 1, 'discarded', 8, closed, 'x', at FROM n WHERE n % 4 > 0;
INSERT INTO drafts SELECT 'f', CASE n WHEN 0 THEN 'ann' ELSE 'other' || n END, 'd' || n, 1, 1, 9, at FROM n
    WHERE n < 20;
INSERT INTO draft_rows SELECT 'd' || n, 'run_1', 0, 1, '{}', at, NULL, NULL FROM n;
INSERT INTO audit (at, by, what, subject, detail)
    SELECT at, CASE WHEN n = 9 THEN 'eve' WHEN n % 2 = 1 THEN 'ann' ELSE 'bob' END,
    CASE WHEN n = 9 THEN 'drain' WHEN n % 4 > 0 THEN 'cancel' ELSE 'purge' END,
    'run_' || n, '{}' FROM n ORDER BY n;
INSERT INTO row_accounts (flow, source_key, read) SELECT 'f', '/s' || n, 8 FROM n;
INSERT INTO row_accounts (flow, source_key, read, lost) SELECT 'lost', '/s' || n, 8, 8 FROM n;
INSERT INTO row_accounts (flow, source_key, read, lost) SELECT 'lost', '', 8 * count(*), 8 * count(*) FROM n;
INSERT INTO arrival_moves
    SELECT n + 1, body, 'a', 'p' || n, 's', CASE WHEN n < 50 THEN 0 ELSE 1 END, body FROM n;
UPDATE runs SET arrival = CASE WHEN seq = 9 THEN 'b' ELSE 'a' END WHERE seq % 4 < 2;
"""
"""For any database: the table `n` has the number of each run, its time and two values of bytes."""


def numbers(runs: int) -> Iterator[tuple[int, str, bytes, bytes]]:
    """The rows of the table `n`."""
    closed = packed(all_rows(8))
    for n in range(runs):
        yield n, f"2026-01-{1 + n * 28 // runs:02}T00:00:00.{n:06}Z", b"\0", closed


def fill(db: sqlite3.Connection, runs: int) -> None:
    """A history, in one transaction."""
    db.execute("BEGIN")
    db.execute("CREATE TEMP TABLE n (n INTEGER, at TEXT, body BLOB, closed BLOB)")
    db.executemany("INSERT INTO n VALUES (?, ?, ?, ?)", numbers(runs))
    for one in HISTORY.split(";\n"):
        db.execute(one)
    for table, rows in submitted(runs).items():
        db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    db.commit()


def submitted(runs: int) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of files that arrived, by table."""
    files = [arrived(n) for n in range(runs)] + [latest(n) for n in range(runs)]
    paths = {one.place: (one.place, one.mark, n + 1) for n, one in enumerate(files)}
    return {
        "arrival_refusals": [(place_of("a", f"r{n}"), "a", f"r{n}", "s", "x", "2026") for n in range(50)],
        "arrived": [(one.place, one.digest, n + 1) for n, one in enumerate(files)],
        "arrived_paths": list(paths.values()),
    }


def arrived(number: int) -> Arrived:
    return Arrived("a", f"p{number}", "s", b"x", move=True)


def latest(number: int) -> Arrived:
    """A path that has a new content each time."""
    return Arrived("a", "latest.csv", f"s{number}", str(number).encode(), move=True)


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Aged, Aged]]:
    """Both stores, for all tests: what an operation changes is as much in either."""
    real, both = sqlite3.connect, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", partial(real, factory=Recorded))
        for runs in (SHORT, LONG):
            store = SqliteStore(tmp_path_factory.mktemp("history") / "runs.sqlite")
            assert isinstance(store._db, Recorded)
            fill(store._db, runs)
            both.append(Aged(store, store._db, runs))
    yield both[0], both[1]
    for one in both:
        one.store.close()


async def a_run(store: SqliteStore) -> StoredRun:
    unique = f"/{next(_NUMBERS):06}"
    return (await store.create(evolve(NEW, source_key=unique, idempotency_key=unique)))[0]


async def ended(aged: Aged) -> Any:
    run = await a_run(aged.store)
    return await aged.store.update(
        run,
        "SUCCEEDED",
        event=b"x",
        outputs={"mapped": "y"},
        read=SourceContent(1, "x"),
        lineage=b"z",
        notice=b"w",
        metrics={"source": {"layouts": {"shop": {"files": 1, "rows_read": 1}}}},
        finished_at="2026-01-29",
    )


async def a_delivery(aged: Aged) -> str:
    await moved(aged.store, (await a_run(aged.store)).run_id, "FAILED", event=b"x")
    return (await aged.store.deliveries.waiting(10))[0].id


async def body(aged: Aged) -> Any:
    return await aged.store.deliveries.body(await a_delivery(aged))


async def delivered(aged: Aged) -> Any:
    return await aged.store.deliveries.delivered(await a_delivery(aged))


async def failed(aged: Aged) -> Any:
    return await aged.store.deliveries.failed(await a_delivery(aged), "away", 1.0)


async def overtaken(aged: Aged, back: int) -> Any:
    run = await aged.store.require(f"run_{aged.runs - back}")
    return await aged.store.overtaken_by(run, "2025", "nowhere", of_source=True)


async def mended(aged: Aged) -> Any:
    """Another attempt at the rejects of a run that was corrected often already, and its end."""
    unique = f"/{next(_NUMBERS):06}"
    new = evolve(NEW, source_key=unique, idempotency_key=unique, run_metadata={"resubmit_of": "run_0"})
    run, _ = await aged.store.create(new)
    return await aged.store.update(
        run, "SUCCEEDED", metrics={"rows_read": 1, "source": {}}, finished_at="2026-01-29"
    )


async def rejecting(aged: Aged) -> Any:
    figures = {"rows_read": 2, "rows_mapped": 1, "rows_rejected": 1, "source": {}}
    run = await a_run(aged.store)
    ledger = {"reasons": {"why": None}}
    return await aged.store.update(
        run, "PARTIAL_FAILED", metrics=figures, ledger=ledger, finished_at="2026-01-29"
    )


async def replaying(aged: Aged) -> Any:
    """A replay of the newest rows, which ends without effect, so that the next one can have them."""
    found = (await aged.store.ledger.rows(RowFilter("f"), aged.runs - 50, 2))[-1]
    unique = f"/{next(_NUMBERS):06}"
    new = evolve(NEW, source_key=unique, idempotency_key=unique)
    run, _ = await aged.store.create(new, [Claim(found.seq, 0, found.rows)])
    assert await aged.store.ledger.is_replay(run.run_id)
    return await aged.store.update(run, "FAILED", finished_at="2026-01-29")


async def drafting(aged: Aged, owner: str) -> Any:
    changes = [RowChange(Reject("run_1", 0), {"a": "b"}, 0)]
    saved = await aged.store.drafts.save("f", owner, changes, Room(1000, 10**9))
    await aged.store.drafts.drop("f", owner, None)
    return saved


async def sent_back(aged: Aged) -> Any:
    await aged.store.drafts.submit("f", SUBMISSION)
    return await aged.store.drafts.send_back("f", Review("ann", 1, "bob", SENT_BACK, "why"))


async def decided(aged: Aged) -> Any:
    """About the oldest notice, and something that is remembered already."""
    messages = aged.store.messages
    await aged.store.arrivals.refuse(RefusedFile("b", "r", "s", "other", "2026"), b"x")
    (notice,) = await messages.notices(1)
    known = (await messages.states(["k1"]))["k1"]
    new = [NewDelivery("env:A", "run_1", b"x")]
    return await messages.decided([notice.seq], {"k1": known.rev, "k0": 1}, [known], new)


def rows(wanted: RowFilter, *, deep: bool) -> "Operation":
    return lambda aged: aged.store.ledger.rows(wanted, aged.runs // 10 if deep else 0, 50)


def listed(wanted: RunFilter, *, deep: bool) -> "Operation":
    return lambda aged: aged.store.runs(wanted, aged.runs // 2 if deep else None, 50)


async def removed(aged: Aged) -> Any:
    """Old runs go, or are made compact."""
    found, _ = await aged.store.purge.old("2027", ("2026-01-15", 0), 20, outputs=False)
    assert found
    return await aged.store.purge.remove(found, "2027", outputs=False, detail={})


def acts(wanted: ActFilter, *, deep: bool) -> "Operation":
    return lambda aged: aged.store.audit.acts(wanted, aged.runs // 2 if deep else None, 50)


Operation = Callable[[Aged], Awaitable[Any]]
FORGOTTEN = {
    **{"run_id": "run_4", "by": "ann", "columns": ["email"], "outputs": {"rejects": "1-1"}},
    **{"mapped": 0, "rejects": as_text(1)},
}
AFTER = {
    **dict.fromkeys(("notices", "closings", "audit"), (10,)),
    **{"arrival_refusals": (b"",), "arrival_moves": (0, b"")},
    **{"draft_rows": ("", "", 0), "runs": ("run_500",)},
}
"""Keys in the tables of texts; the first pages are scans, which end after as many rows."""
SUBMISSION = Submission("ann", 1, "f:v1", None, 1, "2026")
FLOW = StoredFlow("f:v1", "hash", {}, {}, "engine", "2026")


def counted(by: str) -> Operation:
    return lambda aged: aged.store.statistics.counts([by], None, "f", worst_first=True, limit=100)


OPERATIONS: dict[str, Operation] = {
    "publishing.allow": lambda aged: aged.store.publishing.allow("run_1"),
    "publishing.is_allowed": lambda aged: aged.store.publishing.is_allowed("run_1"),
    "publishing.check": lambda aged: aged.store.publishing.check(),
    "create": lambda aged: a_run(aged.store),
    "create: a source that failed": lambda aged: aged.store.create(
        NewRun("broken:v1", "s1", "/s1", {}, False, None, "")
    ),
    "create: a source that is done": lambda aged: aged.store.create(
        NewRun("f:v1", "s0", "/s0", {}, False, None, "")
    ),
    "create: forced": lambda aged: aged.store.create(NewRun("f:v1", "s0", "/s0", {}, True, None, "")),
    "create: a replay": lambda aged: replaying(aged),
    "update": ended,
    "update: of corrected rejects": mended,
    "update: with rejects": lambda aged: rejecting(aged),
    "run_of_key": lambda aged: aged.store.run_of_key("k1"),
    "submitted": lambda aged: aged.store.submitted("none", ""),
    "get": lambda aged: aged.store.get("run_1"),
    "require": lambda aged: aged.store.require("run_1"),
    "unfinished": lambda aged: aged.store.unfinished(),
    "begun": lambda aged: aged.store.begun(["x"]),
    "origins.roots": lambda aged: aged.store.origins.roots("run_0", "run_8"),
    "origins.of": lambda aged: aged.store.origins.of("run_1", None, [Claim(2, 0, 1)]),
    "origins.of: of corrected rejects": lambda aged: aged.store.origins.of("run_1", "run_8", []),
    "origins.accepted": lambda aged: aged.store.origins.accepted(f"run_{aged.runs - 20}"),
    "overtaken_by": lambda aged: overtaken(aged, 20),
    "next_waiting": lambda aged: aged.store.next_waiting(["x"]),
    "next_waiting: keys at their limit": lambda aged: aged.store.next_waiting(["x"], ["a", "b", "b:"]),
    "active_sources": lambda aged: aged.store.active_sources(),
    "active_seeds": lambda aged: aged.store.active_seeds(),
    "waiting": lambda aged: aged.store.waiting(),
    "standbys": lambda aged: aged.store.standbys(),
    "newest_arrived": lambda aged: aged.store.newest_arrived(["a", "b", "nobody"], 50),
    "runs_of": lambda aged: aged.store.runs_of(["f:v1", "broken:v1"]),
    "runs_of: with output": lambda aged: aged.store.runs_of(["f:v1", "broken:v1"], with_output=True),
    "is_used": lambda aged: aged.store.is_used("f:v1"),
    "is_used: never": lambda aged: aged.store.is_used("g:v1"),
    "changes": lambda aged: aged.store.changes(Cursor(0, aged.runs // 2), 100),
    "newest": lambda aged: aged.store.newest(),
    "put_flow": lambda aged: aged.store.put_flow(FLOW),
    "flows": lambda aged: aged.store.flows(),
    "forget": lambda aged: aged.store.forget("2027", 100),
    "forget: nothing is old": lambda aged: aged.store.forget("2025", 100),
    "sources.last_headers": lambda aged: aged.store.sources.last_headers("f:v1"),
    "sources.last_headers: of a flow that always failed": (
        lambda aged: aged.store.sources.last_headers("broken:v1")
    ),
    "attention.of": lambda aged: aged.store.attention.of("run_0"),
    "attention.dismiss": lambda aged: aged.store.attention.dismiss("run_1", "known", "ann"),
    "purge.old": lambda aged: aged.store.purge.old("2027", ("", 0), 50, outputs=True),
    "purge.old: nothing is old": lambda aged: aged.store.purge.old("2025", ("", 0), 50, outputs=True),
    "purge.remove": lambda aged: removed(aged),
    "audit.note": lambda aged: aged.store.audit.note(Act("ann", "cancel", "run_1")),
    "audit.forget": lambda aged: aged.store.audit.forget("2027", 20),
    "audit.forget: nothing is old": lambda aged: aged.store.audit.forget("2025", 20),
    **{
        f"audit.acts: {name}{', deep' * deep}": acts(wanted, deep=deep)
        for deep in (False, True)
        for name, wanted in {
            "all": ActFilter(),
            "of a key": ActFilter(by="ann"),
            "of a key that did nothing": ActFilter(by="nobody"),
            "of a key that did something long ago": ActFilter(by="eve"),
            "of a kind that was long ago": ActFilter(what="drain"),
            "of a kind": ActFilter(what="cancel"),
            "of a key and a kind": ActFilter(by="bob", what="purge"),
            "of a key and a kind that has none": ActFilter(by="ann", what="discard"),
            "since": ActFilter(by="ann", since="2026-01-02"),
        }.items()
    },
    "deliveries.waiting": lambda aged: aged.store.deliveries.waiting(10),
    "deliveries.body": body,
    "deliveries.of_run": lambda aged: aged.store.deliveries.of_run("run_1"),
    "deliveries.pending": lambda aged: aged.store.deliveries.pending(),
    "deliveries.delivered": delivered,
    "deliveries.failed": failed,
    "messages.notices": lambda aged: aged.store.messages.notices(50),
    "messages.states": lambda aged: aged.store.messages.states(["k1", "k2", "new"]),
    "messages.due": lambda aged: aged.store.messages.due(9e9, 50),
    "messages.next_due": lambda aged: aged.store.messages.next_due(),
    "messages.decided": decided,
    "messages.waits": lambda aged: aged.store.messages.waits("f", ["run_1", "run_2", "a"]),
    "messages.waits: of a flow that is fine": lambda aged: aged.store.messages.waits("old", ["run_0"]),
    "statistics.last_figures": lambda aged: aged.store.statistics.last_figures("f", 20),
    "statistics.last_figures: of a flow that always failed": (
        lambda aged: aged.store.statistics.last_figures("broken", 20)
    ),
    "sources.read_by": lambda aged: aged.store.sources.read_by("run_1"),
    "arrivals.settled_of": lambda aged: aged.store.arrivals.settled_of(
        "a", [("p1", "s"), ("p2", "x"), ("new", "s")]
    ),
    "arrivals.settled_of: of a path with many contents": lambda aged: aged.store.arrivals.settled_of(
        "a", [("latest.csv", "s1"), ("latest.csv", "new")]
    ),
    "arrivals.known": lambda aged: aged.store.arrivals.known(arrived(2)),
    "arrivals.known: of a path with many contents": lambda aged: aged.store.arrivals.known(latest(-1)),
    "arrivals.note": lambda aged: aged.store.arrivals.note(arrived(1), "run_1"),
    "arrivals.note: of a path with many contents": lambda aged: aged.store.arrivals.note(latest(-2), "run_1"),
    "arrivals.refuse": lambda aged: aged.store.arrivals.refuse(
        RefusedFile("a", "r1", "s", "other", "2026"), b"x"
    ),
    "arrivals.refused": lambda aged: aged.store.arrivals.refused("a", 20),
    "arrivals.forget_refusals": lambda aged: aged.store.arrivals.forget_refusals("a", ["r2"]),
    "arrivals.counts": lambda aged: aged.store.arrivals.counts("a"),
    "arrivals.moves: of all": lambda aged: aged.store.arrivals.moves("a"),
    "arrivals.put_aside": lambda aged: aged.store.arrivals.put_aside(["run_1", "run_5"]),
    "arrivals.failed": lambda aged: aged.store.arrivals.failed("a", "f", (), "", 20),
    "arrivals.failed: of some paths": lambda aged: aged.store.arrivals.failed(
        "a", "f:v1", ("/s1", "x"), "/s1", 20
    ),
    "arrivals.moves": lambda aged: aged.store.arrivals.moves("a", "run_1"),
    "arrivals.moved": lambda aged: aged.store.arrivals.moved(
        Move("a", "p1", "s", 2, "SUCCEEDED"), is_gone=True
    ),
    "outputs.identity": lambda aged: aged.store.outputs.identity("run_1", "mapped"),
    "outputs.forget": lambda aged: aged.store.outputs.forget("run_0", "mapped"),
    "outputs.written_before": lambda aged: aged.store.outputs.written_before("2027", 20),
    "ledger.inbox": lambda aged: aged.store.ledger.inbox(None, "2026"),
    "ledger.inbox: of a flow": lambda aged: aged.store.ledger.inbox("f", "2026"),
    "ledger.days": lambda aged: aged.store.ledger.days("f", "why", "2026"),
    "ledger.account": lambda aged: aged.store.ledger.account("f", "/s1"),
    "ledger.corrected": lambda aged: aged.store.ledger.corrected("f", "/s1", aged.runs),
    "ledger.reasons": lambda aged: aged.store.ledger.reasons(1),
    "ledger.discard": lambda aged: aged.store.ledger.discard([RowsOfRun(2, "run_1", 1, 8)], "x", "y"),
    "ledger.assign": lambda aged: aged.store.ledger.assign(
        [RowsOfRun(5, "run_4", 1, 8)], Assignment("ann", ""), "x"
    ),
    "ledger.assignments": lambda aged: aged.store.ledger.assignments(5),
    "ledger.assignees": lambda aged: aged.store.ledger.assignees("f"),
    "ledger.unended": lambda aged: aged.store.ledger.unended(0, 50),
    "ledger.set_lost": lambda aged: aged.store.ledger.set_lost("run_3", is_lost=True),
    "ledger.set_lost: found again": lambda aged: aged.store.ledger.set_lost("run_3", is_lost=False),
    "ledger.is_replay": lambda aged: aged.store.ledger.is_replay("run_1"),
    "ledger.fate": lambda aged: aged.store.ledger.fate("run_1"),
    "drafts.draft": lambda aged: aged.store.drafts.draft("f", "ann"),
    "drafts.save": lambda aged: drafting(aged, f"owner{next(_NUMBERS)}"),
    "drafts.rows": lambda aged: aged.store.drafts.rows("f", "ann", None, 10),
    "drafts.unjudged": lambda aged: aged.store.drafts.unjudged("f", "ann", "f:v1", 10),
    "drafts.judged_by": lambda aged: aged.store.drafts.judged_by("f", "ann", "f:v1"),
    "drafts.judged": lambda aged: aged.store.drafts.judged(
        "f", "ann", "f:v1", [Judgement(Reject("run_1", 0), 1, ())]
    ),
    "drafts.elsewhere": lambda aged: aged.store.drafts.elsewhere("f", "bob", 10),
    "drafts.submit": lambda aged: aged.store.drafts.submit("f", SUBMISSION),
    "drafts.submissions": lambda aged: aged.store.drafts.submissions("f", "ann"),
    "drafts.send_back": lambda aged: sent_back(aged),
    "drafts.drop": lambda aged: aged.store.drafts.drop("f", "ann", [Reject("run_2", 0)]),
    "drafts.expire": lambda aged: aged.store.drafts.expire("2025", 10),
    "forgetting.runs": lambda aged: aged.store.forgetting.runs(aged.runs // 2, 50),
    **{
        f"forgetting.texts: {table}": lambda aged, table=table: aged.store.forgetting.texts(
            table, AFTER.get(table, ("",)), 50
        )
        for table in TEXTS
    },
    **{
        f"forgetting.texts: files of {table}": lambda aged, table=table: aged.store.forgetting.texts(
            table, AFTER.get(table, ("",)), 50, FILES
        )
        for table in FILES
    },
    "forgetting.note": lambda aged: aged.store.forgetting.note(FORGOTTEN),
    "forgetting.replace": lambda aged: aged.store.forgetting.replace(
        "runs", ("run_2",), ["why", '{"rows_mapped": 1}', "null"]
    ),
    "forgetting.replace: the audit": lambda aged: aged.store.forgetting.replace(
        "audit", (1,), ["run_1", "{}"]
    ),
    "ledger.replays": lambda aged: aged.store.ledger.replays("f"),
    "table.parts": lambda aged: aged.store.table.parts("old", None, None, str),
    # It reads by a connection of its own, of which nothing is counted.
    **{
        f"table.parts: query {n}": lambda aged, one=one: aged.store.sql.rows(*one)
        for n, one in enumerate(parts_queries("old", None))
    },
    "table.is_purged": lambda aged: aged.store.table.is_purged("old"),
    **{
        f"ledger.rows: {name}{', deep' * deep}": rows(wanted, deep=deep)
        for deep in (False, True)
        for name, wanted in {
            "all": RowFilter(),
            "of a flow": RowFilter("f"),
            "with a reason": RowFilter("f", ("why",)),
            "with one of several": RowFilter("f", ("why", "other")),
            "of a run": RowFilter(run_id="run_1"),
            "discarded": RowFilter(state="discarded"),
            "lost": RowFilter("f", state="lost"),
            "replaying": RowFilter(state="replaying"),
        }.items()
    },
    **{f"statistics.counts: {by}": counted(by) for by in ("hour", "day", "flow_version", "status", "layout")},
    **{
        f"runs: {name}{', deep' * deep}": listed(wanted, deep=deep)
        for deep in (False, True)
        for name, wanted in {
            "all": RunFilter(),
            "flow_version": RunFilter(flow_version="f:v1"),
            "flow_version that was used long ago": RunFilter(flow_version="old:v1"),
            "submitted_by, long ago": RunFilter(submitted_by="old"),
            "status": RunFilter(statuses=["FAILED"]),
            "status that has none": RunFilter(statuses=["CANCELLED"]),
            "status that was long ago": RunFilter(statuses=["CRASHED"]),
            "flow": RunFilter(flow="f"),
            "flow and status": RunFilter(flow="f", statuses=["FAILED"]),
            "flow_version and status": RunFilter(flow_version="f:v1", statuses=["FAILED"]),
            "key": RunFilter(submitted_by="ann"),
            "key that has none": RunFilter(submitted_by="eve"),
            "key and status": RunFilter(submitted_by="bob", statuses=["FAILED"]),
            "key and flow": RunFilter(submitted_by="bob", flow="f"),
            "key that has none and flow": RunFilter(submitted_by="eve", flow="f"),
            "source": RunFilter(source="s"),
            "since": RunFilter(since="2025"),
            "since and status": RunFilter(since="2025", statuses=["FAILED"]),
            "since and status that was long ago": RunFilter(since="2025", statuses=["CRASHED"]),
            "source_path": RunFilter(source_path="s3"),
            "source_path, long ago": RunFilter(source_path="old"),
        }.items()
    },
}
_SEARCHED = "a search: it passes over the runs that the filter leaves out, in an index where they are large"
_WAITED = "it passes over the runs that were submitted after one whose output has been waiting since"
_SWEPT = "once a day, and only where outputs expire: what is there and younger than that is passed over"
BOUNDED_OTHERWISE: dict[str, tuple[str, Operation]] = {
    "overtaken_by: the oldest": (_WAITED, lambda aged: overtaken(aged, aged.runs)),
    "outputs.written_before: nothing is old": (
        _SWEPT,
        lambda aged: aged.store.outputs.written_before("2025", 20),
    ),
    **{
        f"runs: {name}": (_SEARCHED, listed(wanted, deep=False))
        for name, wanted in {
            "source that few have": RunFilter(source="old"),
            "since and key that has none": RunFilter(since="2025", submitted_by="eve"),
            "attention": RunFilter(attention=0.5),
            "key and status that has none": RunFilter(submitted_by="bob", statuses=["CRASHED"]),
            "key and flow that has none": RunFilter(submitted_by="bob", flow="g"),
        }.items()
    },
}
"""What grows with the history, and why that is accepted."""

_LIMITED = "in the order of its key, up to the limit: see the number of steps"
SCANS = {
    "SCAN runs": _LIMITED,
    "SCAN changes": _LIMITED,
    "SCAN audit": _LIMITED,
    "SCAN notices": _LIMITED,
    "SCAN outputs USING INDEX outputs_kept": _SWEPT,
}


@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_operation_takes_no_more_steps_after_a_longer_history(
    aged: tuple[Aged, Aged], name: str
) -> None:
    (few, _), (many, scans) = [await one.steps(OPERATIONS[name](one)) for one in aged]
    assert many <= 1.2 * few + 50, f"{few} steps after {SHORT} runs, {many} after {LONG}"
    assert scans <= set(SCANS)


@pytest.mark.parametrize("name", BOUNDED_OTHERWISE)
async def test_what_grows_with_the_history_is_known(aged: tuple[Aged, Aged], name: str) -> None:
    _, operation = BOUNDED_OTHERWISE[name]
    (few, _), (many, _) = [await one.steps(operation(one)) for one in aged]
    assert many > 1.2 * few + 50, "it doesn't grow any more: move it to the others"


def is_operation(name: str, method: Any) -> bool:
    """Whether it is a transaction of its own: most are decorated."""
    return hasattr(method, "__wrapped__") or name in ("create", "put_flow", "standbys")


def test_every_operation_is_looked_at() -> None:
    found = {
        prefix + name
        for prefix, part in [("", SqlStore), *((f"{name}.", part) for name, part in PARTS.items())]
        for name, method in inspect.getmembers(part, inspect.iscoroutinefunction)
        if not name.startswith("_") and (is_operation(name, method) or part is Publishing)
    }
    assert found == {name.partition(":")[0] for name in OPERATIONS}

"""The ledger of rejected rows against a model of it: any sequence of runs, mends, replays, discards, reruns."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import pytest
from attrs import evolve
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.states import moved
from local.stores import Stores

from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.ledger import ENDS, STATES, Assignment, Claim, Claimed, RowFilter
from lume_local._runs.store.records import NewRun, StoredRun
from lume_local._shared.row_set import (
    all_rows,
    as_text,
    flags_of,
    of_flags,
    of_text,
    packed,
    placed,
    row_set,
    rows_in,
)

REASONS = ("email: bad", "age: bad", "id: is missing")
FLOWS = ("people", "orders")
PEOPLE = ("", "ann", "bob")


class Row:
    """A rejected row in the model."""

    def __init__(self, reasons: set[str]) -> None:
        self.reasons, self.state = reasons, "open"
        self.assigned: Assignment | None = None


class Rejects:
    """The rejected rows of a run in the model."""

    def __init__(self, run: StoredRun, source: tuple[str, str], rows: list[Row]) -> None:
        self.run, self.source, self.rows, self.is_lost = run, source, rows, False

    def having(self, state: str) -> list[int]:
        shown = {"open": "lost"} if self.is_lost else {}
        return [n for n, row in enumerate(self.rows) if shown.get(row.state, row.state) == state]


class Model:
    """What the ledger should say, row by row, and a store in which the same happens."""

    def __init__(self, store: SqlStore, dice: random.Random) -> None:
        self.store, self.dice = store, dice
        self.rejects: list[Rejects] = []
        self.accounts = dict[tuple[str, str], Counter[str]]()
        self.newest = dict[tuple[str, str], int]()
        self.active: list[tuple[StoredRun, list[tuple[Rejects, list[int]]], bool]] = []
        self.replayed = dict[str, list[tuple[Rejects, int]]]()
        self.number = 0

    # -- what may happen

    async def step(self) -> None:
        choices: list[Callable[[], Awaitable[None]]] = [
            *(self.whole,) * 4,
            *(self.mend,) * 3,
            *(self.claim, self.settle) * 2,
            self.discard,
            self.assign,
            self.remove,
        ]
        await self.dice.choice(choices)()
        await self.check()

    async def whole(self) -> None:
        """A run on a whole source, perhaps once more."""
        flow, source = self.dice.choice(FLOWS), f"/source{self.dice.randrange(3)}"
        run = await self.created(f"{flow}:v{self.dice.randrange(2)}", source, force=True)
        key = (flow, source)
        read, rejected, filtered = self.dice.randrange(8), list[Row](), 0
        if self.dice.random() < 0.15:
            await moved(self.store, run.run_id, "FAILED", finished_at="2026-01-01T00:00:00Z")
            return
        rejected = [self.row() for _ in range(self.dice.randint(0, read))]
        filtered = self.dice.randint(0, read - len(rejected))
        await self.ended(run, read, rejected, filtered)
        self.count(key, read=read, accepted=read - len(rejected) - filtered, filtered=filtered)
        self.enter(run, key, rejected)
        self.newest[key] = max(self.newest.get(key, 0), run.seq)
        for other in self.rejects:
            if other.source == key and other.run.seq < self.newest[key]:
                for row in other.rows:
                    self.close(other, row, "superseded")

    async def mend(self) -> None:
        """A run on corrected rejects of a run: some left out, some split in two."""
        parents = [one.run.run_id for one in self.rejects] + list(self.replayed)
        if not parents:
            return
        parent = self.dice.choice(parents)
        found = next((one for one in self.rejects if one.run.run_id == parent), None)
        places = self.replayed[parent] if found is None else [(found, n) for n in range(len(found.rows))]
        taken = [n for n in range(len(places)) if self.dice.random() < 0.6]
        added = self.dice.randrange(3)
        read = len(taken) + added
        run = await self.created("people:v9", f"/mended{self.number}", metadata={"resubmit_of": parent})
        if self.dice.random() < 0.2:
            await moved(self.store, run.run_id, "CRASHED", finished_at="2026-01-01T00:00:00Z")
            return
        rejected = [self.row() for _ in range(self.dice.randint(0, read))]
        await self.ended(run, read, rejected, mended=as_text(row_set(taken, max(len(places), 1))))
        sources, closed = Counter[tuple[str, str]](), 0
        for n in taken:
            of, row = places[n]
            sources[of.source] += (done := self.close(of, of.rows[row], "mended"))
            closed += done
        touched = {places[n][0].source for n in taken} if found is None else {found.source}
        if found is None:  # of a replay: all of its sources
            touched = {of.source for of, _ in places}
        own = touched.pop() if len(touched) == 1 else ("people", run.source_key)
        for source, count in sources.items():
            self.count(source, added=-count)
        again = len(taken) - closed
        self.count(own, added=read - again, again=again, accepted=read - len(rejected))
        self.enter(run, own, rejected)

    async def claim(self) -> None:
        """A replay begins, or a run on edited rows: it has some of the open rows of several runs of a flow."""
        is_edited = self.dice.random() < 0.4
        flow = self.dice.choice(FLOWS)
        reasons = tuple(self.dice.sample(REASONS, self.dice.randint(1, 3)))
        found = await self.store.ledger.rows(RowFilter(flow, reasons), 0, 3)
        claims, places, start = list[Claim](), list[tuple[Rejects, list[int]]](), 0
        for one in found:
            of = next(each for each in self.rejects if each.run.seq == one.seq)
            claims.append(Claim(one.seq, start, one.rows, is_edited))
            start += one.rows.bit_count()
            places.append((of, list(rows_in(one.rows))))
        if not claims:
            return
        run = await self.created(f"{flow}:v7", f"/replay{self.number}", claims=claims)
        for of, rows in places:
            for row in rows:
                of.rows[row].state = "replaying"
        self.active.append((run, places, is_edited))
        assert await self.store.ledger.is_replay(run.run_id) != is_edited
        with pytest.raises(Claimed):
            await self.created(f"{flow}:v7", f"/replay-again{self.number}", claims=claims[-1:])

    async def settle(self) -> None:
        """A replay ends, one way or another, or a run on edited rows."""
        if not self.active:
            return
        run, places, is_edited = self.active.pop(self.dice.randrange(len(self.active)))
        records = [(of, row) for of, rows in places for row in rows]
        is_done = self.dice.random() < 0.7
        flags = [self.dice.random() < 0.4 for _ in records]
        malformed = [flag and self.dice.random() < 0.3 for flag in flags]
        again = {n: self.row() for n, flag in enumerate(flags) if flag}
        if not is_done:
            await moved(self.store, run.run_id, "CANCELLED", finished_at="2026-01-01T00:00:00Z")
            for of, row in records:
                if of.rows[row].state == "replaying":
                    of.rows[row].state = "open"
            return
        if is_edited:
            await self.edited(run, records)
            return
        total = len(records)

        def as_set(chosen: Callable[[int], bool]) -> str:
            return as_text(row_set(filter(chosen, range(total)), total))

        reasons = {
            reason: as_set(lambda n, reason=reason: n in again and reason in again[n].reasons)  # type: ignore[misc]
            for reason in REASONS
        }
        ledger = {
            "reasons": reasons,
            "rejected": as_set(lambda n: flags[n]),
            "malformed": as_set(lambda n: malformed[n]),
        }
        figures = {"rows_read": total, "rows_mapped": total - sum(flags), "rows_rejected": sum(flags)}
        status = "PARTIAL_FAILED" if again else "SUCCEEDED"
        await moved(
            self.store,
            run.run_id,
            status,
            metrics=figures,
            ledger=ledger,
            finished_at="2026-01-01T00:00:00Z",
        )
        for n, (of, row) in enumerate(records):
            if n in again:
                of.rows[row].reasons = again[n].reasons
                if of.rows[row].state == "replaying":
                    of.rows[row].state = "open"
            else:
                closed = self.close(of, of.rows[row], "replayed")
                self.count(of.source, accepted=1, again=1 - closed)
        in_order = [n for n in again if not malformed[n]] + [n for n in again if malformed[n]]
        if in_order:
            self.replayed[run.run_id] = [records[n] for n in in_order]

    async def edited(self, run: StoredRun, records: list[tuple[Rejects, int]]) -> None:
        """All edited rows are mended; those that are rejected again are rows of the run on them."""
        rejected = [self.row() for _ in range(self.dice.randint(0, len(records)))]
        await self.ended(run, len(records), rejected)
        sources, closed = Counter[tuple[str, str]](), 0
        for of, row in records:
            sources[of.source] += (done := self.close(of, of.rows[row], "mended"))
            closed += done
        (own,) = sources if len(sources) == 1 else [(records[0][0].source[0], run.source_key)]
        for source, count in sources.items():
            self.count(source, added=-count)
        again = len(records) - closed
        self.count(own, added=closed, again=again, accepted=len(records) - len(rejected))
        self.enter(run, own, rejected)

    async def discard(self) -> None:
        state = self.dice.choice(("open", "lost"))
        wanted = RowFilter(self.dice.choice(FLOWS), (self.dice.choice(REASONS),), state=state)
        found = await self.store.ledger.rows(wanted, 0, 2)
        count = await self.store.ledger.discard(found, "ann", "no longer wanted")
        assert count == sum(one.rows.bit_count() for one in found)
        for one in found:
            of = next(each for each in self.rejects if each.run.seq == one.seq)
            for row in rows_in(one.rows):
                self.close(of, of.rows[row], "discarded")

    async def assign(self) -> None:
        """Somebody takes over some open rows, comments on them, or gives them back."""
        found = await self.store.ledger.rows(RowFilter(self.dice.choice(FLOWS)), 0, 3)
        found = [evolve(one, rows=one.rows & self.dice.getrandbits(one.count)) for one in found]
        to = Assignment(self.dice.choice(PEOPLE), self.dice.choice(("", "asked")))
        count = await self.store.ledger.assign(found, to, "server") if found else 0
        assert count == sum(one.rows.bit_count() for one in found)
        for one in found:
            of = next(each for each in self.rejects if each.run.seq == one.seq)
            for row in rows_in(one.rows):
                of.rows[row].assigned = to if any(to) else None

    async def remove(self) -> None:
        """The rejects of a run are removed; or they are back, after somebody had put them away."""
        if not self.rejects:
            return
        of = self.dice.choice(self.rejects)
        of.is_lost = not of.is_lost
        await self.store.ledger.set_lost(of.run.run_id, is_lost=of.is_lost)

    # -- the model

    def row(self) -> Row:
        return Row(set(self.dice.sample(REASONS, self.dice.randint(1, 2))))

    def count(self, source: tuple[str, str], **figures: int) -> None:
        for key in (source, (source[0], "")):
            self.accounts.setdefault(key, Counter()).update(figures)

    def enter(self, run: StoredRun, source: tuple[str, str], rows: list[Row]) -> None:
        if rows:
            self.rejects.append(Rejects(run, source, rows))

    def close(self, of: Rejects, row: Row, state: str) -> int:
        if row.state not in ("open", "replaying"):
            return 0
        row.state, row.assigned = state, None
        self.count(of.source, **{state: 1})
        return 1

    # -- the store

    async def created(
        self, ref: str, source: str, *, force: bool = False, metadata: Any = None, claims: Any = ()
    ) -> StoredRun:
        self.number += 1
        new = NewRun(ref, source, source, metadata, force, None, "x")
        run, _ = await self.store.create(new, claims)
        return run

    async def ended(
        self, run: StoredRun, read: int, rejected: list[Row], filtered: int = 0, **more: str
    ) -> None:
        counts = Counter(reason for row in rejected for reason in row.reasons)
        figures = {
            "rows_read": read,
            "rows_mapped": read - len(rejected) - filtered,
            "rows_rejected": len(rejected),
            "rows_filtered": filtered,
            "reject_reasons": dict(counts),
        }
        sets = {
            reason: None
            if counts[reason] == len(rejected)
            else as_text(
                row_set((n for n, row in enumerate(rejected) if reason in row.reasons), len(rejected))
            )
            for reason in counts
        }
        await moved(
            self.store,
            run.run_id,
            "PARTIAL_FAILED" if rejected else "SUCCEEDED",
            metrics=figures,
            ledger={"reasons": sets, **more},
            finished_at="2026-01-01T00:00:00Z",
        )

    # -- do both agree?

    async def check(self) -> None:
        ledger = self.store.ledger
        expected = Counter[tuple[str, str | None]]()
        lost = Counter[str]()
        for of in self.rejects:
            for row in of.rows:
                if row.state in ("open", "replaying"):
                    if of.is_lost:
                        lost[of.source[0]] += 1
                    else:
                        expected[of.source[0], None] += 1
                        expected.update((of.source[0], reason) for reason in row.reasons)
        found = {(one.flow, one.reason): one.open for one in await ledger.inbox(None, "2026-01-01")}
        with_lost = dict.fromkeys(((flow, None) for flow in lost), 0)
        assert found == with_lost | {key: count for key, count in expected.items() if count}
        for (flow, source), figures in self.accounts.items():
            account = await ledger.account(flow, source or None)
            assert account.closes, (flow, source, account)
            for name in ("read", "added", "again", "accepted", "filtered", *STATES[3:]):
                assert getattr(account, name) == figures[name], (flow, source, name, account, figures)
        for flow in FLOWS:
            account = await ledger.account(flow)
            assert (account.open, account.lost) == (expected[flow, None], lost[flow])
        for state in STATES:
            rows = {
                one.seq: list(rows_in(one.rows)) for one in await ledger.rows(RowFilter(state=state), 0, 9999)
            }
            assert rows == {of.run.seq: having for of in self.rejects if (having := of.having(state))}, state
        for of in self.rejects:
            fate = await ledger.fate(of.run.run_id)
            assert fate is not None
            assert list(rows_in(fate.free)) == of.having("open")
            if not of.is_lost:
                assert list(rows_in(fate.claimed)) == of.having("replaying")
            ended = {row: one.state for one in fate.endings for row in rows_in(one.rows)}
            assert ended == {n: row.state for n, row in enumerate(of.rows) if row.state in ENDS}
            reasons = await ledger.reasons(of.run.seq)
            for reason in REASONS:
                having = [n for n, row in enumerate(of.rows) if reason in row.reasons]
                assert list(rows_in(reasons.get(reason, 0))) == having
            assignments = await ledger.assignments(of.run.seq)
            given = {row: to for to, rows in assignments.items() for row in rows_in(rows)}
            assert given == {n: row.assigned for n, row in enumerate(of.rows) if row.assigned}
        for person in PEOPLE[1:]:
            wanted = RowFilter(assignee=person)
            theirs = {one.seq: list(rows_in(one.rows)) for one in await ledger.rows(wanted, 0, 9999)}
            rows_of = {
                of.run.seq: [
                    n for n in of.having("open") if (to := of.rows[n].assigned) and to.assignee == person
                ]
                for of in self.rejects
            }
            assert theirs == {seq: numbers for seq, numbers in rows_of.items() if numbers}
        for flow in FLOWS:
            counts = Counter(
                (row.assigned.assignee, reason)
                for of in self.rejects
                for row in of.rows
                for reason in row.reasons
                if of.source[0] == flow and row.assigned
            )
            assert await ledger.assignees(flow) == counts


@examples(80)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 40))
async def test_the_ledger_is_what_a_model_says(
    tmp_path_factory: pytest.TempPathFactory, seed: int, steps: int
) -> None:
    with closing(SqliteStore(tmp_path_factory.mktemp("ledger") / "runs.sqlite")) as store:
        await follow(store, seed, steps)


@pytest.mark.thorough
@examples(3)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 40))
async def test_the_ledger_in_postgresql_is_the_same(in_postgresql: Stores, seed: int, steps: int) -> None:
    async with in_postgresql.opened() as store:
        await follow(store, seed, steps)


async def follow(store: SqlStore, seed: int, steps: int) -> None:
    # Not drawn: the ids of runs, and so their order, are not the same.
    model = Model(store, random.Random(seed))
    for _ in range(steps):
        await model.step()


async def test_a_run_with_many_reasons_takes_no_more_statements(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = list[int]()
    for name in ("rows", "row", "one", "change", "changed"):
        monkeypatch.setattr(store.sql, name, counted(getattr(store.sql, name), counts))
    each = [await statements_of(store, f"flow{reasons}", reasons, counts) for reasons in (3, 60)]
    assert each[0] == each[1]


def counted(method: Callable[..., Any], counts: list[int]) -> Callable[..., Any]:
    def called(*args: Any) -> Any:
        counts[-1] += 1
        return method(*args)

    return called


async def statements_of(store: SqlStore, flow: str, reasons: int, counts: list[int]) -> list[int]:
    """How many statements end a run, and a run on the same source, a replay and a discard of its rejects take."""
    rejected = [Row({f"column: reason {n}"}) for n in range(reasons)]
    counts.clear()
    model = Model(store, random.Random(1))
    for _ in range(2):
        counts.append(0)
        run = await model.created(f"{flow}:v1", "/source", force=True)
        await model.ended(run, reasons, rejected)
    counts.append(0)
    all_of_it = all_rows(reasons)
    replay = await model.created(
        f"{flow}:v2", "/replay", claims=[Claim(run.seq, 0, all_of_it, is_edited=False)]
    )
    found = {f"column: other {n}": as_text(1 << n) for n in range(reasons)}
    await moved(
        store,
        replay.run_id,
        "PARTIAL_FAILED",
        metrics={"rows_read": reasons, "rows_mapped": 0, "rows_rejected": reasons},
        ledger={"reasons": found, "rejected": as_text(all_of_it), "malformed": as_text(0)},
        finished_at="2026-01-01T00:00:00Z",
    )
    counts.append(0)
    assert await store.ledger.discard(await store.ledger.rows(RowFilter(flow), 0, 9), "ann", "") == reasons
    assert [one.opened for one in await store.ledger.days(flow, None, "2026-01-01")] == [2 * reasons]
    return [*counts]


async def test_a_set_takes_less_than_a_bit_for_each_row() -> None:
    rows = 1_000_000
    for chosen in (all_rows(rows), row_set(range(0, rows, 2), rows), random.Random(1).getrandbits(rows)):
        assert of_text(as_text(chosen)) == chosen
        assert len(packed(chosen)) <= rows / 8 * 1.01


@given(st.integers(0, 2**80), st.integers(0, 2**80))
def test_what_is_placed_among_rows(picked: int, among: int) -> None:
    rows = list(rows_in(among))
    expected = [row for n, row in enumerate(rows) if picked >> n & 1]
    assert list(rows_in(placed(picked, among))) == expected
    assert of_flags(flags_of(among, 81)) == among

"""Rejects of runs that somebody has removed or put back are found, in batches."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lume_local._runs.recovery import old_files
from lume_local._runs.recovery.old_files import LostRejects
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import NewRun

AT_ONCE = 20
RUNS = 2 * AT_ONCE + 5


async def test_rejects_of_many_runs_are_looked_for_in_batches(
    store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement and one visit to a thread for each, whatever the runs have written, and a pause after it."""
    threads, pauses = list[int](), list[float]()

    async def in_thread(look: Callable[..., Any], found: Sequence[Any]) -> Any:
        threads.append(len(found))
        return look(found)

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(old_files, "run_sync", in_thread)
    monkeypatch.setattr(old_files, "sleep", pause)
    monkeypatch.setattr(old_files, "_RUNS_AT_ONCE", AT_ONCE)
    (here := tmp_path / "here.csv").touch()
    away = tmp_path / "away.csv"
    places = [(here, "1-1"), (away, "1-1"), (away, ""), ("s3://b/c", "1-1"), (None, None)]
    for n in range(RUNS):
        await rejecting(store, n, *places[n % len(places)])

    async def lost() -> Counter[object]:
        found = await store.ledger.unended(0, 2 * RUNS)
        assert len(found) == RUNS
        return Counter(one.location for one in found if one.is_lost)

    search = LostRejects(store)
    assert [await search.check() for _ in range(4)] == [AT_ONCE, AT_ONCE, 5, 0]
    assert threads == [AT_ONCE, AT_ONCE, 5]
    assert len(pauses) == 3
    assert min(pauses) > 0
    assert await lost() == {str(away): RUNS // len(places)}
    away.touch()
    here.unlink()
    with monkeypatch.context() as patch:
        statements = counted(store, patch)
        assert await search.check() == AT_ONCE
        assert statements == {"single": 1, "write": 2 * AT_ONCE // len(places)}
    while await search.check():
        pass
    assert await lost() == {str(here): RUNS // len(places)}


async def rejecting(store: SqlStore, n: int, place: object, identity: str | None) -> None:
    run, _ = await store.create(NewRun("people:v1", f"{n}", f"/{n}", None, False, None, ""))
    await store.update(
        run,
        "PARTIAL_FAILED",
        metrics={"rows_read": 2, "rows_rejected": 1, "reject_reasons": {"no": 1}},
        finished_at="2026-01-01T00:00:00.000000Z",
        target_locations={"rejects": place and str(place)},
        outputs=None if identity is None else {"rejects": identity},
    )


def counted(store: SqlStore, patch: pytest.MonkeyPatch) -> Counter[str]:
    """How many operations of each kind the store carries out."""
    kinds = Counter[str]()

    def counting(name: str) -> Callable[..., Any]:
        work = getattr(store.sql, name)

        async def operation(given: Callable[..., Any]) -> Any:
            kinds[name] += 1
            return await work(given)

        return operation

    for name in ("single", "read", "write"):
        patch.setattr(store.sql, name, counting(name))
    return kinds

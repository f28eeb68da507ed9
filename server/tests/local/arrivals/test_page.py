"""`GET /v1/arrivals` with many arrivals, files and runs: what it reads is what it shows."""

from types import SimpleNamespace
from typing import Any

import pytest
from local.arrivals.site import arrival_of
from local.states import moved

from lume_local._arrivals.place import ArrivalEntry
from lume_local._arrivals.watcher import WaitingFile
from lume_local._http.server_operations import ArrivalsApi
from lume_local._runs.sql import sql_store
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.arrived import Arrived, Move
from lume_local._runs.store.records import NewRun

NAMES = ("a", "b", "c")
FILES = 30


def watcher(name: str, number: int) -> Any:
    """One whose files were noticed in turns with those of the others."""
    arrival = arrival_of(name=f'"{name}"')
    files = {
        n: WaitingFile(
            ArrivalEntry(f"in/{name}{n}", "s", 1, 0.0), float(-n * len(NAMES) - number), None, "it waits"
        )
        for n in range(FILES)
    }
    return SimpleNamespace(arrival=arrival, watched="inotify", trouble="", waiting=files.values())


async def page(store: SqlStore, **query: str) -> list[str]:
    watchers = [watcher(name, number) for number, name in enumerate(NAMES)]
    arrivals: Any = SimpleNamespace(watchers=watchers, problem="")
    flows: Any = None  # only a change of an arrival asks for them
    api: Any = ArrivalsApi(arrivals, store, flows)
    reply = await api.page(SimpleNamespace(query=list(query.items())))
    assert [one["waiting"] for one in reply.document["arrivals"]] == [FILES] * len(NAMES)
    for one in reply.document["files"]:
        assert one["path"].startswith(f"in/{one['arrival']}")
    return [one["path"] for one in reply.document["files"]]


async def test_a_page_has_the_first_of_all_arrivals(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [f"in/{name}{n}" for n in range(FILES) for name in (*NAMES, "other")]
    for path in paths:
        arrived = Arrived(path[3] if path[3] in NAMES else "other", path, "s", b"x")
        await store.create(NewRun("f:v1", path, f"/{path}", None, False, None, "", arrived=arrived))
    read, stored_run = list[Any](), sql_store.stored_run

    def counted(row: Any) -> Any:
        read.append(row)
        return stored_run(row)

    monkeypatch.setattr(sql_store, "stored_run", counted)
    own = [path for path in paths if path[3] in NAMES]
    assert await page(store, state="submitted", limit="10") == own[:-11:-1]
    assert len(read) == 10, "not ten of each arrival"
    assert await page(store, state="submitted", limit="1000") == own[::-1]
    assert await page(store, state="submitted", name="b", limit="2") == ["in/b29", "in/b28"]
    assert await page(store, state="waiting", limit="4") == ["in/c29", "in/b29", "in/a29", "in/c28"]
    assert await page(store, state="waiting", name="a", limit="2") == ["in/a29", "in/a28"]


async def test_where_files_lie_that_were_put_aside(store: SqlStore) -> None:
    assert await store.arrivals.put_aside([]) == {}
    ids = []
    for name in ("x", "y"):
        arrived = Arrived("a", f"in/{name}", "s", name.encode(), move=True)
        new = NewRun("f:v1", f"in/{name}", f"/in/{name}", None, False, None, "", arrived=arrived)
        run, _ = await store.create(new)
        await moved(store, run.run_id, "FAILED")
        (move,) = await store.arrivals.moves("a", run.run_id)
        assert isinstance(move, Move)
        await store.arrivals.moved(move, is_gone=name == "x", aside="in/q/x" if name == "x" else "")
        ids.append(run.run_id)
    assert await store.arrivals.put_aside(ids) == {ids[0]: "in/q/x"}

"""Worker processes serve run after run, as long as every run leaves them as it found them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from forked import altered
from local.flows import PEOPLE_CSV, people
from local.processes import gone, own_workers
from local.servers import serve

from lume_local._runs.workers import child, worker, worker_pool
from lume_local._runs.workers.worker import NotFinished, Worker
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._serve.serve import owned
from lume_local._shared.commit import begin, commit
from lume_local._shared.protocol import Check, Checked, Done, Event, Execute, Failed, Outcome, Refused

pytestmark = pytest.mark.usefixtures("only_own_workers_count")

ODD_RUNS = """
import os, threading, time
from lume_local._worker import main as _worker

class Odd:
    def __init__(self, connection, job, enter, pause, permit):
        self.connection, self.job, self.enter = connection, job, enter

    def execute(self):
        self.enter("TRANSFORMING", None)
        answers = []
        for sql in self.job.flow["ask"]:
            try:
                answers.append(self.connection.execute(sql).fetchall())
            except Exception as error:
                answers.append(type(error).__name__)
        exec(self.job.flow["do"], dict(vars(_worker), con=self.connection, os=os, time=time, kept=_worker.__dict__))
        return dict(answers=answers)

class Shown(_worker.Leash):
    def __init__(self):
        super().__init__()
        _worker.leash = self

_worker.Leash = Shown
_worker.Context, _worker.one_process.execute = Odd, lambda context, place: context.execute()
_worker.main()
"""
"""A worker whose runs do what the test says, instead of a flow."""


@pytest.fixture
async def odd(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkerPool]:
    """A pool of one worker that does odd runs."""
    monkeypatch.setattr(child, "default_start", altered(lambda _: ODD_RUNS))
    async with owned(WorkerPool().running(), "pool") as pool:
        yield pool


def job(folder: Path, *questions: str, do: str = "", **places: dict[str, Any]) -> Execute:
    """A run that asks these questions and then does that."""
    flow = {"columns": [], "ask": questions, "do": do, "seeds": []}
    source, mapped, rejects = (
        places.get("source", {"kind": "odd"}),
        places.get("mapped", {}),
        places.get("rejects", {}),
    )
    return Execute("run_1", flow, source, str(folder / "run"), mapped, rejects, 10**9, 2)


async def ask(
    pool: WorkerPool, folder: Path, *questions: str, do: str = "", **places: dict[str, Any]
) -> tuple[int, Event | None]:
    """One run in a pool: the process that did it, and its last event."""
    taken = await pool.take()
    event = None
    async for event in taken.run(job(folder, *questions, do=do, **places)):
        if isinstance(event, Outcome):
            break
    else:
        print(await taken.death())  # shown with a failure
    await pool.release(taken)
    return taken.pid, event


async def test_never_more_processes_than_runs_may_be_active(home: Path) -> None:
    async with serve(home, max_active=3) as wire:
        for n in range(12):
            (home / f"{n}.csv").write_text(PEOPLE_CSV)
        runs = await asyncio.gather(*(wire.run("people:v1", f"{n}.csv") for n in range(12)))
        assert {run["status"] for run in runs} == {"SUCCEEDED"}
        assert len(own_workers()) <= 3


async def test_a_process_ends_after_so_many_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MOST_RUNS", 2)
    async with serve(home, max_active=1) as wire:
        (first,) = own_workers()
        await wire.run("people:v1", "people.csv")
        assert own_workers() == [first]
        await wire.run("people:v1", "people.csv", force_rerun=True)
        assert await gone([first])
        assert (await wire.run("people:v1", "people.csv", force_rerun=True))["status"] == "SUCCEEDED"


async def test_a_variable_that_is_set_later_is_seen_by_the_next_run(
    odd: WorkerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the process was idle or a spare one."""

    def sees(value: str | None) -> str:
        return f"assert os.environ.get('AWS_REGION') == {value!r}"

    first, event = await ask(odd, tmp_path, do=sees(None))
    assert isinstance(event, Done)
    monkeypatch.delenv("AWS_REGION", raising=False)
    for n, value in enumerate(["one", "two"]):
        monkeypatch.setenv("AWS_REGION", value)
        monkeypatch.setenv("PYTEST_CURRENT_TEST", f"another one {n}")
        second, event = await ask(odd, tmp_path, do=sees(value))
        assert isinstance(event, Done)
        assert second != first
        monkeypatch.setenv("PYTEST_CURRENT_TEST", "and one more")
        assert (await ask(odd, tmp_path, do=sees(value)))[0] == second, (
            "nothing that concerns a run has changed"
        )
        first = second
    monkeypatch.delenv("AWS_REGION")
    _, event = await ask(odd, tmp_path, do=sees(None))
    assert isinstance(event, Done)


async def test_a_run_gets_the_databases_that_it_names_and_no_other(
    odd: WorkerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://app:secret@db.example/app"
    for name in ("FIRST_URL", "SECOND_URL", "THIRD_URL"):
        monkeypatch.setenv(name, f"{url}-{name}")

    async def sees(*names: str, **places: dict[str, Any]) -> int:
        seen = f"{{name for name in os.environ if name.endswith('_URL')}} == {set(names)!r}"
        pid, event = await ask(odd, tmp_path, do=f"assert {seen}", **places)
        assert isinstance(event, Done), event
        return pid

    first = await sees("FIRST_URL", source={"kind": "odd", "url_env": "FIRST_URL"})
    monkeypatch.setenv("SECOND_URL", f"{url}-changed")  # no reason for another process
    assert await sees(
        "SECOND_URL", "THIRD_URL", mapped={"url_env": "SECOND_URL"}, rejects={"url_env": "THIRD_URL"}
    )
    assert await sees() == first, "what one run was lent is not left to the next"


async def test_the_secrets_of_the_server_are_not_in_the_environment_of_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the variables are called that it has them from."""
    secrets = {"MY_KEY": "an-api-key-of-mine", "HOOKS": "whisper", "CLUSTER": "sc://spark:15002/;token=abc"}
    others = {
        "BROKER": "amqp://user:pw@broker/",
        "DATABASE_URL": "sqlite:////srv/a.db",
        "LUME_WEBHOOK_SECRET": "x",
        "LUME_API_KEY": "y",
    }
    kept = {
        "HTTPS_PROXY": "http://user:pw@proxy:3128",
        "PLAIN": "https://user@example.org/a:b@c",
        "TZ": "UTC",
    }
    for name, value in (secrets | others | kept).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(child, "default_start", altered(lambda _: ODD_RUNS))
    pool = WorkerPool(secrets=lambda: secrets.values())
    async with owned(pool.running(), "pool"):
        names = [*secrets, *others, *kept]
        seen = f"[name for name in {names!r} if name in os.environ] == {[*kept]!r}"
        _, event = await ask(pool, tmp_path, do=f"assert {seen}, list(os.environ)")
    assert isinstance(event, Done), event


async def test_a_spare_process_of_another_environment_is_not_handed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with WorkerPool().running() as pool:
        pool.warm()
        assert pool._spare is not None
        await pool._spare.settled.wait()
        spare = pool._spare.found
        monkeypatch.setenv("AWS_REGION", "one")
        taken = await pool.take()
        assert taken is not spare
        assert pool.size == 1


@pytest.mark.thorough
async def test_a_process_that_keeps_memory_ends(odd: WorkerPool, tmp_path: Path) -> None:
    first, _ = await ask(odd, tmp_path, do="kept['hoard'] = bytes([1]) * 400_000_000")
    second, _ = await ask(odd, tmp_path)
    third, _ = await ask(odd, tmp_path, do="bytes([1]) * 400_000_000")  # given back: no reason to end
    fourth, _ = await ask(odd, tmp_path)
    assert first != second == third == fourth


@pytest.mark.thorough
@pytest.mark.usefixtures("real_processes")
async def test_nothing_in_the_database_outlives_a_run(odd: WorkerPool, tmp_path: Path) -> None:
    dirt = """
for sql in ("SET threads=1", "SET memory_limit='77MB'", "SET TimeZone='Asia/Tokyo'",
            "SET SESSION search_path='pg_catalog'", "SET VARIABLE mine=7", "SET default_order='DESC'",
            "SET disabled_optimizers=''", "CREATE TEMP TABLE mine AS SELECT 1 AS a",
            "CREATE MACRO memory.main.mine(a) AS a + 1",
            "CREATE TEMP MACRO lower(a) AS 'mine'", "ATTACH ':memory:' AS other", "PREPARE mine AS SELECT 1",
            "CREATE SCHEMA memory.mine", "BEGIN", "SET GLOBAL enable_external_access=false",
            "SET lock_configuration=true"):
    con.execute(sql)
"""
    questions = [
        "SELECT name, value FROM duckdb_settings() ORDER BY name",
        "SELECT extension_name, loaded, installed FROM duckdb_extensions() ORDER BY ALL",
        "SELECT database_name FROM duckdb_databases() ORDER BY ALL",
        "SELECT schema_name FROM duckdb_schemas() ORDER BY ALL",
        "SELECT function_name FROM duckdb_functions() WHERE NOT internal",
        "SELECT getvariable('mine'), lower('A')",
        "FROM mine",
        "EXECUTE mine",
    ]
    before, clean = await ask(odd, tmp_path, *questions)
    between, did = await ask(odd, tmp_path, do=dirt)
    after, again = await ask(odd, tmp_path, *questions)
    assert isinstance(did, Done)
    assert before == between == after
    assert clean == again
    assert isinstance(again, Done)
    assert again.record["answers"][-3:] == [[[None, "a"]], "CatalogException", "BinderException"]


async def test_an_error_that_nobody_expected_is_told_in_its_own_words(
    odd: WorkerPool, tmp_path: Path
) -> None:
    taken = await odd.take()
    async for _ in taken.run(job(tmp_path, do="raise KeyError('a mistake of the engine')")):
        pass
    assert await taken.death() == (
        "the worker process ended with exit code 1: KeyError: 'a mistake of the engine'"
    )
    await odd.release(taken)


async def test_a_line_that_is_not_of_the_protocol_ends_the_process(odd: WorkerPool, tmp_path: Path) -> None:
    taken = await odd.take()
    taken._stdin.write(b'{"job": "dance"}\n')
    async for _ in taken.run(job(tmp_path)):
        pass
    assert "ProtocolError: " in await taken.death()
    await odd.release(taken)


DIRT = (
    "os.chdir('/')",
    "os.environ['TZ'] = 'Asia/Tokyo'",
    "kept['file'] = open(os.devnull)",
    "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "raise RunBroke('DuckDB gave up')",
    "raise duckdb.InterruptException('by itself')",
    "raise KeyError('a mistake of the engine')",
    "os._exit(3)",
    "os.kill(os.getpid(), 9)",
    "os.kill(os.getpid(), 11)",
    "leash.cancelled.set()",
)


async def test_what_is_odd_ends_the_process(odd: WorkerPool, tmp_path: Path) -> None:
    ended = [(await ask(odd, tmp_path, do=dirt))[0] for dirt in DIRT]
    assert len({*ended}) == len(DIRT)
    last, event = await ask(odd, tmp_path)
    assert last not in ended
    assert isinstance(event, Done)
    assert await gone(ended)


async def test_a_failure_that_is_explained_is_an_ordinary_end(odd: WorkerPool, tmp_path: Path) -> None:
    first, event = await ask(odd, tmp_path, do="raise RunFailed('the header lacks a column')")
    second, _ = await ask(odd, tmp_path)
    assert event == Failed("the header lacks a column", None)
    assert first == second


async def test_a_process_that_does_not_get_ready_again_is_killed(
    odd: WorkerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PATIENCE", 0.2)
    first, event = await ask(odd, tmp_path, do="kept['Instances'].prepare = lambda self: time.sleep(60)")
    assert isinstance(event, Done)
    assert await gone([first])
    assert (await ask(odd, tmp_path))[0] != first


async def test_a_cancel_that_comes_too_late_does_not_reach_the_next_run(
    odd: WorkerPool, tmp_path: Path
) -> None:
    taken = await odd.take()
    async for event in taken.run(job(tmp_path)):
        if isinstance(event, Done):
            break
    releasing = asyncio.create_task(odd.release(taken))
    await taken.cancel()
    await releasing
    assert not taken.is_alive
    assert isinstance((await ask(odd, tmp_path))[1], Done)


async def test_after_a_quiet_while_one_spare_process_is_left(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "QUIET", 0.01)
    async with WorkerPool(3).running() as pool:
        taken = [await pool.take() for _ in range(3)]
        for one in taken:
            await pool.release(one)
        assert await gone([one.pid for one in taken[:2]])
        assert taken[2].is_alive
        assert (await pool.take()) is taken[2]
    assert not any(one.is_alive for one in taken)


async def test_the_use_of_a_worker_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    naps = []
    real = anyio.sleep_until
    monkeypatch.setattr(anyio, "sleep_until", lambda deadline: naps.append(deadline) or real(deadline))
    async with WorkerPool().running() as pool:
        for _ in range(20):
            await pool.release(await pool.take())
            await anyio.sleep(0)
        assert len(naps) == 1, "the next look for surplus workers"


async def test_a_spare_process_that_is_dead_is_not_handed_out() -> None:
    async with WorkerPool().running() as pool:
        dead: Worker = await pool.take()
        await pool.release(dead)
        os.kill(dead.pid, signal.SIGKILL)
        assert await gone([dead.pid])
        while dead.is_alive:
            await asyncio.sleep(0.01)
        assert (await pool.take()) is not dead


UNKNOWN_KIND = """
from pathlib import Path
from lume_local._worker import main as _worker
from lume_local._worker.targets import target_kinds
from lume_local._worker.targets.target import TargetError

class Note:
    def publish(step):
        Path(step["path"]).open("a").write("published ")
        if waits := step.get("waits_for"):
            Path(waits).read_text()
        if step.get("refuse"):
            raise TargetError("the table is gone")

    def abandon(step):
        Path(step["path"]).open("a").write("abandoned ")

target_kinds.KINDS["note"] = Note
_worker._HEARTBEAT = 0.05
_worker.main()
"""


async def test_a_worker_finishes_what_another_process_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "note"
    step = {"kind": "note", "path": str(note)}
    begin(tmp_path, step)
    monkeypatch.setattr(child, "default_start", altered(lambda _: UNKNOWN_KIND))
    async with WorkerPool().running() as pool, pool.worker() as taken:
        await taken.finish(tmp_path)
        assert note.read_text() == "abandoned "
        commit(tmp_path, {"steps": [step]})
        await taken.finish(tmp_path)
        await taken.finish(tmp_path)
        assert note.read_text() == "abandoned published published "
        commit(tmp_path, {"steps": [{**step, "refuse": True}]})
        with pytest.raises(NotFinished, match="the table is gone"):
            await taken.finish(tmp_path)
        checked = await taken.answer(Check(people()), Checked, Refused, 20.0, None)
        assert isinstance(checked, Checked), "it has served no run, and can"


async def test_a_load_that_is_taken_over_may_last_as_long_as_its_process_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour of the server's clock passes; then the process is silent for longer than a run's may be."""
    loop, passed, beats, event_of = asyncio.get_running_loop(), 0.0, 0, Worker._event
    clock = loop.time
    monkeypatch.setattr(loop, "time", lambda: clock() + passed)

    async def counted_event(self: Worker) -> Event | None:
        nonlocal beats
        event = await event_of(self)
        beats += 1
        return event

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    commit(tmp_path, {"steps": [{"kind": "note", "path": str(tmp_path / "note"), "waits_for": str(pipe)}]})
    monkeypatch.setattr(child, "default_start", altered(lambda _: UNKNOWN_KIND))
    async with WorkerPool().running() as pool, pool.worker() as taken:
        monkeypatch.setattr(Worker, "_event", counted_event)
        finishing = asyncio.create_task(taken.finish(tmp_path))
        while passed < 3600:
            before, passed = beats, passed + worker.SILENCE - 10
            while beats == before:
                await asyncio.sleep(0.001)
        pipe.write_text("")
        await finishing
        finishing = asyncio.create_task(taken.finish(tmp_path))
        while (tmp_path / "note").read_text().count("published") < 2:
            await asyncio.sleep(0.001)
        os.kill(taken.pid, signal.SIGSTOP)
        while not finishing.done():
            passed += worker.SILENCE + 1
            await asyncio.sleep(0.01)
        with pytest.raises(NotFinished, match="did not respond for 60 s"):
            await finishing
        assert await gone([taken.pid])

"""A batch that is left and begun again at once, and one whose journal fails: nothing lost, nobody complains."""

import asyncio
import gc
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_service import Service, client_of, other_tasks

from lume_async import ConfigurationError, JournalError, LumeRun, Outcome, RunRequest
from lume_async._batch import journal as journal_module
from lume_async._batch.journal import Journal, Recorder

REQUESTS = [RunRequest("f:v1", f"s{n}", {"n": n}, force_rerun=True) for n in range(30)]


@pytest.fixture
async def complaints() -> list[dict[str, Any]]:
    """What the event loop would log."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: found.append(context))
    return found


@pytest.mark.parametrize("name", ["", ":memory:", "file:x?mode=memory"])
def test_a_name_that_keeps_nothing_is_refused_before_the_first_step(name: str) -> None:
    with pytest.raises(ConfigurationError, match="does not name a file"):
        client_of(Service()).run_many([], journal=name)


@pytest.mark.thorough
async def test_left_and_begun_again_at_once(tmp_path: Path) -> None:
    service = Service(capabilities=["idempotency"])
    client = client_of(service)
    for _ in range(20):
        async for _outcome in client.run_many(REQUESTS, journal=tmp_path / "j.db", max_active=5):
            break
    outcomes = [outcome async for outcome in client.run_many(REQUESTS, journal=tmp_path / "j.db")]
    assert len(outcomes) == len(service.created) == 30
    gc.collect()
    assert not other_tasks()


@pytest.mark.thorough
async def test_cancelled_at_any_moment_and_begun_again_at_once(tmp_path: Path) -> None:
    service = Service(capabilities=["idempotency"])
    client = client_of(service)

    async def all_of_them() -> list[Outcome[LumeRun]]:
        return [
            outcome async for outcome in client.run_many(REQUESTS, journal=tmp_path / "j.db", max_active=5)
        ]

    for ticks in range(0, 60, 3):
        batch = asyncio.ensure_future(all_of_them())
        for _ in range(ticks):
            await asyncio.sleep(0)
        batch.cancel()
    await asyncio.gather(batch, return_exceptions=True)
    assert len(await all_of_them()) == len(service.created) == 30


def test_a_loop_that_ends_and_another_that_begins(tmp_path: Path) -> None:
    """Ctrl-C, in a program that starts anew."""
    service = Service(capabilities=["idempotency"])
    client = client_of(service)

    async def interrupted() -> None:
        async for _outcome in client.run_many(REQUESTS, journal=tmp_path / "j.db", max_active=5):
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0)  # what is ready needs no wait, in which to hear of it

    async def whole() -> int:
        return len([outcome async for outcome in client.run_many(REQUESTS, journal=tmp_path / "j.db")])

    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(interrupted())
    assert asyncio.run(whole()) == len(service.created) == 30


async def test_a_batch_that_keeps_its_journal_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lume_async._batch.journal_file.CLOSING", 0.01)
    client = client_of(Service())
    first = client.run_many(REQUESTS, journal=tmp_path / "j.db", max_active=2)
    await anext(first)
    with pytest.raises(ConfigurationError, match="in use by this process: end the run_many that uses it"):
        await anext(client.run_many(REQUESTS, journal=tmp_path / "j.db"))
    await first.aclose()
    assert not other_tasks()


# A journal that fails


@pytest.mark.thorough
@pytest.mark.parametrize("pages", range(3, 6))
async def test_a_disk_that_fills_up_ends_the_batch_and_loses_nothing(
    tmp_path: Path, pages: int, monkeypatch: pytest.MonkeyPatch, complaints: list[dict[str, Any]]
) -> None:
    service, path = Service(capabilities=["idempotency"]), tmp_path / "j.db"
    client = client_of(service)
    requests = [RunRequest("f:v1", f"s{n}", {"n": str(n) * 40}, force_rerun=True) for n in range(100)]
    opened = Journal.open

    def small(path: str, home: object) -> Journal:
        journal = opened(path)
        journal._connection.execute(f"PRAGMA max_page_count = {pages}")
        return journal

    monkeypatch.setattr(Journal, "open", small)
    seen = []
    with pytest.raises(JournalError, match="disk is full"):
        async for outcome in client.run_many(requests, journal=path, max_active=8):
            seen.append(outcome)
    assert not other_tasks()
    monkeypatch.undo()
    again = [outcome async for outcome in client.run_many(requests, journal=path)]
    assert {outcome.result().id for outcome in seen} <= {outcome.result().id for outcome in again}
    assert len(again) == len(service.created) == 100
    gc.collect()
    assert complaints == []


async def test_a_damaged_entry_ends_the_batch_before_anything_is_sent(
    tmp_path: Path, complaints: list[dict[str, Any]]
) -> None:
    service, path = Service(), tmp_path / "j.db"
    client = client_of(service)
    assert len([outcome async for outcome in client.run_many(REQUESTS, journal=path)]) == 30
    journal = Journal.open(path)
    journal._connection.execute("UPDATE entries SET body = zeroblob(40) WHERE item = 7 AND kind & 7 = 4")
    journal.close()
    service.log.clear()
    with pytest.raises(JournalError, match=r"damaged \(an entry of item 8\): restore it"):
        async for _outcome in client.run_many(REQUESTS, journal=path):
            pass
    assert service.log == []
    gc.collect()
    assert complaints == []


async def test_nobody_hears_of_a_call_that_fails_when_its_caller_is_gone(
    tmp_path: Path, complaints: list[dict[str, Any]]
) -> None:
    recorder = await Recorder.open(tmp_path / "j.db")
    go_on = threading.Event()

    def fails(_journal: Journal) -> None:
        go_on.wait(10)
        raise JournalError("full")

    waiting = asyncio.ensure_future(recorder.record(fails))
    await asyncio.sleep(0)
    waiting.cancel()
    go_on.set()
    await recorder.aclose()
    assert waiting.cancelled()
    del waiting
    gc.collect()
    assert complaints == []


async def test_an_opening_that_is_cancelled_leaves_the_journal_free(tmp_path: Path) -> None:
    for ticks in range(6):
        opening = asyncio.ensure_future(Recorder.open(tmp_path / "j.db"))
        for _ in range(ticks):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        if not opening.cancelled():
            await opening.result().aclose()
    await (await Recorder.open(tmp_path / "j.db")).aclose()


async def test_at_the_exit_of_the_interpreter_a_journal_needs_no_thread(
    tmp_path: Path, monkeypatch: Any
) -> None:
    def no_threads(*_arguments: object) -> None:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr(journal_module.ThreadPoolExecutor, "submit", no_threads)
    service = Service()
    outcomes = [it async for it in client_of(service).run_many(REQUESTS, journal=tmp_path / "j.db")]
    assert len(outcomes) == len(service.created) == 30

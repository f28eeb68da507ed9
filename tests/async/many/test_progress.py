"""progress: snapshots at a pace, of outcomes that come whenever they come."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import pytest
from fake_service import Service

import lume_async
import lume_sync
from lume_async import Outcome, Progress, RunRequest
from lume_async._many.progress import WINDOW, _Camera
from lume_async.testing import fake_client

FAILED: Outcome[Any] = Outcome("run_1", error=ValueError("no"))


def requests(count: int) -> list[RunRequest]:
    return [RunRequest("f:v1", f"source-{n}") for n in range(count)]


async def test_one_at_once_and_one_at_the_end() -> None:
    service = Service(lasts=1.0)
    client, _ = fake_client(service, clock=service.clock)
    seen = [now async for now in lume_async.progress(client.run_many(requests(20)), total=20, every=60)]
    assert [(now.done, now.ended) for now in seen] == [(0, False), (20, True)]
    assert seen[-1].summary.statuses == {"SUCCEEDED": 20}
    assert seen[-1].remaining == 0.0
    assert str(seen[-1]) == "20 of 20  SUCCEEDED 20"


async def test_snapshots_come_while_nothing_does_and_never_change() -> None:
    release = asyncio.Event()

    async def outcomes() -> AsyncIterator[Outcome[Any]]:
        yield FAILED
        await release.wait()
        yield FAILED

    seen: list[Progress] = []
    async for now in lume_async.progress(outcomes(), every=0.01):
        seen.append(now)
        if len(seen) == 5:
            release.set()
    assert [now.done for now in seen[:5]] == [0, 1, 1, 1, 1]
    assert (seen[-1].done, seen[-1].ended) == (2, True)
    assert [len(now.summary.failures) for now in seen[:2]] == [0, 1]
    assert all(early.elapsed < late.elapsed for early, late in pairwise(seen))


async def test_leaving_the_snapshots_leaves_the_work() -> None:
    closed = asyncio.Event()

    async def outcomes() -> AsyncIterator[Outcome[Any]]:
        try:
            await asyncio.Event().wait()
            yield FAILED
        finally:
            closed.set()

    snapshots = lume_async.progress(outcomes(), every=0.01)
    for _ in range(3):
        await anext(snapshots)
    await snapshots.aclose()
    assert closed.is_set()
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("kind", [KeyError, asyncio.CancelledError, SystemExit])
async def test_an_error_of_the_outcomes_arrives(kind: type[BaseException]) -> None:
    async def outcomes() -> AsyncIterator[Outcome[Any]]:
        yield FAILED
        raise kind("input")

    seen: list[Progress] = []
    with pytest.raises(kind, match="input"):
        async for now in lume_async.progress(outcomes()):
            seen.append(now)
    if issubclass(kind, Exception):
        assert [(now.done, now.ended) for now in seen] == [(0, False), (1, False)], "it hides no outcome"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"total": -1}, ValueError, "total must be"),
        ({"total": 1.5}, ValueError, "total must be"),
        ({"total": True}, ValueError, "total must be"),
        ({"every": 0}, ValueError, "every must be"),
        ({"every": "1"}, TypeError, "every"),
        ({"outcomes": 7}, TypeError, "outcomes must be an iterable of outcomes"),
    ],
)
def test_bad_arguments_are_told_at_once(options: dict[str, Any], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        lume_async.progress(**{"outcomes": [], **options})


def test_the_rate_is_that_of_the_last_minute() -> None:
    camera = _Camera(1000)

    def at(now: float, more: int) -> Progress:
        for _ in range(more):
            camera.summary.add(FAILED)
        return camera.snapshot(now)

    first = at(100.0, 0)
    assert (first.rate, first.remaining, first.elapsed) == (0.0, None, 0.0)
    assert at(101.0, 500).rate == 500.0  # what a journal knew
    for second in range(2, 61):
        at(100.0 + second, 1)
    assert at(100.0 + 1 + WINDOW, 1).rate == pytest.approx(1.0)
    last = at(100.0 + 2 + WINDOW, 1)
    assert last.remaining == pytest.approx(1000 - 500 - WINDOW - 1)
    assert str(last) == "561 of 1,000  ValueError 561  1.0/s  7:19 left"
    assert str(_Camera(None).snapshot(0.0)) == "0  0.0/s"


# ── the synchronous API ────────────────────────────────────────────────────────────────────────────────────────


def test_both_faces_have_it() -> None:
    service = Service(lasts=0.0)
    client = lume_sync.Client._wrap(fake_client(service, clock=service.clock)[0])
    runs = [client.run("f:v1", f"source-{n}") for n in range(3)]
    seen = list(lume_sync.progress(client.as_completed(runs), total=3, every=60))
    assert [(now.done, now.ended) for now in seen] == [(0, False), (3, True)]


def test_an_iteration_that_has_begun_or_is_wrapped_is_read_in_a_thread() -> None:
    service = Service(lasts=0.0)
    client = lume_sync.Client._wrap(fake_client(service, clock=service.clock)[0])
    runs = [client.run("f:v1", f"source-{n}") for n in range(3)]
    begun = client.as_completed(runs)
    next(begun)
    assert [now.done for now in lume_sync.progress(begun, every=60)] == [0, 2]

    def noted() -> Iterator[Outcome[lume_sync.LumeRun]]:
        for outcome in client.as_completed(runs):
            assert isinstance(outcome.run, lume_sync.LumeRun)
            assert threading.current_thread() is not threading.main_thread()
            yield outcome

    assert [now.done for now in lume_sync.progress(noted(), every=60)] == [0, 3]


def test_outcomes_that_were_handed_over_are_read_there_only() -> None:
    service = Service(lasts=0.0)
    client = lume_sync.Client._wrap(fake_client(service, clock=service.clock)[0])
    outcomes = client.as_completed([client.run("f:v1", "source")])
    snapshots = lume_sync.progress(outcomes, every=60)
    assert list(outcomes) == []
    assert [now.done for now in snapshots] == [0, 1]

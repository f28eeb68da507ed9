"""run_many: bounded, isolated errors, back-pressure, the deadline; with a journal, once over restarts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from fake_service import Service, client_of, other_tasks

from lume_async import (
    ApiConnectionError,
    ClientClosedError,
    ConfigurationError,
    DuplicateRunError,
    InvalidRequestError,
    LumeRun,
    Outcome,
    RunRequest,
    SubmissionUnknownError,
    Summary,
    progress,
)
from lume_async._batch.journal import Journal
from lume_async.testing import FakeAnswer, FakeRequest, fake_client


def requests(count: int, *, force_rerun: bool = True) -> Iterator[RunRequest]:
    return (RunRequest("f:v1", f"s{n}", {"n": n}, force_rerun) for n in range(count))


async def collect(outcomes: AsyncIterator[Outcome[LumeRun]]) -> list[Outcome[LumeRun]]:
    return [outcome async for outcome in outcomes]


async def test_a_submission_that_is_answered_while_the_client_closes_ends_like_the_others() -> None:
    service = Service()

    async def closing(*arguments: object, **named: object) -> object:
        await client.aclose()
        await asyncio.sleep(0)
        return await answer(*arguments, **named)  # type: ignore[arg-type]

    client, transport = fake_client(service, clock=service.clock)
    answer = transport.request
    transport.request = closing  # type: ignore[assignment,method-assign]
    with pytest.raises(ClientClosedError):
        await collect(client.run_many(requests(1)))
    assert service.created
    assert not other_tasks()


async def test_the_iterable_is_taken_from_only_when_there_is_a_place() -> None:
    service = Service()
    taken = 0

    def endless() -> Iterator[RunRequest]:
        nonlocal taken
        while True:
            taken += 1
            yield RunRequest("f:v1", f"s{taken}")

    outcomes = client_of(service).run_many(endless(), max_active=3)
    for expected in range(1, 6):
        await anext(outcomes)
        assert taken <= expected + 3
    await service.clock.sleep(100.0)
    assert taken <= 5 + 3
    await outcomes.aclose()
    assert not other_tasks()


@pytest.mark.parametrize("shown", [False, True], ids=["outcomes", "progress"])
async def test_leaving_the_block_ends_the_batch_at_once(tmp_path: Path, shown: bool) -> None:
    """A variable keeps the iterator, and the traceback of the error keeps the variable."""
    service, journal = Service(), tmp_path / "j.db"
    client = client_of(service)
    with pytest.raises(KeyError) as raised:
        async with client.run_many(requests(50), max_active=3, journal=journal) as outcomes:
            if shown:
                async for snapshot in progress(outcomes, every=3600):
                    raise KeyError(snapshot)
            async for outcome in outcomes:
                raise KeyError(outcome.run_id)
    sent = len(service.log)
    Journal.open(str(journal)).close()  # it is not locked
    assert shown or not other_tasks()
    async with asyncio.timeout(5):
        while other_tasks():  # the progress has no block
            await asyncio.sleep(0)
    await service.clock.sleep(1000.0)
    assert len(service.log) == sent
    assert await collect(outcomes) == []
    assert raised.traceback
    assert len(await collect(client.run_many(requests(50), journal=journal))) == 50


async def test_a_failed_submission_is_an_outcome_and_not_the_end() -> None:
    service = Service()
    service.broken["s1"] = FakeAnswer(409, {"detail": "processed", "run_id": "run_old"})
    service.broken["s2"] = FakeAnswer(404, {"detail": "no such flow version"})
    service.broken["s3"] = ApiConnectionError("reset")
    outcomes = {
        o.request.source_path: o for o in await collect(client_of(service).run_many(requests(5))) if o.request
    }
    assert isinstance(outcomes["s1"].error, DuplicateRunError)
    assert isinstance(outcomes["s2"].error, InvalidRequestError)
    assert isinstance(outcomes["s3"].error, SubmissionUnknownError)
    assert outcomes["s0"].result().succeeded
    assert outcomes["s4"].result().succeeded


async def test_what_the_iterable_raises_comes_after_the_outcomes() -> None:
    def broken() -> Iterator[RunRequest]:
        yield from requests(3)
        raise OSError("the list of files went away")

    seen = []
    with pytest.raises(OSError, match="went away"):
        async for outcome in client_of(Service()).run_many(broken()):
            seen.append(outcome)
    assert len(seen) == 3


async def cancelled_task() -> None:
    task = asyncio.ensure_future(asyncio.Event().wait())
    task.cancel()
    await task


async def cancelled_itself() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("fails", [cancelled_task, cancelled_itself])
async def test_so_does_the_cancellation_of_what_the_iterable_waits_for(
    fails: Callable[[], Awaitable[None]],
) -> None:
    async def broken() -> AsyncIterator[RunRequest]:
        for request in requests(3):
            yield request
        await fails()

    seen = []
    with pytest.raises(asyncio.CancelledError):
        async for outcome in client_of(Service()).run_many(broken()):
            seen.append(outcome)
    assert len(seen) == 3
    assert not other_tasks()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, BaseException])
async def test_what_ends_programs_ends_the_batch_at_once_and_a_journal_goes_on(
    tmp_path: Path, kind: type[BaseException]
) -> None:
    def broken() -> Iterator[RunRequest]:
        yield from requests(3)
        raise kind("line 4 is broken")

    service = Service()
    with pytest.raises(kind, match="line 4"):
        await collect(client_of(service).run_many(broken(), journal=tmp_path / "j.db"))
    assert not other_tasks()
    assert service.clock.now() < service.lasts
    assert len(await collect(client_of(service).run_many(requests(5), journal=tmp_path / "j.db"))) == 5
    assert len(service.created) == 5


async def test_a_step_that_is_cancelled_is_not_taken_for_the_end() -> None:
    client = client_of(Service(lasts=1000.0))
    for items in (client.run_many(requests(3)), client.as_completed(["a", "b"]), client.list_runs()):
        step = asyncio.ensure_future(anext(items))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)
        assert step.cancelled()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="the iteration was cancelled before it finished"):
                await anext(items)
        await items.aclose()
        assert [item async for item in items] == []
    assert not other_tasks()


async def test_items_that_are_no_requests() -> None:
    with pytest.raises(TypeError, match="item 1 is a str"):
        await collect(client_of(Service()).run_many(["a.csv"]))  # type: ignore[list-item]


@pytest.mark.parametrize(
    "bad",
    [{"max_active": 0}, {"max_active": True}, {"on_duplicate": "x"}, {"timeout": -1}, {"retry_failed": True}],
)
def test_bad_arguments_are_told_at_once(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        client_of(Service()).run_many([], **bad)  # type: ignore[arg-type]


async def test_no_requests() -> None:
    assert await collect(client_of(Service()).run_many([])) == []


class TestJournal:
    """The same input again: nothing twice, nothing lost, the summary is that of the whole input."""

    async def test_finished_work_is_told_again_without_a_request(self, tmp_path: Path) -> None:
        service, path = Service(), tmp_path / "j.db"
        service.broken["s1"] = FakeAnswer(409, {"detail": "processed", "run_id": "run_old"})
        client = client_of(service)
        first = Summary.of(await collect(client.run_many(requests(5), journal=path)))
        service.log.clear()
        again = await collect(client.run_many(requests(5), journal=path))
        assert not service.log
        told_again = Summary.of(again)
        assert (first.remembered, told_again.remembered) == (0, 5)
        assert "known from the journal before: 5" in str(told_again).splitlines()
        same = ("remembered", "slowest")
        assert told_again.to_dict() == first.to_dict() | {name: told_again.to_dict()[name] for name in same}
        refused = next(outcome.error for outcome in again if outcome.error)
        assert isinstance(refused, DuplicateRunError)
        assert refused.run_id == "run_old"

    async def test_a_refused_connection_is_tried_again_next_time_with_the_same_key(
        self, tmp_path: Path
    ) -> None:
        service, path = Service(), tmp_path / "j.db"
        service.broken["s0"] = ApiConnectionError("refused", reached=False)
        await collect(client_of(service).run_many(requests(1), journal=path, timeout=5))
        service.broken.clear()
        (outcome,) = await collect(client_of(service).run_many(requests(1), journal=path))
        assert outcome.result().succeeded
        assert (
            len({request.headers["Idempotency-Key"] for request in service.log if request.method == "POST"})
            == 1
        )

    async def test_what_failed_is_tried_again_where_that_is_asked_for(self, tmp_path: Path) -> None:
        service, path = Service(), tmp_path / "j.db"
        service.ends_as = {"run_0": "PARTIAL_FAILED", "run_1": "FAILED", "run_3": "CRASHED"}
        service.broken["s2"] = FakeAnswer(422, {"detail": "no such flow version"})
        await collect(client_of(service).run_many(requests(5), journal=path, max_active=1))
        assert service.created == ["run_0", "run_1", "run_2", "run_3"]  # of s0, s1, s3 and s4
        service.ends_as = {}
        first_keys = set(service.keys)
        service.broken.clear()

        again = await collect(client_of(service).run_many(requests(5), journal=path, retry_failed=True))
        assert all(outcome.result().has_output for outcome in again)
        assert len(again) == 5
        new = {service.sources[run_id]["source_path"] for run_id in service.created[4:]}
        assert new == {"s1", "s2", "s4"}
        assert len(service.keys) == 7
        assert first_keys < set(service.keys)

        asked = len(service.log)
        once_more = await collect(client_of(service).run_many(requests(5), journal=path, retry_failed=True))
        assert all(outcome.result().has_output for outcome in once_more)
        assert len(service.log) == asked

    @pytest.mark.parametrize("committed", [True, False])
    async def test_a_second_try_that_is_killed_is_found_out_by_its_own_key(
        self, tmp_path: Path, committed: bool
    ) -> None:
        service, path = Service(capabilities=["idempotency"]), tmp_path / "j.db"
        service.ends_as = {"run_0": "FAILED"}
        (request,) = requests(1)
        await collect(client_of(service).run_many([request], journal=path))
        journal = Journal.open(path)
        journal.sending(0, request, "second-key", service.clock.wall())
        journal.close()
        if committed:
            body = {"flow_version": "f:v1", "source_path": "s0", "force_rerun": True}
            service(FakeRequest("POST", "/v1/runs", {"Idempotency-Key": "second-key"}, _json(body)))

        (outcome,) = await collect(client_of(service).run_many([request], journal=path))
        assert outcome.result().id == "run_1"
        assert service.created == ["run_0", "run_1"]
        assert service.keys["second-key"] == "run_1"

    async def test_a_duplicate_can_be_followed_by_the_next_start(self, tmp_path: Path) -> None:
        service, path = Service(), tmp_path / "j.db"
        service.broken["s0"] = FakeAnswer(409, {"detail": "processed", "run_id": "run_old"})
        (outcome,) = await collect(client_of(service).run_many(requests(1), journal=path))
        assert isinstance(outcome.error, DuplicateRunError)

        (outcome,) = await collect(
            client_of(service).run_many(requests(1), journal=path, on_duplicate="attach")
        )
        assert outcome.result().id == "run_old"
        assert outcome.result().reused

    async def test_another_input_is_refused(self, tmp_path: Path) -> None:
        service, path = Service(), tmp_path / "j.db"
        await collect(client_of(service).run_many(requests(3), journal=path))
        for changed in (requests(2), requests(4), requests(3, force_rerun=False)):
            with pytest.raises(ConfigurationError, match="belongs to a different input"):
                await collect(client_of(service).run_many(changed, journal=path))
        assert len(service.created) == 3


def _json(body: object) -> bytes:
    import orjson

    return orjson.dumps(body)


class TestOwnKeys:
    async def test_each_request_is_submitted_under_its_own_key(self) -> None:
        service = Service(capabilities={"idempotency"})
        wanted = [RunRequest("f:v1", f"s{n}", idempotency_key=f"night-{n}") for n in range(3)]

        outcomes = await collect(client_of(service).run_many(wanted))

        assert sorted(service.keys) == ["night-0", "night-1", "night-2"]
        assert {outcome.result().idempotency_key for outcome in outcomes} == set(service.keys)
        assert not any(outcome.result().reused for outcome in outcomes)

    async def test_another_batch_with_the_same_keys_finds_the_same_runs(self) -> None:
        service = Service(capabilities={"idempotency"})
        wanted = [RunRequest("f:v1", f"s{n}", idempotency_key=f"night-{n}") for n in range(3)]
        first = await collect(client_of(service).run_many(wanted))

        again = await collect(client_of(service).run_many(wanted))

        assert {outcome.run_id for outcome in again} == {outcome.run_id for outcome in first}
        assert len(service.created) == 3
        assert all(outcome.result().reused for outcome in again)

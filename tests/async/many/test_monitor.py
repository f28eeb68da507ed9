"""Monitor: events of many runs, errors isolated, the change feed and its loss, nothing left behind."""

import asyncio
import threading

import pytest
from fake_service import Service, client_of, ends, other_tasks

from lume_async import (
    Backoff,
    InvalidRequestError,
    LumeRun,
    Monitor,
    RunEvent,
    RunStatus,
)
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json

GONE = FakeAnswer(404, {"detail": "no such run"})


async def test_each_change_of_each_run_is_an_event() -> None:
    service = Service(lasts=1.0)
    seen = []
    async with client_of(service).monitor() as monitor:
        monitor.add("a")
        monitor.add("b")
        async for event in monitor:
            seen.append((event.run.id, str(event.run.status), event.previous))
            if not monitor.pending:
                break
    for run_id in "ab":
        assert [(status, previous) for id_, status, previous in seen if id_ == run_id] == [
            ("TRANSFORMING", None),
            ("SUCCEEDED", RunStatus.TRANSFORMING),
        ]


async def test_a_run_of_our_own_may_be_late_to_show() -> None:
    service = Service()
    client = client_of(service)
    run = await client.run("f:v1", "s")
    service.broken[run.id] = GONE
    async with client.monitor() as monitor:
        monitor.add(run)
        await service.clock.sleep(1.0)
        del service.broken[run.id]
        (event,) = await ends(monitor, 1)
    assert event.error is None


async def test_failed_looks_are_waited_out_and_retry_after_is_a_floor() -> None:
    service = Service(lasts=0.0)
    service.broken["a"] = FakeAnswer(503, b"", {"Retry-After": "40"})
    async with client_of(service).monitor() as monitor:
        monitor.add("a")
        await service.clock.sleep(1.0)
        del service.broken["a"]
        await ends(monitor, 1)
    assert service.looks["a"] == 2
    assert 40 <= service.clock.now() < 42


async def test_a_handle_is_updated_in_place_and_given_back() -> None:
    service = Service()
    client = client_of(service)
    run = client.attach("a")
    async with client.monitor() as monitor:
        assert monitor.add(run) is run
        (event,) = await ends(monitor, 1)
    assert event.run is run
    assert run.succeeded


async def test_an_ended_run_is_told_without_a_request() -> None:
    service = Service(lasts=0.0)
    client = client_of(service)
    run = await client.run_status("a")
    async with client.monitor() as monitor:
        monitor.add(run)
        (event,) = await ends(monitor, 1)
    assert event.run is run
    assert service.looks["a"] == 1


async def test_discard_stops_the_looks_at_one_run() -> None:
    service = Service(lasts=10.0)
    async with client_of(service).monitor() as monitor:
        gone = monitor.add("gone")
        monitor.add("kept")
        await service.clock.sleep(1.0)
        monitor.discard(gone)
        monitor.discard("never-there")
        before = service.looks["gone"]
        (event,) = await ends(monitor, 1)
    assert event.run.id == "kept"
    assert service.looks["gone"] == before


@pytest.mark.parametrize("ending", ["ended", "refused"])
async def test_adding_a_run_whose_end_waits_for_the_reader_changes_nothing(
    ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lume_async._many.monitor.QUEUED", 1)
    service = Service(lasts=0.0)
    if ending == "refused":
        service.broken["a"] = GONE
    async with client_of(service).monitor() as monitor:
        monitor.add("first")
        await service.clock.sleep(1.0)  # its event fills the queue
        monitor.add("a")
        await service.clock.sleep(1.0)
        monitor.add("a")
        found = await ends(monitor, 2)
        await service.clock.sleep(1.0)
        assert monitor.pending == 0
    assert [event.run.id for event in found] == ["first", "a"]
    assert service.looks["a"] == 1


async def test_a_run_that_is_discarded_and_added_while_its_end_waits_for_the_reader_is_watched_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lume_async._many.monitor.QUEUED", 1)
    service = Service(lasts=0.0)
    async with client_of(service).monitor() as monitor:
        monitor.add("first")
        await service.clock.sleep(1.0)
        monitor.add("a")
        await service.clock.sleep(1.0)
        monitor.discard("a")
        monitor.add("a")
        found = await ends(monitor, 3)
        assert monitor.pending == 0
    assert [event.run.id for event in found] == ["first", "a", "a"]


@pytest.mark.parametrize("status", [200, 404])
async def test_a_run_that_is_discarded_during_a_look_has_no_event(status: int) -> None:
    service = Service(lasts=0.0)

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        if request.path == "/v1/runs/gone":
            return FakeAnswer(status, run_json("gone", "SUCCEEDED"), took=5.0)
        return service(request)

    client, _ = fake_client(answer, clock=service.clock)
    async with client.monitor() as monitor:
        monitor.add("gone")
        await service.clock.sleep(1.0)
        monitor.discard("gone")
        await service.clock.sleep(10.0)
        monitor.add("kept")
        (event,) = await ends(monitor, 1)
    assert event.run.id == "kept"


async def test_notify_looks_at_once_and_ignores_what_is_not_watched() -> None:
    service = Service(lasts=1.0)
    async with client_of(service).monitor(poll_interval=1000) as monitor:
        monitor.add("a")
        await service.clock.sleep(2.0)
        monitor.notify("a")
        monitor.notify("stranger")
        await ends(monitor, 1)
    assert service.clock.now() < 3.0
    assert "stranger" not in service.looks


async def test_looks_under_way_are_bounded() -> None:
    service = Service(lasts=0.0)
    under_way = most = 0
    client, transport = fake_client(service, clock=service.clock)
    answer = transport.request

    async def counted(*args: object, **named: object) -> object:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await answer(*args, **named)  # type: ignore[arg-type]
        finally:
            under_way -= 1

    transport.request = counted  # type: ignore[method-assign, assignment]
    async with client.monitor(max_in_flight=5) as monitor:
        for n in range(100):
            monitor.add(f"r{n}")
        await ends(monitor, 100)
    assert most == 5


async def test_a_big_batch_begins_spread_out() -> None:
    service = Service(lasts=0.0)
    client = client_of(service)
    async with client.monitor() as monitor:
        for n in range(3000):
            monitor.add(f"r{n}")
        await ends(monitor, 3000)
    assert 2.0 < service.clock.now() < 5.0


async def test_the_back_off_and_a_constant_interval() -> None:
    service = Service(lasts=100.0)
    async with client_of(service).monitor(poll_interval=10) as monitor:
        monitor.add("a")
        await ends(monitor, 1)
    assert service.looks["a"] == 11
    service = Service(lasts=60.0)
    async with client_of(service).monitor(
        poll_interval=Backoff(1, factor=2, maximum=16, jitter=0)
    ) as monitor:
        monitor.add("a")
        await ends(monitor, 1)
    assert service.looks["a"] == 8  # at 0 1 3 7 15 31 47 63


async def test_reported_progress_leads_to_the_end() -> None:
    service = Service(lasts=40.0)

    def with_progress(request: object) -> FakeAnswer | Exception:
        answer = service(request)  # type: ignore[arg-type]
        assert isinstance(answer, FakeAnswer)
        done = (service.clock.now() - service.begun["a"]) / service.lasts
        answer.body["progress"] = min(1.0, done)
        return answer

    client, _transport = fake_client(with_progress, clock=service.clock)
    async with client.monitor() as monitor:
        monitor.add("a")
        await ends(monitor, 1)
    assert service.clock.now() < 40.5


async def test_what_is_known_of_a_watched_run_is_kept_deflated() -> None:
    """As objects it would take six times the memory; whoever asks gets the objects."""
    service = Service(lasts=1e6)
    async with client_of(service).monitor(poll_interval=1e5) as monitor:
        runs = [monitor.add(f"r{n}") for n in range(20)]
        for _ in runs:
            await anext(monitor)
        records = [run._record for run in runs]
        kept = [record._raw for record in records if record is not None]
        assert len(kept) == len(runs)
        assert all(isinstance(raw, bytes) and len(raw) < 120 for raw in kept)
        assert [run.to_dict()["id"] for run in runs] == [run.id for run in runs]


async def test_leaving_the_block_leaves_nothing_behind() -> None:
    service = Service(capabilities=["changes", "wait"], lasts=1e6)
    async with client_of(service).monitor() as monitor:
        for n in range(20):
            monitor.add(f"r{n}")
        await service.clock.sleep(1.0)
        assert monitor.pending == 20
    assert monitor.pending == 0
    assert not other_tasks()
    with pytest.raises(RuntimeError, match="the monitor is not active"):
        monitor.add("late")
    with pytest.raises(StopAsyncIteration):
        await anext(monitor)


async def test_all_readers_that_wait_end_with_the_block() -> None:
    service = Service()

    async def read(monitor: Monitor) -> list[RunEvent[LumeRun]]:
        return [event async for event in monitor]

    async with client_of(service).monitor() as monitor:
        readers = asyncio.gather(*(read(monitor) for _ in range(3)))
        await service.clock.sleep(1.0)
    assert await asyncio.wait_for(readers, 5.0) == [[], [], []]


async def test_a_monitor_is_used_in_its_block_and_entered_once() -> None:
    monitor = client_of(Service()).monitor()
    with pytest.raises(RuntimeError, match="the monitor is not active"):
        monitor.add("a")
    with pytest.raises(RuntimeError, match="the monitor is not active"):
        await anext(monitor)
    async with monitor:
        with pytest.raises(InvalidRequestError):
            monitor.add("../a")
    with pytest.raises(RuntimeError, match="entered only once"):
        await monitor.__aenter__()


@pytest.mark.parametrize("capabilities", [(), ("changes", "wait")], ids=["polled", "fed"])
async def test_other_threads_may_add_and_notify(capabilities: tuple[str, ...]) -> None:
    client = client_of(Service(lasts=0.0, capabilities=capabilities))
    await client.run_status("known")  # so that the client knows what the server can
    async with client.monitor() as monitor:

        def use() -> None:
            for run_id in "abc":
                monitor.add(run_id)
                monitor.notify(run_id)

        thread = threading.Thread(target=use)
        thread.start()
        await asyncio.to_thread(thread.join)
        events = await ends(monitor, 3)
    assert {event.run.id for event in events} == set("abc")


async def test_a_block_may_be_left_by_another_task_than_entered_it() -> None:
    """As pytest's fixtures and an `AsyncExitStack` of an application do."""
    service = Service()
    monitor = client_of(service).monitor()
    await asyncio.create_task(monitor.__aenter__())
    monitor.add("run_a")
    event = await anext(monitor)
    await asyncio.create_task(monitor.__aexit__(None, None, None))

    assert event.run.id == "run_a"
    assert not other_tasks()


async def test_what_breaks_inside_reaches_the_reader_and_the_end_of_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lume_async._many.monitor.poll_once", None)
    with pytest.raises(TypeError):
        async with client_of(Service()).monitor() as monitor:
            monitor.add("run_a")
            with pytest.raises(TypeError):
                await anext(monitor)

    assert not other_tasks()

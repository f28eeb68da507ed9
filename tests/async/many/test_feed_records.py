"""`include=run`: the feed brings the records of ended runs, and servers without that are followed as before."""

from typing import Any

import pytest
from attrs import evolve
from fake_service import Service, client_of, ends
from hypothesis import given
from hypothesis import strategies as st

from lume_async import Client, LumeRun, RunRequest
from lume_async._many.change_feed import SAMPLING
from lume_async._wire.endpoints import Change
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json

FED = ["changes", "wait", "idempotency"]


async def watched(client: Client, count: int) -> list[LumeRun]:
    async with client.monitor() as monitor:
        for n in range(count):
            monitor.add(f"r{n}")
        return [event.run for event in await ends(monitor, count)]


async def test_an_ended_run_is_not_fetched() -> None:
    service = Service(capabilities=FED, lasts=8.0, include="known")
    client = client_of(service)
    await client.run_status("warm-up")
    service.looks.clear()

    found = await watched(client, 50)

    assert sum(service.looks.values()) <= 50 + 1, (
        "the first polls; that of the first run before the feed is open"
    )
    for run in found:
        assert run.to_dict() == service.run(run.id)
        assert run.metadata.metrics.rows_mapped == 9


@pytest.mark.parametrize(("include", "most"), [("known", 0), ("ignored", 1)])
async def test_a_run_that_was_submitted_while_the_feed_is_open_needs_no_first_poll(
    include: str, most: int
) -> None:
    service = Service(capabilities=FED, lasts=5.0, include=include)
    client = client_of(service)
    requests = (RunRequest("f:v1", f"{n}.csv") for n in range(200))

    found = [outcome async for outcome in client.run_many(requests, max_active=10)]

    assert all(outcome.run is not None and outcome.run.succeeded for outcome in found)
    late = service.created[30:]  # the first ones were submitted before the feed was open
    assert len(late) == 170
    assert max(service.looks.get(run_id, 0) for run_id in late) <= most
    sampled = service.clock.now() / SAMPLING
    assert sum(service.looks.get(run_id, 0) for run_id in late) <= most * len(late) + sampled


@pytest.mark.parametrize("status", ["SUCCEEDED", "SYNCING_SOURCE"])
async def test_what_the_feed_has_said_before_the_run_was_added_counts(status: str) -> None:
    """A change may be reported between the answer to the submission and `add`."""
    service = Service(capabilities=FED, lasts=2.0)

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        if "after=" not in request.path:
            return service(request)
        now, has_page = service.clock.now(), request.path.endswith("=page")
        items = [{"id": "run_0", "status": status, "finished_at": None}]
        page = {"items": [] if has_page else items, "next_cursor": "page"}
        return FakeAnswer(
            200, page, {"Lume-Capabilities": ", ".join(FED)}, took=30.0 if has_page else max(0.0, 8.0 - now)
        )

    client = fake_client(answer, clock=service.clock)[0]
    await client.run_status("warm-up")
    service.begun["long"] = service.begun["longer"] = 1000.0
    async with client.monitor() as monitor:
        monitor.add("long")
        monitor.add("longer")
        await service.clock.sleep(5.0)
        run = await client.run("f:v1", "a.csv")
        await service.clock.sleep(5.0)
        assert not run.is_terminal
        monitor.add(run)
        [event] = await ends(monitor, 1)
        assert event.run == run
        assert service.clock.now() < 11.0


async def test_a_notified_run_is_polled_although_the_feed_is_open() -> None:
    service = Service(capabilities=FED, lasts=500.0, include="known")
    client = client_of(service)
    await client.run_status("warm-up")
    async with client.monitor() as monitor:
        monitor.add("a")
        monitor.add("b")
        await service.clock.sleep(5.0)
        run = await client.run("f:v1", "a.csv")
        monitor.add(run)
        monitor.notify(run.id)
        await service.clock.sleep(5.0)
        assert service.looks[run.id] == 1


END = run_json("r", "SUCCEEDED", finished_at="2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    "run",
    [
        None,
        [],
        "r",
        {},
        END | {"id": "other"},
        END | {"id": 5},
        END | {"status": None},
        END | {"status": "TRANSFORMING"},
        END | {"status": "NEW_ONE", "finished_at": None},
    ],
)
def test_a_record_that_does_not_show_the_end_is_not_used(run: Any) -> None:
    assert Change("r", "SUCCEEDED", None, run).end is None
    assert Change("r", "SUCCEEDED", None, END).end is not None


@pytest.mark.parametrize("run", [[1], END | {"id": "b"}, END | {"id": "a", "status": "TRANSFORMING"}])
async def test_a_run_whose_record_can_not_be_used_is_fetched(run: Any) -> None:
    service = Service(capabilities=FED, lasts=5.0, include="known")

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        answer = service(request)
        if "after=" in request.path and isinstance(answer, FakeAnswer):
            assert isinstance(answer.body, dict)
            items = [item | {"run": run} for item in answer.body["items"]]
            return evolve(answer, body=answer.body | {"items": items})
        return answer

    client = fake_client(answer, clock=service.clock)[0]
    await client.run_status("warm-up")
    found = await watched(client, 3)
    assert all(run.succeeded for run in found)
    assert service.clock.now() < 7.0


@given(
    late=st.floats(0.0, 3.0),
    took=st.floats(0.0, 3.0),
    include=st.sampled_from(["known", "ignored", "refused"]),
    failed=st.booleans(),
)
async def test_a_poll_that_the_feed_overtakes_changes_nothing_back(
    late: float, took: float, include: str, failed: bool
) -> None:
    """Whatever a poll in flight brings, an older state or an error: there is one last event."""
    service = Service(capabilities=FED, lasts=10.0, include=include)
    slow = [FakeAnswer(404 if failed else 200, run_json("r0", "TRANSFORMING"), took=took)]

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        is_late = request.path == "/v1/runs/r0" and service.clock.now() >= 7.0 + late
        return slow.pop() if is_late and slow else service(request)

    client = fake_client(answer, clock=service.clock)[0]
    await client.run_status("warm-up")
    async with client.monitor() as monitor:
        for n in range(3):
            monitor.add(f"r{n}")
        await service.clock.sleep(7.0 + late)
        monitor.notify("r0")
        found = await ends(monitor, 3)
        assert monitor.pending == 0
    events = [event for event in found if event.run.id == "r0"]
    assert len(events) == 1
    shows_error = failed and (include != "known" or late + took < 10.0)
    assert events[0].run.is_terminal or (shows_error and events[0].error is not None)

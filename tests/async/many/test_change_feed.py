"""The change feed: one request follows all runs of a monitor, and losing it loses no run."""

from collections.abc import Callable

import pytest
from depth import examples
from fake_service import Service, client_of, ends
from hypothesis import given
from hypothesis import strategies as st

from lume_async import Client, RunStatus
from lume_async._many.change_feed import SAMPLING, Hold
from lume_async._wire.endpoints import LONGEST_HOLD
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json


def fed(
    service: Service,
    pages: list[tuple[float, list[tuple[str, str]]]],
    answer: Callable[[FakeRequest], FakeAnswer | Exception] | None = None,
) -> Client:
    """A client whose change feed tells just these (id, status), each page held until its time; then no more."""

    def answered(request: FakeRequest) -> FakeAnswer | Exception:
        if not request.path.startswith("/v1/changes"):
            return (answer or service)(request)
        after = request.path.partition("after=")[2]
        number = int(after) if after else 0
        now = service.clock.now()
        until, items = (now, []) if not after else pages[number] if number < len(pages) else (now + 30.0, [])
        told = [{"id": run_id, "status": status, "finished_at": None} for run_id, status in items]
        page = {"items": told, "next_cursor": str(number + bool(items))}
        return FakeAnswer(200, page, {"Lume-Capabilities": "changes, wait"}, took=max(0.0, until - now))

    return fake_client(answered, clock=service.clock)[0]


async def test_runs_are_fetched_when_they_end_and_hardly_else() -> None:
    service = Service(capabilities=["changes", "wait"], lasts=200.0)
    client = client_of(service)
    await client.run_status("warm-up")  # the capabilities are known from here on
    async with client.monitor() as monitor:
        for n in range(50):
            monitor.add(f"r{n}")
        found = await ends(monitor, 50)
    assert all(event.run.succeeded for event in found)
    assert sum(service.looks.values()) - 1 <= 2.2 * 50 + 200 / SAMPLING
    assert service.clock.now() < 201.0


@pytest.mark.parametrize("first", [503, 200], ids=["failed", "stale"])
async def test_a_fetch_that_does_not_show_the_end_that_was_told_is_repeated_soon(first: int) -> None:
    service = Service(capabilities=["changes", "wait"], lasts=20.0)
    stale = iter([FakeAnswer(first, run_json("a", "TRANSFORMING"))] * 3)

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        ended = request.path == "/v1/runs/a" and service.clock.now() >= 25.0
        return (next(stale, None) if ended else None) or service(request)

    client = fed(service, [(25.0, [("a", "SUCCEEDED"), ("b", "SUCCEEDED")])], answer)
    await client.run_status("warm-up")
    async with client.monitor() as monitor:
        monitor.add("a")
        monitor.add("b")
        await ends(monitor, 2)
    assert service.clock.now() < 30.0


async def test_a_change_without_a_status_leads_to_a_look() -> None:
    service = Service(capabilities=["changes", "wait"], lasts=20.0)
    client = fed(service, [(25.0, [("a", ""), ("b", "SUCCEEDED")])])
    await client.run_status("warm-up")
    async with client.monitor() as monitor:
        monitor.add("a")
        monitor.add("b")
        await ends(monitor, 2)
    assert service.clock.now() < 26.0


async def test_statuses_never_go_back_to_what_a_look_saw_the_end_of() -> None:
    """The page was asked for before the look, and tells changes from before it."""
    service = Service(capabilities=["changes", "wait"], lasts=40.0)
    client = fed(
        service, [(25.0, [("a", "CREATED")]), (30.0, [("a", "SYNCING_SOURCE"), ("a", "TRANSFORMING")])]
    )
    await client.run_status("warm-up")
    seen = []
    async with client.monitor() as monitor:
        monitor.add("a")
        monitor.add("b")
        async for event in monitor:
            if event.run.id == "a":
                seen.append(str(event.run.status))
                if event.run.is_terminal:
                    break
    assert seen == ["TRANSFORMING", "SUCCEEDED"]


async def test_a_look_that_is_overtaken_by_the_feed_is_repeated() -> None:
    service = Service(capabilities=["changes", "wait"], lasts=1e6)
    late = iter([FakeAnswer(200, run_json("a", "CREATED"), took=10.0)])

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        slow = request.path == "/v1/runs/a" and service.clock.now() >= 20.0
        return (next(late, None) if slow else None) or service(request)

    client = fed(service, [(25.0, [("a", "SYNCING_TARGET")])], answer)
    await client.run_status("warm-up")
    async with client.monitor() as monitor:
        monitor.add("a")
        monitor.add("b")
        await service.clock.sleep(20.0)
        monitor.notify("a")  # answered after the feed, with what was before it
        await service.clock.sleep(20.0)
        seen = [(await anext(monitor)) for _ in range(4)]
    assert [str(event.run.status) for event in seen if event.run.id == "a"][-1] == "TRANSFORMING"


async def test_a_lost_capability_falls_back_to_looks() -> None:
    service = Service(capabilities=["changes", "wait"], lasts=60.0)
    client = client_of(service)
    async with client.monitor() as monitor:
        for n in range(10):
            monitor.add(f"r{n}")
        await service.clock.sleep(20.0)
        service.capabilities.clear()
        found = await ends(monitor, 10)
    assert len(found) == 10
    assert service.clock.now() < 70.0


async def test_an_expired_cursor_is_begun_anew() -> None:
    service = Service(capabilities=["changes"], lasts=60.0)
    expired = 0

    def answer(request: object) -> FakeAnswer | Exception:
        nonlocal expired
        path = request.path  # type: ignore[attr-defined]
        if path.startswith("/v1/changes?") and expired < 3:
            expired += 1
            return FakeAnswer(410, {"detail": "that cursor is too old"})
        return service(request)  # type: ignore[arg-type]

    client, _ = fake_client(answer, clock=service.clock)
    async with client.monitor() as monitor:
        for n in range(10):
            monitor.add(f"r{n}")
        assert len(await ends(monitor, 10)) == 10
    assert expired == 3
    assert service.clock.now() < 70.0


async def test_a_change_of_a_running_run_is_told_without_fetching_it() -> None:
    service = Service(capabilities=["changes"], lasts=1e6)
    told = iter([{"id": "a", "status": "SYNCING_TARGET", "finished_at": None}])

    def answer(request: object) -> FakeAnswer | Exception:
        if request.path.startswith("/v1/changes?"):  # type: ignore[attr-defined]
            items = [item for item in [next(told, None)] if item and service.looks.get("a")]
            return FakeAnswer(200, {"items": items, "next_cursor": "c"}, {"Lume-Capabilities": "changes"})
        return service(request)  # type: ignore[arg-type]

    client, _ = fake_client(answer, clock=service.clock)
    async with client.monitor() as monitor:
        monitor.add("a")
        monitor.add("b")
        seen = [await anext(monitor) for _ in range(3)]
    changed = next(event for event in seen if event.previous is not None)
    assert (changed.run.id, str(changed.run.status)) == ("a", "SYNCING_TARGET")
    assert changed.previous == RunStatus.TRANSFORMING


# A feed that is cut off, or says nothing


def cut_off(service: Service, patience: float) -> tuple[Client, list[float]]:
    """A client behind a gateway that cuts requests off; how long each request for changes was to be held."""
    held: list[float] = []

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        if request.path.startswith("/v1/changes?"):
            hold = float(request.headers.get("Prefer", "wait=0").removeprefix("wait="))
            held.append(hold)
            now, ends = service.clock.now(), max(service.begun.values(), default=0.0) + service.lasts
            quiet = min(hold, max(0.0, ends - now))
            if quiet > patience:
                return FakeAnswer(504, b"<html>", took=patience)
            if quiet == hold:
                page = {"items": [], "next_cursor": request.path.partition("after=")[2]}
                return FakeAnswer(200, page, {"Lume-Capabilities": "changes, wait"}, took=hold)
        return service(request)

    return fake_client(answer, clock=service.clock)[0], held


async def test_a_gateway_that_cuts_the_feed_off_costs_no_poll() -> None:
    service = Service(capabilities=["changes", "wait"], lasts=200.0)
    client, held = cut_off(service, 3.0)
    await client.run_status("warm-up")
    async with client.monitor() as monitor:
        for n in range(50):
            monitor.add(f"r{n}")
        found = await ends(monitor, 50)
    assert all(event.run.succeeded for event in found)
    assert sum(service.looks.values()) - 1 <= 2.2 * 50 + 200 / SAMPLING
    assert service.clock.now() < 205.0
    assert held[0] == LONGEST_HOLD
    assert len(held) < 200 / 1.5


def test_the_hold_shrinks_below_what_a_gateway_bears_and_grows_back_slowly() -> None:
    hold, seconds, cuts, longest = Hold(), 0.0, 0, 0.0
    while seconds < 600:
        if hold.seconds > 3:
            seconds += 3
            cuts += 1
            assert hold.shorten(3.0)
        else:
            seconds += hold.seconds
            hold.completed()
        longest = max(longest, hold.seconds)
    assert cuts < 600 / 15
    while hold.seconds < LONGEST_HOLD:  # the gateway is gone
        seconds += hold.seconds
        hold.completed()
    assert seconds < 600 + 15 * 60


@pytest.mark.parametrize("after", [0.0, 0.9, LONGEST_HOLD + 20])
def test_what_failed_for_another_reason_leaves_the_hold_as_it_is(after: float) -> None:
    hold = Hold()

    assert not hold.shorten(after)
    assert hold.seconds == LONGEST_HOLD


@pytest.mark.parametrize("seconds", [1.0, 2.5, 29.9, LONGEST_HOLD, LONGEST_HOLD + 0.5])
def test_after_a_cut_the_hold_is_shorter_than_what_was_cut(seconds: float) -> None:
    hold = Hold()

    assert hold.shorten(seconds)
    assert hold.SHORTEST <= hold.seconds < max(seconds, 1.1)


async def test_what_came_while_the_feed_was_away_is_reported_afterwards() -> None:
    """The cursor is good: no run is polled for the failure, and none is missed."""
    service = Service(capabilities=["changes", "wait"], lasts=60.0)
    failures = iter([FakeAnswer(502, b"<html>")] * 3)

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        away = request.path.startswith("/v1/changes?") and service.clock.now() >= 30.0
        return (next(failures, None) if away else None) or service(request)

    client, _ = fake_client(answer, clock=service.clock)
    await client.run_status("warm-up")
    async with client.monitor() as monitor:
        for n in range(50):
            monitor.add(f"r{n}")
        await ends(monitor, 50)
    assert next(failures, None) is None
    assert sum(service.looks.values()) - 1 <= 2.2 * 50 + 60 / SAMPLING
    assert service.clock.now() < 65.0


async def test_while_the_feed_is_away_for_longer_the_runs_are_polled() -> None:
    service = Service(capabilities=["changes", "wait"], lasts=60.0)

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        away = request.path.startswith("/v1/changes?") and service.clock.now() >= 30.0
        return FakeAnswer(502, b"<html>") if away else service(request)

    client, _ = fake_client(answer, clock=service.clock)
    await client.run_status("warm-up")
    async with client.monitor() as monitor:
        for n in range(20):
            monitor.add(f"r{n}")
        await ends(monitor, 20)
    assert service.clock.now() < 70.0


@pytest.mark.parametrize("runs", [2, 50])
async def test_a_feed_that_says_nothing_is_noticed_by_sampling(runs: int) -> None:
    service = Service(capabilities=["changes", "wait"], lasts=100.0)
    client = fed(service, [])
    await client.run_status("warm-up")
    async with client.monitor() as monitor:
        for n in range(runs):
            monitor.add(f"r{n}")
        await ends(monitor, runs)
    assert service.clock.now() < 100.0 + 30.0 + 10.0


async def test_an_end_that_the_feed_reports_a_little_later_is_no_reason_for_distrust() -> None:
    service = Service(capabilities=["changes", "wait"], lasts=25.0)
    client = fed(service, [(30.0, [("a", "SUCCEEDED")])])
    await client.run_status("warm-up")
    service.begun["b"] = 1e6
    async with client.monitor() as monitor:
        monitor.add("a")
        monitor.add("b")
        await service.clock.sleep(26.0)
        monitor.notify("a")
        await ends(monitor, 1)
        await service.clock.sleep(100.0)
        looks = service.looks["b"]
    assert looks <= 2 + 130 / SAMPLING


# A feed that repeats itself, or is out of order

STATUSES = ("CREATED", "SYNCING_SOURCE", "TRANSFORMING", "SUCCEEDED")
ENTRIES = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(STATUSES)), max_size=5)


async def noticed(pages: list[list[tuple[str, str]]]) -> dict[str, float]:
    """How long after the first page with its end each run's end is seen; all of them ended before the first page."""
    service = Service(capabilities=["changes", "wait"], lasts=20.5)
    times = [21.0 + 0.5 * number for number in range(len(pages))]  # between two samples
    client = fed(service, list(zip(times, pages, strict=True)))
    await client.run_status("warm-up")
    told = dict[str, float]()
    for at, page in zip(times, pages, strict=True):
        told |= {run: told.get(run, at) for run, status in page if status == "SUCCEEDED"}
    seen = dict[str, float]()
    async with client.monitor() as monitor:
        for run_id in told:
            monitor.add(run_id)
        monitor.add("another")
        while len(seen) < len(told):
            (event,) = await ends(monitor, 1)
            seen[event.run.id] = service.clock.now() - told.get(event.run.id, 0.0)
    return seen


@examples(40)
@given(pages=st.lists(ENTRIES, min_size=1, max_size=12), data=st.data())
async def test_an_end_is_seen_whatever_is_repeated_around_it(
    pages: list[list[tuple[str, str]]], data: st.DataObject
) -> None:
    for run_id in "abcd":
        page = data.draw(st.sampled_from(pages))
        page.insert(data.draw(st.integers(0, len(page))), (run_id, "SUCCEEDED"))
    seen = await noticed([page for page in pages if page])
    assert set(seen) == set("abcd")
    assert max(seen.values()) < 0.4


async def test_a_feed_that_repeats_old_changes_and_no_end_is_noticed_by_sampling() -> None:
    service = Service(capabilities=["changes", "wait"], lasts=100.0)
    names = [f"r{n}" for n in range(20)]
    old = [(1.0 + number, [(name, "CREATED") for name in names]) for number in range(500)]
    client = fed(service, old)
    await client.run_status("warm-up")
    async with client.monitor() as monitor:
        for name in names:
            monitor.add(name)
        await ends(monitor, len(names))
    assert service.clock.now() < 100.0 + 30.0 + 10.0


@pytest.mark.parametrize("repeated", [[], ["CREATED"], ["TRANSFORMING", "CREATED"]])
async def test_a_poll_that_does_not_show_an_end_of_before_is_repeated_soon(repeated: list[str]) -> None:
    """The end is reported before the run is added, and the server's first answers to polls fail or are old."""
    service = Service(capabilities=["changes", "wait"], lasts=2.0)
    old = iter([FakeAnswer(503, {}), FakeAnswer(200, run_json("run_0", "TRANSFORMING"))] * 2)

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        return (next(old, None) if request.path == "/v1/runs/run_0" else None) or service(request)

    pages = [(8.0 + n, [("run_0", status)]) for n, status in enumerate(["SUCCEEDED", *repeated])]
    client = fed(service, pages, answer)
    await client.run_status("warm-up")
    service.begun["long"] = service.begun["longer"] = 1000.0
    async with client.monitor() as monitor:
        monitor.add("long")
        monitor.add("longer")
        await service.clock.sleep(5.0)
        run = await client.run("f:v1", "a.csv")
        await service.clock.sleep(7.0)
        monitor.add(run)
        await ends(monitor, 1)
        assert service.clock.now() < 12.0 + 4.0
        await service.clock.sleep(20.0)
        assert service.looks["long"] <= 2 + service.clock.now() / SAMPLING, "the feed is still trusted"

"""A submission whose answer is lost, before or after the server made the run: never a second run."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from faults.support import FLOW, SOURCE, client_for, leaping_client
from loopback import Step, hang_up, html_502, reply, reset, throttled
from run_service import RunService

from lume_async import DuplicateRunError, InvalidRequestError, Retry, SubmissionUnknownError

LOST: dict[str, Callable[[], Step]] = {
    "reset": reset,
    "cut body": lambda: reply(201, {"id": "run_1"}).cut("body"),
    "cut before the last chunk": lambda: reply(201, {"id": "run_1"}, framing="chunked").cut("last chunk"),
    "empty 201": lambda: reply(201),
    "500": lambda: reply(500),
    "HTML 502": html_502,
    "504": lambda: reply(504),
}
NOT_LOST: dict[str, Callable[[], Step]] = {
    "408": lambda: reply(408),
    "429": throttled,
    "429 with Retry-After": lambda: throttled("1"),
    "503": lambda: throttled("1", 503),
}


@dataclass(frozen=True)
class Server:
    capabilities: tuple[str, ...]

    @property
    def knows_keys(self) -> bool:
        return "idempotency" in self.capabilities


SERVERS = {"knows keys": Server(("idempotency", "cancel")), "bare": Server(())}


@pytest.mark.once
@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("force_rerun", [False, True], ids=["once", "force_rerun"])
@pytest.mark.parametrize("committed", [True, False], ids=["after commit", "before commit"])
@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
async def test_a_lost_answer_never_makes_a_second_run(
    lost: Callable[[], Step], committed: bool, force_rerun: bool, server: Server
) -> None:
    async with RunService(capabilities=server.capabilities) as service:
        service.lose(lost(), committed=committed)
        client, _ = leaping_client(service)
        async with client:
            if force_rerun and not server.knows_keys:
                with pytest.raises(SubmissionUnknownError) as caught:
                    await client.run(FLOW, SOURCE, {"n": 1}, force_rerun=force_rerun)
            else:
                run = await client.run(FLOW, SOURCE, {"n": 1}, force_rerun=force_rerun)

    (key,) = service.submissions
    if force_rerun and not server.knows_keys:
        assert service.submissions[key] == 1
        assert len(service.runs) == committed
        assert caught.value.idempotency_key == key
        assert caught.value.request.source_path == SOURCE
        assert caught.value.request.force_rerun
        assert "list_runs" in str(caught.value)
    else:
        assert service.submissions[key] == 2
        assert list(service.runs) == [run.id]
        assert run.idempotency_key == key
        assert not run.reused
    # Asked where it matters, no answer had told, and once.
    assert service.count("GET", "/healthz") == force_rerun


@pytest.mark.once
@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("force_rerun", [False, True], ids=["once", "force_rerun"])
@pytest.mark.parametrize("refusal", NOT_LOST.values(), ids=NOT_LOST)
async def test_a_refusal_is_no_lost_answer_and_is_sent_again(
    refusal: Callable[[], Step], force_rerun: bool, server: Server
) -> None:
    async with RunService(capabilities=server.capabilities) as service:
        service.lose(refusal(), committed=False)
        client, _ = leaping_client(service)
        async with client:
            run = await client.run(FLOW, SOURCE, force_rerun=force_rerun)

    assert list(service.runs) == [run.id]
    assert list(service.submissions.values()) == [2]
    assert service.count("GET", "/healthz") == 0


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
async def test_a_refused_connection_is_no_lost_answer(server: Server) -> None:
    async with RunService(capabilities=server.capabilities, refusing=True) as service:
        client, clock = leaping_client(service)
        sleep = clock.sleep

        async def sleep_and_open(seconds: float) -> None:
            await service.accept()
            await sleep(seconds)

        clock.sleep = sleep_and_open  # type: ignore[method-assign]
        async with client:
            run = await client.run(FLOW, SOURCE, force_rerun=True)

    assert list(service.runs) == [run.id]
    assert list(service.submissions.values()) == [1]


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("force_rerun", [False, True], ids=["once", "force_rerun"])
async def test_an_answer_that_never_comes_is_lost_at_the_request_timeout(
    force_rerun: bool, server: Server
) -> None:
    async with RunService(capabilities=server.capabilities) as service:
        service.lose(reply(201).stall(), committed=True)
        client, _ = leaping_client(service, request_timeout=0.4, retry=Retry(attempts=8))
        async with client:
            if force_rerun and not server.knows_keys:
                with pytest.raises(SubmissionUnknownError):
                    await client.run(FLOW, SOURCE, force_rerun=True)
            else:
                run = await client.run(FLOW, SOURCE, force_rerun=force_rerun)
                assert list(service.runs) == [run.id]

    assert len(service.runs) == 1


@pytest.mark.parametrize("lost", [True, False], ids=["answer lost", "answered"])
async def test_the_run_of_somebody_else_is_a_duplicate(lost: bool) -> None:
    async with RunService(capabilities=()) as service:
        theirs = service.add(FLOW, SOURCE)
        # Two clocks are read one after the other, and a busy machine may do something else in between.
        theirs.created_at = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
        if lost:
            service.lose(reset(), committed=False)
        client, _ = leaping_client(service)
        async with client:
            with pytest.raises(DuplicateRunError) as caught:
                await client.run(FLOW, SOURCE)
            assert caught.value.run_id == theirs.id

            run = await client.run(FLOW, SOURCE, on_duplicate="attach")

    assert (run.id, run.reused) == (theirs.id, True)
    assert len(service.runs) == 1


@pytest.mark.parametrize("force_rerun", [False, True], ids=["once", "force_rerun"])
@pytest.mark.parametrize("lost", [True, False], ids=["answer lost", "answered"])
@pytest.mark.parametrize("ended", ["SUCCEEDED", "FAILED", "TRANSFORMING"])
async def test_ones_own_key_gives_the_old_run_as_it_is(ended: str, lost: bool, force_rerun: bool) -> None:
    async with RunService(statuses=[ended]) as service:
        async with client_for(service) as client:
            old = await client.run(FLOW, SOURCE, force_rerun=force_rerun, idempotency_key="tuesday")
        service.runs[old.id].created_at = "2026-01-06T09:00:00Z"
        client, _ = leaping_client(service)
        if lost:
            service.lose(reset(), committed=True)
        async with client:
            again = await client.run(FLOW, SOURCE, force_rerun=force_rerun, idempotency_key="tuesday")
            with pytest.raises(InvalidRequestError, match="idempotency-key-reused"):
                await client.run(FLOW, "other.csv", force_rerun=force_rerun, idempotency_key="tuesday")
            if force_rerun:
                fresh = await client.run(FLOW, SOURCE, force_rerun=True)
                assert fresh.id != old.id
                assert not fresh.reused

    assert (again.id, again.status, again.reused) == (old.id, ended, True)
    assert not old.reused
    assert len(service.runs) == 1 + force_rerun


async def test_a_kept_connection_that_breaks_under_a_post_makes_one_run() -> None:
    """The race of keep-alive: the server closes an idle connection while the POST is on its way."""
    async with RunService(capabilities=["idempotency"]) as service:
        client, _ = leaping_client(service)
        async with client:
            await client.run(FLOW, "first.csv")
            service.lose(hang_up(), committed=True)
            run = await client.run(FLOW, SOURCE, force_rerun=True)

    assert [r.connection for r in service.requests] == [1, 1, 2]
    assert list(service.submissions.values()) == [1, 2]
    assert list(service.runs) == ["run_1", run.id]

"""What the client does, and refuses to do, before services with other promises than Lume's."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lume_async import (
    Client,
    DuplicateRunError,
    InvalidRequestError,
    LumeRun,
    NotSupportedError,
    Outcome,
    RunRequest,
    SubmissionUnknownError,
)
from lume_async._batch.journal import Journal
from lume_async._wire import endpoints
from lume_async.testing import FakeAnswer, FakeRequest, simulate
from lume_async.testing._server import EPOCH
from simulation.services import (
    Keyed,
    KeyedServer,
    Keyless,
    KeylessServer,
    Labelled,
    LabelledServer,
    Named,
    NamedServer,
    OtherServer,
    of_service,
)

LOST = FakeAnswer(502, b"<html>")


def ask(server: OtherServer, program: Callable[[Client], Awaitable[Any]], **options: Any) -> Any:
    """Run the program with a client of the server, without faults."""

    async def main() -> Any:
        async with server.client("key", base_url="http://other.test", **options) as client:
            return await program(client)

    return simulate(main, server, faults=0.0)


@pytest.fixture(params=[KeyedServer, NamedServer, KeylessServer])
def server(request: pytest.FixtureRequest) -> OtherServer:
    kind: type[OtherServer] = request.param
    return kind(kind.service(), lasts=5.0)


def loses(server: OtherServer, monkeypatch: pytest.MonkeyPatch, count: int = 1) -> None:
    """Let the first answers to submissions get lost."""
    post, left = server.post, [LOST] * count

    def lost(path: str, body: dict[str, Any], now: float) -> FakeAnswer:
        answer = post(path, body, now)
        return left.pop() if left and not path.endswith("filter") else answer

    monkeypatch.setattr(server, "post", lost)


def test_a_run_is_followed_to_its_end_and_cancelled(server: OtherServer) -> None:
    async def program(client: Client) -> tuple[str, str]:
        run = await client.run("flow:v1", "a.csv")
        cancelled = await client.run("flow:v1", "b.csv")
        await cancelled.cancel()
        await run.wait()
        return str(run.status), str(cancelled.status)

    assert ask(server, program) == ("SUCCEEDED", "CANCELLED")


def test_a_request_of_another_service_is_not_sent(server: OtherServer) -> None:
    async def program(client: Client) -> None:
        with pytest.raises(
            NotSupportedError, match=f"{server.contract.name} has no GET /healthz, a request of lume"
        ):
            await client._sender.send(endpoints.health())
        with pytest.raises(NotSupportedError, match="a request of lume"):
            [run async for run in client.list_runs()]

    ask(server, program)
    assert not server.requests


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seeds", {"countries": "upload://1"}),
        ("seeds", {"countries": b"a,b"}),
        ("data", b"a,b"),
        ("layout", "shop"),
        ("priority", 1),
        ("webhook_url", "https://example.com"),
        ("on_duplicate", "attach"),
    ],
)
def test_what_the_service_would_drop_is_refused(server: OtherServer, name: str, value: Any) -> None:
    async def program(client: Client) -> None:
        arguments = {name: value} if name == "data" else {"source_path": "a.csv", name: value}
        with pytest.raises(NotSupportedError) as caught:
            await client.run("flow:v1", **arguments)
        assert server.contract.name in str(caught.value)
        assert name in str(caught.value)

    ask(server, program)
    assert not server.requests


def test_a_batch_refuses_it_too_and_goes_on() -> None:
    server = KeyedServer(Keyed(), lasts=1.0)

    async def program(client: Client) -> list[str]:
        requests = [RunRequest("flow:v1", "a.csv", {"team": "sales"}), RunRequest("flow:v1", "b.csv")]
        return sorted([str(o.error or o.run_id) async for o in client.run_many(requests)])

    refused, run_id = ask(server, program)
    assert refused == "keyed does not support run_metadata; no request was sent"
    assert list(server.runs) == [run_id]


def test_metadata_that_it_carries_is_carried() -> None:
    server = NamedServer(Named())

    async def program(client: Client) -> str:
        return (await client.run("flow:v1", "a.csv", {"team": "sales"})).id

    run_id = ask(server, program)
    assert server.runs[run_id].body["run_metadata"] == {"team": "sales"}


def test_a_key_that_it_does_not_take_is_refused() -> None:
    server = NamedServer(Named())

    async def program(client: Client) -> None:
        with pytest.raises(InvalidRequestError, match="idempotency_key: named takes only"):
            await client.run("flow:v1", "a.csv", idempotency_key="a/b")
        await client.run("flow:v1", "a.csv", idempotency_key="a-b")

    ask(server, program)
    assert list(server.runs) == ["a-b"]


def test_a_key_of_the_caller_is_refused_where_there_are_none() -> None:
    async def program(client: Client) -> None:
        with pytest.raises(NotSupportedError, match="keyless does not support idempotency_key"):
            await client.run("flow:v1", "a.csv", idempotency_key="a")

    ask(KeylessServer(Keyless()), program)


@pytest.mark.parametrize("kind", [KeyedServer, NamedServer])
def test_the_run_of_a_key_of_the_caller_is_found_again(
    kind: type[OtherServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reused where an earlier call has started it, not where an answer was lost within this one."""
    server = kind(kind.service())
    loses(server, monkeypatch)

    async def program(client: Client) -> list[tuple[str, bool]]:
        found = [await client.run("flow:v1", "a.csv", idempotency_key="mine") for _ in range(2)]
        return [(run.id, run.reused) for run in found]

    found = ask(server, program)
    (run_id,) = server.runs
    assert found == [(run_id, False), (run_id, True)]


def test_a_lost_answer_is_unknown_where_nothing_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    server = KeylessServer(Keyless())
    loses(server, monkeypatch)

    async def program(client: Client) -> str:
        with pytest.raises(SubmissionUnknownError) as caught:
            await client.run("flow:v1", "a.csv")
        return str(caught.value)

    assert ask(server, program).endswith("a run of 'flow:v1' on 'a.csv' may exist. Look for it at keyless")
    assert len(server.runs) == 1


def test_a_name_that_is_taken_for_another_reason_is_a_refusal() -> None:
    server = NamedServer(Named())
    server.taken.add("a.csv")

    async def program(client: Client) -> None:
        with pytest.raises(DuplicateRunError) as caught:
            await client.run("flow:v1", "a.csv")
        assert caught.value.run_id is None

    ask(server, program)
    assert server.requests["POST /api/v2/dags/flow%3Av1/dagRuns"] == 1


@pytest.mark.parametrize("kind", [KeyedServer, NamedServer])
def test_what_is_not_valid_has_started_nothing_even_after_a_lost_answer(
    kind: type[OtherServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them says so with a 409, which is no duplicate."""
    server = kind(kind.service())
    server.invalid.add("a.csv")
    loses(server, monkeypatch)

    async def program(client: Client) -> None:
        with pytest.raises(InvalidRequestError) as caught:
            await client.run("flow:v1", "a.csv")
        assert not isinstance(caught.value, DuplicateRunError)

    ask(server, program)


def test_a_call_knows_which_refusal_another_token_may_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is a 403, which else says that the token may not."""
    server, answer, tokens = NamedServer(Named()), NamedServer.answer, ["old", "new"]

    def refuses_old(self: NamedServer, request: FakeRequest) -> FakeAnswer:
        if request.headers["Authorization"] == "Bearer old":
            return FakeAnswer(403, b'{"detail": "expired"}')
        return answer(self, request)

    def stale(error: Any, problem: Any) -> Any:
        error._is_stale = error.status_code == 403
        return of_service(error, problem)

    monkeypatch.setattr(NamedServer, "answer", refuses_old)
    monkeypatch.setattr("simulation.services.of_service", stale)

    async def program(client: Client) -> str:
        return (await client.run("flow:v1", "a.csv")).id

    run_id = ask(server, program, token=lambda: tokens.pop(0) if len(tokens) > 1 else tokens[0])
    assert list(server.runs) == [run_id]


def test_the_capabilities_of_a_gateway_are_not_the_services(server: OtherServer) -> None:
    server._headers["Lume-Capabilities"] = "idempotency, wait, changes, cancel"

    async def program(client: Client) -> None:
        await client.wait_all([await client.run("flow:v1", "a.csv")])
        assert client._sender.known.promises == server.contract.promises
        assert not client._sender.can("wait")

    ask(server, program)


@pytest.mark.parametrize("answer", [FakeAnswer(404, b"<html>"), FakeAnswer(500, b""), None])
def test_a_look_by_key_that_fails_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: FakeAnswer | None
) -> None:
    """A gateway's 404 is no list without the run."""
    server, request, path = LabelledServer(Labelled()), RunRequest("flow:v1", "a.csv"), tmp_path / "journal"
    journal = Journal.open(path)
    journal.sending(0, request, "the-key", EPOCH - 3600, by_server=True)
    journal.close()
    post = server.post

    def looked(path: str, body: dict[str, Any], now: float) -> FakeAnswer:
        return answer if answer is not None and path.endswith("filter") else post(path, body, now)

    monkeypatch.setattr(server, "post", looked)

    async def program(client: Client) -> Outcome[LumeRun]:
        server.begin("flow:v1", "a.csv", "the-key")
        (outcome,) = [outcome async for outcome in client.run_many([request], journal=path)]
        return outcome

    outcome = ask(server, program)
    (run_id,) = server.runs
    if answer is None:
        assert outcome.run_id == run_id
    else:
        assert isinstance(outcome.error, SubmissionUnknownError)


@pytest.mark.parametrize(("age", "is_sent"), [(10, False), (290, False), (310, True)])
def test_what_may_still_be_on_its_way_is_not_sent_again(tmp_path: Path, age: int, is_sent: bool) -> None:
    """A list without the run of a young submission shows only that it has not arrived yet."""
    server, request, path = LabelledServer(Labelled()), RunRequest("flow:v1", "a.csv"), tmp_path / "journal"

    async def program(client: Client) -> Outcome[LumeRun]:
        journal = Journal.open(path)
        sent = EPOCH + asyncio.get_running_loop().time() - age
        journal.sending(0, request, "the-key", sent, by_server=True)
        journal.close()
        (outcome,) = [outcome async for outcome in client.run_many([request], journal=path)]
        return outcome

    outcome = ask(server, program)
    assert len(server.runs) == is_sent
    assert is_sent or isinstance(outcome.error, SubmissionUnknownError)

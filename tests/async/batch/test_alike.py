"""Items that ask for the same: a run that is found may be that of either of them."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from doubts import KEEPS, REQUEST, Server, commit, killed

from lume_async import (
    ApiConnectionError,
    DuplicateRunError,
    RunRequest,
)
from lume_async._batch.journal import Journal
from lume_async._batch.lookup import LookUp
from lume_async.testing import FakeAnswer, FakeRequest, fake_client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "j.db"


async def test_a_run_that_an_item_attached_to_may_still_be_another_items_own(path: Path) -> None:
    """Item 2 was refused for the run of item 1, whose answer was lost, and followed it."""
    server = Server()
    second = RunRequest("f:v1", "s0", {"n": 1}, force_rerun=True)
    killed(path, server.clock.wall())
    commit(server)
    journal = Journal.open(path)
    journal.sending(1, second, "other-key", server.clock.wall())
    journal.submitted(1, "run_0", reused=True)
    journal.close()
    client, _ = fake_client(server, clock=server.clock)
    outcomes = [it async for it in client.run_many([REQUEST, second], journal=path)]
    assert sorted((it.result().id, it.result().reused) for it in outcomes) == [
        ("run_0", False),
        ("run_0", True),
    ]
    assert server.created == ["run_0"]


@pytest.mark.parametrize("keys", [("a", "b"), ("own a", "own b")])
@pytest.mark.parametrize("arrived", [(), (0,), (1,), (0, 1)])
async def test_of_two_items_that_are_alike_none_is_lost(
    path: Path, arrived: tuple[int, ...], keys: tuple[str, str]
) -> None:
    """The run that is there may be of either, where both were under way; their keys tell."""
    server = Server(idempotency=True, headers=KEEPS)
    own = keys[0].startswith("own")
    both = [evolve(REQUEST, idempotency_key=key if own else None) for key in keys]
    journal = Journal.open(path)
    for item, key in enumerate(keys):
        journal.sending(item, both[item], key, server.clock.wall(), by_server=True)
    journal.close()
    for item in arrived:
        commit(server, both[item], key=keys[item])
    client, _ = fake_client(server, clock=server.clock)

    outcomes = [it async for it in client.run_many(both, journal=path)]

    assert {it.result().idempotency_key: it.run_id for it in outcomes} == server.service.keys
    assert sorted(server.created) == ["run_0", "run_1"]


@pytest.mark.parametrize("arrived", [0, 1])
@pytest.mark.parametrize("knows_keys", [True, False])
async def test_a_run_under_way_is_that_of_one_of_two_items_that_are_alike(
    path: Path, arrived: int, knows_keys: bool
) -> None:
    """The server refuses the source to the other one, whose run this can't be."""
    server = Server(idempotency=knows_keys, headers=KEEPS if knows_keys else {})
    request = evolve(REQUEST, force_rerun=knows_keys)
    journal = Journal.open(path)
    for item, key in enumerate("ab"):
        journal.sending(item, request, key, server.clock.wall(), by_server=True)
    journal.close()
    commit(server, request, key="ab"[arrived])
    server.busy = True
    client, _ = fake_client(server, clock=server.clock)

    outcomes = [it async for it in client.run_many([request] * 2, journal=path)]

    (one,) = [it for it in outcomes if it.error is None]
    (other,) = [it for it in outcomes if it.error is not None]
    assert one.run_id == "run_0"
    assert isinstance(other.error, DuplicateRunError)
    assert server.created == ["run_0"]
    if knows_keys:
        assert one.result().idempotency_key == "ab"[arrived]


@pytest.mark.parametrize("question", ["known_runs", "under_way"])
async def test_of_all_items_that_were_under_way_the_journal_is_asked_once(
    path: Path, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read as a whole then, which takes seconds where it has a million items."""
    server = Server(idempotency=True, headers=KEEPS)
    requests = [RunRequest("f:v1", f"s{n}", {"n": n}) for n in range(20)]
    journal = Journal.open(path)
    for item, request in enumerate(requests):
        journal.sending(item, request, f"key-{item}", server.clock.wall(), by_server=True)
    journal.close()
    for item, request in enumerate(requests):
        commit(server, request, key=f"key-{item}")
    asked, ask = [], getattr(Journal, question)
    monkeypatch.setattr(Journal, question, lambda journal: asked.append(journal) or ask(journal))
    client, _ = fake_client(server, clock=server.clock)
    outcomes = [it async for it in client.run_many(requests, journal=path)]
    assert all(it.error is None for it in outcomes)
    assert len(asked) == 1


async def test_a_run_that_was_attached_to_in_this_process_is_still_its_own_items(path: Path) -> None:
    """Item 1 was not sent before and meets the run of item 2, whose answer the kill took. Then that fails."""
    server = Server()
    request = evolve(REQUEST, force_rerun=False)
    journal = Journal.open(path)
    journal.sending(0, request, "a", server.clock.wall())
    journal.unsent(0, "503")
    journal.sending(1, request, "b", server.clock.wall())
    journal.close()
    commit(server, request, key="b")
    server.service.ends_as["run_0"] = "FAILED"

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        server.busy = server.clock.now() <= 3
        return server(request)

    client, _ = fake_client(answer, clock=server.clock)
    options: dict[str, Any] = {"journal": path, "on_duplicate": "attach", "max_active": 1}
    outcomes = [it async for it in client.run_many([request] * 2, **options)]

    assert [(it.run_id, it.result().reused) for it in outcomes] == [("run_0", True), ("run_0", False)]
    assert server.created == ["run_0"]


async def test_of_two_items_that_are_alike_the_run_is_the_ones_that_has_started_it() -> None:
    """Its answer is lost, and the other one has attached to it by the time that it is sent again."""
    server = Server()
    request = evolve(REQUEST, force_rerun=False)

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        submits, is_first = request.method == "POST", not server.created
        said = server(request)
        server.busy = server.busy or submits
        return ApiConnectionError("reset", reached=True) if submits and is_first else said

    client, _ = fake_client(answer, clock=server.clock)
    outcomes = [it async for it in client.run_many([request] * 2, on_duplicate="attach")]

    assert sorted((it.run_id, it.result().reused) for it in outcomes) == [("run_0", False), ("run_0", True)]
    assert server.created == ["run_0"]


async def test_what_is_sent_while_a_like_item_is_looked_for_counts_too(path: Path) -> None:
    """Item 2 was never received; item 3, which asks for the same, is under way by the time that the list answers."""
    server = Server(idempotency=True, headers=KEEPS)
    another = RunRequest("f:v1", "another", {"n": 1}, force_rerun=True)
    journal = Journal.open(path)
    for item, (request, key) in enumerate([(another, "a"), (REQUEST, "b")]):
        journal.sending(item, request, key, server.clock.wall(), by_server=True)
    journal.close()
    commit(server, another, key="a")

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        asks_for_runs = request.method == "GET" and request.path.startswith("/v1/runs?source_path=s0")
        if asks_for_runs and len(server.created) < 2:
            return FakeAnswer(503, {}, {"Retry-After": "1"})
        said = server(request)
        is_slow = request.method == "POST" and isinstance(said, FakeAnswer)
        return evolve(said, took=5.0) if is_slow else said

    client, _ = fake_client(answer, clock=server.clock)
    requests = [another, REQUEST, REQUEST]
    outcomes = [it async for it in client.run_many(requests, journal=path, max_active=2)]

    assert sorted(it.result().id for it in outcomes) == ["run_0", "run_1", "run_2"]
    assert {it.result().idempotency_key: it.run_id for it in outcomes} == server.service.keys


async def test_a_run_that_two_items_claim_is_still_the_others_where_one_lets_go_of_it() -> None:
    async def none() -> set[str]:
        return set()

    client, _ = fake_client(Server())
    look_up = LookUp(client._sender, none)
    look_up.claim("run_0")
    look_up.claim("run_0")
    look_up.release("run_0")
    assert look_up.is_claimed("run_0")
    look_up.release("run_0")
    assert not look_up.is_claimed("run_0")

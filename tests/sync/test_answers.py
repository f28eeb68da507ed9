"""`Client.answers` and `Client.request` of lume_sync: the context travels to the loop, and stays with its thread."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lume_sync import Client, PermissionDeniedError
from lume_sync.testing import FakeAnswer, FakeRequest, fake_client, run_json


def answer(request: FakeRequest) -> FakeAnswer:
    return FakeAnswer(200, run_json(request.path.rsplit("/", 1)[1], "SUCCEEDED"))


def test_the_calls_of_the_block_are_seen() -> None:
    client, _ = fake_client(answer)
    client.run_status("run_1")
    with client.answers() as seen:
        run = client.run_status("run_2")
        run.refresh()
        with client.with_options(request_timeout=5).answers() as inner:
            client.run_status("run_3")
    client.run_status("run_4")

    assert [one.path[-1] for one in seen] == ["2", "2", "3"]
    assert [one.path[-1] for one in inner] == ["3"]


def test_the_calls_of_other_threads_are_not_seen() -> None:
    client, _ = fake_client(answer)
    both = threading.Barrier(2)

    def one(run_id: str) -> list[str]:
        with client.answers() as seen:
            both.wait()
            client.run_status(run_id)
            both.wait()
        return [answer.path for answer in seen]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(one, ("run_1", "run_2")))

    assert found == [["/v1/runs/run_1"], ["/v1/runs/run_2"]]


def test_an_iteration_that_goes_on_after_the_block_is_no_longer_seen() -> None:
    """Its task has a context of its own, which keeps the block's variable."""
    pages = [
        FakeAnswer(200, {"items": [run_json(f"run_{n}", "FAILED")], "next_cursor": str(n)}) for n in (1, 2)
    ]
    client, _ = fake_client([*pages, FakeAnswer(200, {"items": [], "next_cursor": None})])
    found = client.list_runs()
    with client.answers() as seen:
        next(found)
    assert [run.id for run in found] == ["run_2"]

    assert len(seen) == 1


def test_a_request_of_any_kind() -> None:
    client, transport = fake_client([FakeAnswer(201, {"id": "exp_1"}), FakeAnswer(403)])

    assert client.request("POST", "/v1/exports", json={"run": "run_1"}).json() == {"id": "exp_1"}
    with pytest.raises(PermissionDeniedError):
        client.request("DELETE", "/v1/exports/exp_1")

    assert transport.requests[0].json() == {"run": "run_1"}
    assert isinstance(client, Client)

"""`Client.answers`: which answers a block collects, and for how long."""

import asyncio
import pickle
from contextlib import ExitStack
from pathlib import Path

import pytest

from lume_async import Answer, ApiConnectionError, ServerError
from lume_async._http.sender import on_response
from lume_async._operations import answers
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json


def run_answer(request: FakeRequest) -> FakeAnswer:
    return FakeAnswer(200, run_json(request.path.rsplit("/", 1)[1], "SUCCEEDED"), {"X-Request-Id": "req_1"})


def statuses(seen: list[Answer]) -> list[tuple[int, int]]:
    return [(answer.status, answer.attempts) for answer in seen]


async def test_each_attempt_is_seen_with_errors_but_not_what_has_no_answer() -> None:
    first = [FakeAnswer(503), ApiConnectionError("reset"), FakeAnswer(200, run_json("run_1", "FAILED"))]
    client, _ = fake_client([*first, *[FakeAnswer(500)] * 3])

    with client.answers() as seen:
        run = await client.run_status("run_1")
        assert statuses(seen) == [(503, 1), (200, 3)]
        with pytest.raises(ServerError):
            await run.refresh()

    assert statuses(seen) == [(503, 1), (200, 3), (500, 1), (500, 2), (500, 3)]
    assert seen[1].json()["id"] == "run_1"
    assert {answer.path for answer in seen} == {"/v1/runs/run_1"}


async def test_only_the_calls_of_the_block_are_seen() -> None:
    client, _ = fake_client(run_answer)
    await client.run_status("run_1")
    with client.answers() as seen:
        await client.run_status("run_2")
    await client.run_status("run_3")

    assert [answer.path for answer in seen] == ["/v1/runs/run_2"]


async def test_blocks_of_tasks_do_not_mix() -> None:
    client, _ = fake_client(run_answer)

    async def one(run_id: str) -> list[str]:
        with client.answers() as seen:
            await client.run_status(run_id)
            await asyncio.gather(*(client.run_status(f"{run_id}_{n}") for n in range(3)))
        return sorted(answer.path.rsplit("/", 1)[1] for answer in seen)

    found = await asyncio.gather(one("a"), one("b"))

    assert found == [["a", "a_0", "a_1", "a_2"], ["b", "b_0", "b_1", "b_2"]]


async def test_an_inner_block_takes_nothing_from_the_outer() -> None:
    client, _ = fake_client(run_answer)
    with client.answers() as outer:
        await client.run_status("run_1")
        with client.answers() as inner:
            await client.run_status("run_2")
        await client.run_status("run_3")

    assert [answer.path[-1] for answer in outer] == ["1", "2", "3"]
    assert [answer.path[-1] for answer in inner] == ["2"]


async def test_blocks_may_overlap() -> None:
    client, _ = fake_client(run_answer)
    first, second = ExitStack(), ExitStack()
    earlier = first.enter_context(client.answers())
    later = second.enter_context(client.answers())

    first.close()
    await client.run_status("run_1")
    second.close()
    await client.run_status("run_2")

    assert (len(earlier), [answer.path[-1] for answer in later]) == (0, ["1"])


async def test_a_task_that_outlives_its_block_is_no_longer_seen() -> None:
    client, _ = fake_client(run_answer)
    go_on = asyncio.Event()

    async def later() -> None:
        await client.run_status("run_1")
        await go_on.wait()
        await client.run_status("run_2")

    with client.answers() as seen:
        task = asyncio.create_task(later())
        while not seen:
            await asyncio.sleep(0)
    go_on.set()
    await task

    assert len(seen) == 1


async def test_a_block_belongs_to_a_client_and_its_views() -> None:
    client, _ = fake_client(run_answer)
    other, _ = fake_client(run_answer)
    with client.answers() as seen, client.with_options(request_timeout=5).answers() as of_view:
        await other.run_status("run_1")
        await client.run_status("run_2")
        await client.with_options(headers={"X-Team": "sales"}).run_status("run_3")

    assert [answer.path[-1] for answer in seen] == ["2", "3"] == [answer.path[-1] for answer in of_view]


async def test_an_error_ends_the_block() -> None:
    client, _ = fake_client(run_answer)
    with pytest.raises(KeyError), client.answers() as seen:
        raise KeyError
    await client.run_status("run_1")

    assert seen == []
    assert on_response.get() == ()


async def test_a_streamed_body_is_not_kept(tmp_path: Path) -> None:
    def answer(request: FakeRequest) -> FakeAnswer:
        if "/outputs/" in request.path:
            return FakeAnswer(200, b"id\n1\n", {"X-Request-Id": "req_2", "Content-Length": "5"})
        return run_answer(request)

    client, _ = fake_client(answer)
    run = await client.run_status("run_1")
    with client.answers() as seen:
        await run.download("mapped", tmp_path / "rows.csv")

    assert (tmp_path / "rows.csv").read_bytes() == b"id\n1\n"
    assert [(one.status, one.body, one.request_id) for one in seen] == [(200, b"", "req_2")]


async def test_a_block_keeps_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = fake_client(run_answer)
    with client.answers() as seen:
        for n in range(answers.KEPT + 3):
            await client.run_status(f"run_{n}")
        assert [seen[0].path, len(seen)] == ["/v1/runs/run_3", answers.KEPT]

        monkeypatch.setattr(answers, "KEPT_BYTES", len(seen[-1].body) * 3)
        await client.run_status("run_a")
        assert len(seen) == 3
        monkeypatch.setattr(answers, "KEPT_BYTES", 1)
        await client.run_status("run_b")
        assert [answer.path for answer in seen] == ["/v1/runs/run_b"]
        seen.clear()
        await client.run_status("run_c")
        assert len(seen) == 1


async def test_an_iteration_is_seen_while_the_block_lasts() -> None:
    pages = [
        FakeAnswer(200, {"items": [run_json(f"run_{n}", "FAILED")], "next_cursor": str(n)}) for n in (1, 2)
    ]
    client, _ = fake_client([*pages, FakeAnswer(200, {"items": [], "next_cursor": None})])
    found = client.list_runs()
    with client.answers() as seen:
        await anext(found)
        await anext(found)
    assert [run.id async for run in found] == []

    assert len(seen) == 2


async def test_an_answer_travels() -> None:
    client, _ = fake_client(run_answer)
    with client.answers() as seen:
        await client.run_status("run_1")

    back = pickle.loads(pickle.dumps(seen[0]))
    assert back == seen[0]
    assert back.headers["x-request-id"] == "req_1"

"""Notifications of a bucket in a queue, against moto's S3 and SQS."""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from local.arrivals.queues import Queue
from moto_server import BUCKET, Bucket

from lume_local._arrivals import store_place
from lume_local._arrivals.place import ArrivalPlace
from lume_local._arrivals.settings import Arrival, read_arrivals
from lume_local._arrivals.watcher import opened
from lume_local._flow.fields import FlowError
from lume_local._runs.sources.paths import Roots

ROOT = f"s3://{BUCKET}/"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_place, "WAIT", 1)
    monkeypatch.setattr(store_place, "RETRY", 0.05)


def arrival() -> Arrival:
    text = (
        f'[[arrival]]\nname = "acme"\nflow = "orders"\nfrom = "{ROOT}in/*.csv"\nqueue_env = "ORDERS_QUEUE"\n'
    )
    return read_arrivals(text)[0]


@asynccontextmanager
async def followed(
    found: Callable[[Sequence[str]], Awaitable[None]],
) -> AsyncIterator[ArrivalPlace]:
    async with (
        opened(arrival(), Roots.of((Path("/nowhere"),), Path("/nowhere"), (ROOT.rstrip("/"),))) as place,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(place.hints, found)
        yield place
        tasks.cancel_scope.cancel()


async def until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not is_so():
            await anyio.sleep(0.02)


@pytest.mark.thorough
async def test_a_notification_of_the_bucket(bucket: Bucket, queue: Queue) -> None:
    """It is deleted after the file was settled, and not before."""
    queue.subscribe()
    bucket.put("in/a b+é.csv", b"no\n1\n")
    hints, left = list[str](), list[int]()

    async def found(paths: Sequence[str]) -> None:
        hints.extend(paths)
        left.append(queue.left())

    async with followed(found) as place:
        await until(lambda: bool(hints) and not queue.left())
        assert hints == [f"{ROOT}in/a b+é.csv"]
        assert left[0] > 0
        assert [one.path for one in await place.look(hints) if one] == hints
        assert (place.watched, place.every) == ("the queue, and a listing every 60 s", 60.0)


@pytest.mark.thorough
async def test_who_is_killed_gets_it_again(queue: Queue) -> None:
    queue.send("in/a.csv")
    hints = list[str]()

    async def killed(paths: Sequence[str]) -> None:
        hints.extend(paths)
        await anyio.sleep_forever()

    async with followed(killed):
        await until(lambda: bool(hints))

    async def found(paths: Sequence[str]) -> None:
        hints.extend(paths)

    async with followed(found):
        await until(lambda: len(hints) == 2)
        await until(lambda: not queue.left())
    assert set(hints) == {f"{ROOT}in/a.csv"}


async def test_other_messages_stay(
    queue: Queue, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may want them; those of other buckets are about nothing here."""
    queue.say("hello")
    queue.say(json.dumps({"Records": [{"s3": {"bucket": {"name": "other"}, "object": {"key": "in/b.csv"}}}]}))
    queue.say(json.dumps({"Event": "s3:TestEvent"}))
    queue.send("in/a.csv", "in/a.csv")
    hints = list[str]()

    async def found(paths: Sequence[str]) -> None:
        hints.extend(paths)

    with caplog.at_level(logging.WARNING):
        async with followed(found):
            await until(lambda: bool(hints) and queue.left() == 1)
    assert hints == [f"{ROOT}in/a.csv"]
    assert caplog.text.count("has messages that are not notifications of S3: they stay there") == 1


@pytest.mark.thorough
async def test_a_queue_that_can_not_be_used(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, and the place is listed as often as without one; it is used again once it can be."""

    async def found(paths: Sequence[str]) -> None: ...

    queue.delete()
    async with followed(found) as place:
        await until(lambda: "can't be used" in place.watched)
        assert place.watched.startswith("a listing every 10 s: the queue of ORDERS_QUEUE can't be used: ")
        assert queue.url not in place.watched
        monkeypatch.delenv("ORDERS_QUEUE")
        await until(lambda: "variable ORDERS_QUEUE is not set" in place.watched)
        monkeypatch.setenv("ORDERS_QUEUE", "no URL")
        await until(lambda: "can't be used" in place.watched)
        monkeypatch.setenv("ORDERS_QUEUE", queue.url)
        queue.create()
        await until(lambda: place.watched == "the queue, and a listing every 60 s")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('queue_env = "https://sqs.eu-west-1.amazonaws.com/1/q"', "must name an environment variable"),
        ("queue_env = 1", "queue_env: must be a string"),
    ],
)
def test_mistakes(more: str, why: str) -> None:
    start = '[[arrival]]\nname = "a"\nflow = "f"\n'
    with pytest.raises(FlowError, match=why) as error:
        read_arrivals(f'{start}from = "s3://bucket/*"\n{more}\n')
    assert "amazonaws" not in str(error.value)
    with pytest.raises(FlowError, match="has no meaning unless from is an s3:// URL"):
        read_arrivals(f'{start}from = "in/*"\nqueue_env = "Q"\n')

"""When a run in a monitor is polled next."""

import random

import pytest

from lume_async._base.backoff import Backoff
from lume_async._many.monitor import UNWATCHED, Unwatched, Watched
from lume_async._wire.endpoints import Change
from lume_async.testing import FakeAnswer, fake_client, run_json

DOUBLING = Backoff(1, maximum=8, jitter=0)


def delay(watched: Watched) -> float:
    return watched.next_delay(DOUBLING, random.Random(0), 0.0, fed=False, follows_progress=False)


def test_only_answers_lengthen_the_interval() -> None:
    client, _ = fake_client([])
    watched = Watched(client.attach("run_1"))
    delays = list[float]()
    for _ in range(4):
        watched.polls += 1
        delays.append(delay(watched))

    assert delays == [1, 2, 4, 8]


def test_a_failed_poll_is_repeated_soon_even_the_first() -> None:
    client, _ = fake_client([])
    watched = Watched(client.attach("run_1"), failures=1)
    first = delay(watched)
    watched.polls = 4

    assert 0.15 < first < 0.35
    assert 0.15 < delay(watched) < 0.35


@pytest.mark.parametrize("ended", [True, False])
async def test_what_was_reported_of_a_run_before_it_was_added_is_not_forgotten_unnoticed(ended: bool) -> None:
    client, _ = fake_client(lambda request: FakeAnswer(201, run_json("run_1", "CREATED")))
    run = await client.run("f:v1", "a.csv")
    noted = Unwatched()
    if ended:
        noted.note(Change("run_1", "FAILED"), 1.0)
    noted.note(Change("run_1", "CREATED"), 2.0)
    assert noted.has_ended("run_1") is ended
    assert noted.is_as_reported(run, 0.0) is not ended
    for number in range(UNWATCHED):
        noted.note(Change(f"other_{number}", "CREATED"), 3.0)
    assert not noted.is_as_reported(run, 1.5), "its changes may have been dropped"
    assert noted.is_as_reported(run, 2.5), "it is younger than all that were dropped"

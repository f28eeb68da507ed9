"""When a run in a monitor is polled next."""

import random

from lume_async._base.backoff import Backoff
from lume_async._many.watched import Watched
from lume_async.testing import fake_client

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

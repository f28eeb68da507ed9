"""A batch with a journal that is left early, in whatever way, and begun again at once."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from on_posix import posix_only
from sync.service import Service

import lume_sync as lume
from lume_async._batch.journal import Journal


@pytest.fixture
def client(service: Service) -> Iterator[lume.Client]:
    with lume.Client("key", base_url=service.url, proxy=False) as client:
        yield client


REQUESTS = [lume.RunRequest("f:v1", f"s{n}") for n in range(20)]


def leave(client: lume.Client, journal: Path) -> None:
    for _outcome in client.run_many(REQUESTS, journal=journal, max_active=3):
        break


def raise_in_the_loop(client: lume.Client, journal: Path) -> None:
    with pytest.raises(KeyError):
        for outcome in client.run_many(REQUESTS, journal=journal, max_active=3):
            raise KeyError(outcome.run_id)


def raise_in_a_block(client: lume.Client, journal: Path) -> None:
    """Without garbage collection: a variable keeps the iterator, and the error keeps the variable."""
    with pytest.raises(KeyError), client.run_many(REQUESTS, journal=journal, max_active=3) as outcomes:
        for outcome in outcomes:
            raise KeyError(outcome.run_id)
    Journal.open(str(journal)).close()  # it is not locked
    assert list(outcomes) == []


def leave_the_progress_in_a_block(client: lume.Client, journal: Path) -> None:
    kept = []
    with client.run_many(REQUESTS, journal=journal, max_active=3) as outcomes:
        kept.append(lume.progress(outcomes, every=3600))
        next(kept[0])
    Journal.open(str(journal)).close()
    list(kept[0])


def interrupt_the_loop(client: lume.Client, journal: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        for _outcome in client.run_many(REQUESTS, journal=journal, max_active=3):
            os.kill(os.getpid(), signal.SIGINT)


def interrupt_a_step(client: lume.Client, journal: Path) -> None:
    def requests() -> Iterator[lume.RunRequest]:
        yield REQUESTS[0]
        os.kill(os.getpid(), signal.SIGINT)
        yield from REQUESTS[1:]

    with pytest.raises(KeyboardInterrupt):
        for _outcome in client.run_many(requests(), journal=journal, max_active=3):
            pass


@pytest.mark.parametrize(
    ("end", "times"),
    [
        (leave, 20),
        (raise_in_the_loop, 5),
        (raise_in_a_block, 5),
        (leave_the_progress_in_a_block, 5),
        pytest.param(interrupt_the_loop, 5, marks=posix_only),
        pytest.param(interrupt_a_step, 5, marks=posix_only),
    ],
)
def test_left_early_and_begun_again(
    client: lume.Client, tmp_path: Path, end: Callable[[lume.Client, Path], None], times: int
) -> None:
    for _ in range(times):
        end(client, tmp_path / "j.db")
    outcomes = list(client.run_many(REQUESTS, journal=tmp_path / "j.db"))
    assert sorted(outcome.result().id for outcome in outcomes) == sorted(f"done-s{n}" for n in range(20))


def test_a_name_that_keeps_nothing_is_refused_before_the_first_step(client: lume.Client) -> None:
    with pytest.raises(lume.ConfigurationError, match="does not name a file"):
        client.run_many(REQUESTS, journal=":memory:")

import time

import pytest

from lume_async._base.clock import SystemClock
from lume_async.testing import no_backoff


def test_it_is_not_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    before = clock.now()
    real = time.time()
    monkeypatch.setattr(time, "time", lambda: real + 86_400)

    assert clock.now() - before < 3_600
    assert clock.wall() == real + 86_400


async def test_without_back_off_a_sleep_takes_no_time() -> None:
    clock = SystemClock()
    with no_backoff():
        before = clock.now()
        await clock.sleep(3_600)

    assert clock.now() - before < 60
    assert SystemClock.scale == 1.0


def test_an_error_inside_restores_the_back_off() -> None:
    with pytest.raises(KeyError), no_backoff():
        raise KeyError

    assert SystemClock.scale == 1.0

"""Thousands watch the feed: counted are turns and reads, not seconds."""

import asyncio

import pytest

from lume_local._runs.waiters import BURST, RATE, Hub, Watchers

MANY = 5000


class Feed:
    """A feed with watchers: each reads it from where it was, again and again, as clients do."""

    def __init__(self, count: int) -> None:
        self.now = 1000.0
        self.crowd = Watchers(lambda: self.now)
        self.last, self.reads, self.responses = 0, 0, 0
        self.seen = [0] * count
        self.tasks = [asyncio.create_task(self._watch(n)) for n in range(count)]

    async def _watch(self, n: int) -> None:
        while not self.crowd.is_closed:
            with self.crowd.watcher() as watcher:
                found = self._read()
                if found > self.seen[n] and not watcher.may_respond():
                    await watcher.turn(1e12)
                    found = self._read()
                while found == self.seen[n] and await watcher.until(1e12):
                    watcher.reads()
                    found = self._read()
            self.responses += found > self.seen[n]
            self.seen[n] = found

    def _read(self) -> int:
        self.reads += 1
        return self.last

    def change(self) -> None:
        self.last += 1
        self.crowd.notify()

    async def settle(self) -> None:
        """Until all have done what they may do now."""
        before = -1
        while before != self.reads:
            before = self.reads
            for _ in range(5):
                await asyncio.sleep(0)

    async def pass_(self, seconds: float) -> None:
        """So much time passes for the turns; the timer comes when it is told to."""
        self.now += seconds
        if self.crowd._timer is not None:
            self.crowd._timer.cancel()
            self.crowd._serve()
        await self.settle()

    async def end(self) -> None:
        self.crowd.close()
        await asyncio.gather(*self.tasks)


async def test_many_changes_cost_each_of_many_watchers_few_turns() -> None:
    feed = Feed(MANY)
    await feed.settle()
    assert feed.reads == MANY
    for _ in range(25):  # as of five runs
        feed.change()
        await feed.settle()
    assert feed.responses <= BURST, "the others wait for their turn, and the loop is free for other requests"
    assert feed.reads - MANY <= 3 * BURST
    rounds = 0
    while min(feed.seen) < feed.last:
        before = feed.responses
        await feed.pass_(0.02)
        assert feed.responses - before <= 0.02 * RATE + 1
        rounds += 1
    assert rounds <= 1.1 * MANY / (0.02 * RATE) + 1
    assert feed.responses <= MANY + BURST, "what came while they waited is in one response"
    assert feed.reads <= 3 * (MANY + BURST)
    await feed.end()


async def test_changes_that_may_wait_share_a_turn() -> None:
    feed = Feed(20)
    await feed.settle()
    for may_wait in (True, True, True, False, True):
        feed.last += 1
        feed.crowd.notify(may_wait=may_wait)
        await feed.settle()
        if may_wait:
            assert feed.seen == [4 if feed.last == 5 else 0] * 20
    assert feed.seen == [4] * 20, "a change that may not wait is shown at once, with those before it"
    assert feed.crowd._later is not None
    feed.crowd._later.cancel()
    feed.crowd._serve_later()
    await feed.settle()
    assert (feed.seen, feed.responses) == ([5] * 20, 40)
    feed.crowd.notify(may_wait=True)
    await feed.end()


async def test_everybody_has_a_turn_in_the_order_in_which_they_came() -> None:
    feed = Feed(0)
    feed.crowd._left, feed.crowd._at = 0.0, feed.now
    order = list[int]()

    async def watch(n: int) -> None:
        with feed.crowd.watcher() as watcher:
            await (watcher.turn if n % 2 else watcher.until)(1e12)
            order.append(n)

    tasks = [asyncio.create_task(watch(n)) for n in range(6)]
    await feed.settle()
    feed.change()
    for _ in range(6):
        await feed.pass_(1.001 / RATE)
    assert order == [1, 3, 5, 0, 2, 4], "first those that have something to say"
    await asyncio.gather(*tasks)


async def test_a_turn_ends_in_time_and_nobody_is_left_behind() -> None:
    crowd = Watchers()
    crowd._left, crowd._at = -1e9, asyncio.get_running_loop().time()
    with crowd.watcher() as one, crowd.watcher() as other:
        assert not await one.turn(0)
        task = asyncio.create_task(other.until(1e12))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (len(crowd._idle), len(crowd._due), crowd.count) == (0, 0, 2)
    assert crowd.count == 0
    crowd.close()
    with crowd.watcher() as late:
        assert not await late.until(1e12)


async def test_watchers_count_among_the_waiters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lume_local._runs.waiters.MOST_WAITERS", 1)
    hub = Hub()
    with hub.watchers.watcher():
        assert not hub.is_open
    assert hub.is_open

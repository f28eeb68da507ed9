"""How others decide when a client may send: peers of the throttle, for `benchmarks.throttle`."""

import math
from collections import deque
from collections.abc import Mapping

from crowd import Unlimited

from lume_async._wire.answers import retry_after


class AnyRefusalCuts(Unlimited):
    """The rate is cut at the first refusal of a burst, and grows with each success: what TCP does with losses."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = math.inf
        self._next = self._closed = self._at = -math.inf
        self._growth, self._row, self._second, self._count = 0.2, 0, 0, 0

    def delay(self, now: float) -> float:
        return max(self._closed, self._next) - now

    def take(self, now: float) -> None:
        self._next = max(now, self._next) + 1 / self.rate

    def answered(
        self, now: float, epoch: int, refused: bool, took: float, headers: Mapping[str, str]
    ) -> None:
        if not refused:
            if int(now) != self._second:
                self._second, self._count = int(now), 0
            self._count, self._row = self._count + 1, 0
            self.rate += self._growth
            if now - self._at > 60:
                self.rate = math.inf
        elif epoch == self.epoch:
            self.epoch, self._at = self.epoch + 1, now
            asked = retry_after(headers)
            pause = min(30.0, 0.5 * 2**self._row) if asked is None else asked
            self._closed, self._row = max(self._closed, now + pause), min(10, self._row + 1)
            if self.rate == math.inf:
                self.rate, self._growth = max(10.0, self._count / 2), 0.2
            else:
                self.rate, self._growth = max(1.0, self.rate * 0.7), 0.05


class SreAdaptive(Unlimited):
    """The SRE book: rejects with probability (requests - K accepts) / (requests + 1), of the last two minutes."""

    K, WINDOW = 2.0, 120.0

    def __init__(self) -> None:
        super().__init__()
        self._requests: deque[float] = deque()
        self._accepts: deque[float] = deque()

    def admits(self, now: float, chance: float) -> bool:
        for times in (self._requests, self._accepts):
            while times and times[0] < now - self.WINDOW:
                times.popleft()
        requests, accepts = len(self._requests), len(self._accepts)
        admitted = chance >= max(0.0, (requests - self.K * accepts) / (requests + 1))
        if not admitted:
            self._requests.append(now)  # those that are sent are counted with their answer
        return admitted

    def answered(
        self, now: float, epoch: int, refused: bool, took: float, headers: Mapping[str, str]
    ) -> None:
        self._requests.append(now)
        if not refused:
            self._accepts.append(now)


class AwsAdaptive(Unlimited):
    """The AWS SDKs' adaptive mode: a token bucket whose rate is cut to 0.7 of the measured one and grows as CUBIC."""

    BETA, SCALE, SMOOTH = 0.7, 0.4, 0.8

    def __init__(self) -> None:
        super().__init__()
        self.rate = math.inf
        self._measured = self._highest = self._cut_at = 0.0
        self._next, self._bucket, self._count = -math.inf, 0.0, 0

    def delay(self, now: float) -> float:
        return self._next - now

    def take(self, now: float) -> None:
        self._next = max(now, self._next) + 1 / self.rate

    def answered(
        self, now: float, epoch: int, refused: bool, took: float, headers: Mapping[str, str]
    ) -> None:
        self._count += 1
        half = math.floor(now * 2) / 2
        if half > self._bucket:
            rate = self._count / (half - self._bucket)
            self._measured = rate * self.SMOOTH + self._measured * (1 - self.SMOOTH)
            self._bucket, self._count = half, 0
        if refused:
            self._highest = min(self.rate, self._measured) if self._measured else self.rate
            self._cut_at = now
            rate = self._highest * self.BETA if self._highest < math.inf else 10.0
        elif self.rate == math.inf:
            return
        else:
            k = (self._highest * (1 - self.BETA) / self.SCALE) ** (1 / 3)
            rate = self.SCALE * (now - self._cut_at - k) ** 3 + self._highest
        self.rate = max(0.5, min(rate, 2 * self._measured if self._measured else rate))


class AimdConcurrency(Unlimited):
    """Requests under way: one more for a round of successes, a tenth less for each refusal (Netflix' AIMD limit)."""

    def __init__(self) -> None:
        super().__init__()
        self.concurrency = 20.0

    def answered(
        self, now: float, epoch: int, refused: bool, took: float, headers: Mapping[str, str]
    ) -> None:
        if refused:
            self.concurrency = max(1.0, self.concurrency * 0.9)
        else:
            self.concurrency = min(200.0, self.concurrency + 1 / self.concurrency)


class Gradient2(Unlimited):
    """Requests under way, by how much longer than usual answers take (Netflix' Gradient2). Refusals don't."""

    def __init__(self) -> None:
        super().__init__()
        self.concurrency = 20.0
        self._usual = 0.0

    def answered(
        self, now: float, epoch: int, refused: bool, took: float, headers: Mapping[str, str]
    ) -> None:
        self._usual = took if not self._usual else self._usual + (took - self._usual) / 600
        gradient = max(0.5, min(1.0, 1.5 * self._usual / took))
        wanted = self.concurrency * gradient + 4
        self.concurrency = max(20.0, min(200.0, self.concurrency * 0.8 + wanted * 0.2))

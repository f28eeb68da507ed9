"""A coroutine that is cancelled at one of its awaits."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class CancelledAt:
    """Awaits a coroutine and cancels the task, or calls `cancel`, when it suspends for the n-th time."""

    def __init__(
        self, work: Coroutine[Any, Any, object], n: int, cancel: Callable[[], object] | None = None
    ) -> None:
        self._work, self._left, self._cancel = work, n, cancel

    @property
    def came(self) -> bool:
        return self._left <= 0

    def __await__(self) -> Generator[Any, Any, object]:
        steps = self._work.__await__()
        send: Callable[[], Any] = lambda: next(steps)  # noqa: E731
        while True:
            try:
                waited_for = send()
            except StopIteration as end:
                return end.value
            self._left -= 1
            if self._left == 0:
                task = asyncio.current_task()
                assert task is not None
                (self._cancel or task.cancel)()
            try:
                answer = yield waited_for
            except BaseException as error:
                send = lambda error=error: steps.throw(error)  # type: ignore[misc]  # noqa: E731
            else:
                send = lambda answer=answer: steps.send(answer)  # type: ignore[misc]  # noqa: E731

"""Tasks handed to a cluster a bounded number ahead, their results taken in order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from lume_local._shards.executor import Json

Handle = TypeVar("Handle")

_PER_SLOT = 4
"""Tasks in flight for each slot: a slow first one keeps the others busy for a while."""


def in_order(
    arguments: Sequence[Json],
    slots: int,
    submit: Callable[[Json], Handle],
    take: Callable[[Handle], Json],
    cancel: Callable[[list[Handle]], None],
) -> Iterator[Json]:
    """The results in the order of the arguments; however this ends, what was submitted and not taken is cancelled."""
    flying: deque[Handle] = deque()
    try:
        for argument in arguments:
            if len(flying) >= _PER_SLOT * max(slots, 1):
                yield take(flying[0])
                flying.popleft()
            flying.append(submit(argument))
        while flying:
            yield take(flying[0])
            flying.popleft()
    finally:
        cancel(list(flying))

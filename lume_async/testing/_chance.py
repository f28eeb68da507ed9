"""`Chance`: everything that a seed decides, and the events among it, which can be left out."""

import random
from collections.abc import Collection, Sequence
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """Draws from a seed.

    A draw that is not the usual one is an event. A history that fails can be repeated with some of its events only,
    to find the ones that matter.

    Args:
        seed: the same seed gives the same draws in every process.
        only: the numbers of the events that happen; None: all.

    Attributes:
        events: all drawn events, including the ones that were left out.
        random: a source for whatever is not an event, such as delays.

    Examples:
        >>> chance = Chance(7)
        >>> print(chance.happens(1.0, "the server restarts"), chance.events)
        True ['the server restarts']
    """

    def __init__(self, seed: int, only: Collection[int] | None = None) -> None:
        self.events: list[str] = []
        self.random: random.Random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._only = only

    def happens(self, share: float, event: str) -> bool:
        """Return whether an event happens now; `share` is its probability.

        Examples:
            >>> print(Chance(7).happens(0.0, "the server restarts"))
            False
        """
        return self.random.random() < share and self._takes_place(event)

    def pick(self, what: str, choices: Sequence[T]) -> T:
        """Return one of the choices; all but the first are events.

        Examples:
            >>> print(Chance(7).pick("items", [1, 2, 3]) in (1, 2, 3))
            True
        """
        drawn = self.random.randrange(len(choices))
        return choices[drawn if drawn and self._takes_place(f"{what}: {choices[drawn]}") else 0]

    def _takes_place(self, event: str) -> bool:
        number = len(self.events)
        self.events.append(event)
        return self._only is None or number in self._only

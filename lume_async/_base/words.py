"""Words of messages. Pure."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def counted(number: int, one: str, several: str | None = None) -> str:
    """Return `1 run`, `2,000 runs`; pass `several` if an s is not enough: `counted(2, "row is", "rows are")`."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def listed(items: Sequence[T], most: int = 5, spelled: Callable[[T], str] = repr) -> str:
    """Return the first items, and `…` if there are more."""
    return ", ".join(map(spelled, items[:most])) + (", …" if len(items) > most else "")


def of_toml(reason: str) -> str:
    """Return the reason given by `tomllib`, with a hint at missing quotes if it reports an invalid value."""
    is_bare = reason.startswith("Invalid value")
    return f"{reason}: write a text in quotes, such as sql = '''…'''" if is_bare else reason

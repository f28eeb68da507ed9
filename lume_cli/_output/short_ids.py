"""Short run ids: the first 8 characters after the prefix, or more if two runs would look alike. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

LENGTH = 8
_SHORT = re.compile(r"(?:[a-z]+_)?([A-Za-z0-9]{8,25})")
"""Longer ones are complete: a ULID has 26 characters, a UUID 32."""


def short(run_id: str) -> str:
    """Shorten `run_2f91d0ab55e84c6d…` to `2f91d0ab`; an id that is short or has another form is unchanged."""
    return _cut(run_id, LENGTH)


def shorts(run_ids: Iterable[str]) -> Mapping[str, str]:
    """Return a unique short form of each."""
    ids = list(dict.fromkeys(run_ids))
    found, length = {one: short(one) for one in ids}, LENGTH
    while alike := {name for name, times in Counter(found.values()).items() if times > 1}:
        length += 1
        found |= {one: _cut(one, length) for one in ids if found[one] in alike}
    return found


def may_be_short(text: str) -> bool:
    """Return whether this may stand for a longer id."""
    return _SHORT.fullmatch(text) is not None


def stands_for(text: str, run_id: str) -> bool:
    """Return whether the text is the id, its end, or the beginning of the part after its prefix."""
    given = _SHORT.fullmatch(text)
    if text == run_id or given is None:
        return text == run_id
    return _tail(run_id).startswith(given[1]) or run_id.endswith(given[1])


def _tail(run_id: str) -> str:
    return run_id.rpartition("_")[2]


def _cut(run_id: str, length: int) -> str:
    tail = _tail(run_id)
    return tail[:length] if len(tail) > length and tail.isalnum() else run_id

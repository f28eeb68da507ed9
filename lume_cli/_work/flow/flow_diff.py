"""How two flow versions differ, part by part. Pure."""

import json
from collections.abc import Iterator
from typing import Any

from attrs import frozen

_NAMES = ("flow", "version")
"""Two versions always differ in these."""


@frozen
class Difference:
    """A part of a flow that only one of two versions has, or that is another in each.

    Attributes:
        place: where, such as `columns.email.pattern`.
        before: what the first one says there; None where it says nothing.
        after: the same of the second.
    """

    place: str
    before: Any
    after: Any

    def lines(self) -> list[str]:
        """As `- place = before` and `+ place = after`."""
        both = (("-", self.before), ("+", self.after))
        return [f"{sign} {self.place} = {_shown(value)}" for sign, value in both if value is not None]


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    """What differs, in the order of the first and then of the second."""
    old, new = dict(_parts(before, "")), dict(_parts(after, ""))
    places = [place for place in {**old, **new} if place not in _NAMES]
    found = [Difference(place, old.get(place), new.get(place)) for place in places]
    return [one for one in found if one.before != one.after]


def _parts(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Every value below this one by its place; the rules by their names."""
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from _parts(below, f"{place}.{name}" if place else name)
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        for number, one in enumerate(value):
            name = one.get("name", number)
            yield from _parts({key: part for key, part in one.items() if key != "name"}, f"{place}.{name}")
    else:
        yield place, value


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

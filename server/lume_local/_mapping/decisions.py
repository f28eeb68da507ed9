"""A person's decisions about the columns of a proposal. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from lume_local._flow.fields import FlowError

APPROVED, FLAGGED = "approved", "flagged"
MOST_SOURCES, MOST_VALUES, LONGEST = 20, 500, 500
"""Maximum source columns of a decision, values of its lookup, and characters of each text."""
_FIELDS = ("sources", "reading", "lookup", "review", "note", "layouts")


@frozen
class ColumnDecision:
    """A person's decision about one target column.

    Attributes:
        sources: the source columns; empty for none, None for the proposed ones.
        reading: the meaning of ambiguous values, as the key of a `Meaning`; None leaves it to the rows.
        lookup: members of the enumeration by source value, None for no member; other values keep the proposed
            member.
        review: `APPROVED` or `FLAGGED`; empty before review.
        note: a remark, such as the reason for a flag.
        layouts: other decisions for single layouts, by their names.
    """

    sources: tuple[str, ...] | None = None
    reading: str | None = None
    lookup: Mapping[str, str | None] | None = None
    review: str = ""
    note: str = ""
    layouts: "Mapping[str, ColumnDecision]" = field(factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether the column is to have no source."""
        return self.sources == ()

    @property
    def changes(self) -> bool:
        """Whether it decides how the column is read."""
        return self.sources is not None or self.is_of_values

    @property
    def is_of_values(self) -> bool:
        """Whether it decides the meaning of values."""
        return self.reading is not None or self.lookup is not None


NOTHING = ColumnDecision()


def decisions(given: Mapping[str, Any]) -> dict[str, ColumnDecision]:
    """Parse decisions by target column: a source column, null for none, or an object. Raises `FlowError`."""
    return {name: _decision(name, one) for name, one in given.items()}


def in_layout(decided: Mapping[str, ColumnDecision], layout: str) -> dict[str, ColumnDecision]:
    return {name: one.layouts.get(layout, one) for name, one in decided.items()}


def _decision(name: str, given: Any) -> ColumnDecision:
    if given is None or isinstance(given, str):
        return ColumnDecision(() if given is None else (given,))
    if not isinstance(given, dict):
        raise _wrong(name, "must have the name of a source column, null, or an object")
    for key in given:
        if key not in _FIELDS:
            raise _wrong(name, f"{key[:100]!r} is not a field of a choice: remove it")
    if (review := given.get("review")) not in (None, APPROVED, FLAGGED):
        raise _wrong(name, f"review must be {APPROVED} or {FLAGGED}")
    sources, reading, lookup = given.get("sources"), given.get("reading"), given.get("lookup")
    if sources is not None:
        if not isinstance(sources, list) or len(sources) > MOST_SOURCES:
            raise _wrong(name, f"sources must be a list of at most {MOST_SOURCES} source columns")
        sources = tuple(_text(name, "sources", one) for one in sources)
    if reading is not None:
        reading = _text(name, "reading", reading)
    if lookup is not None:
        if not isinstance(lookup, dict) or len(lookup) > MOST_VALUES:
            raise _wrong(name, f"lookup must be an object with at most {MOST_VALUES} values")
        lookup = {
            _text(name, "lookup", value): None if member is None else _text(name, "lookup", member)
            for value, member in lookup.items()
        }
    note = _text(name, "note", given.get("note") or "")
    layouts = given.get("layouts") or {}
    if not isinstance(layouts, dict):
        raise _wrong(name, "layouts must be an object with the name of a layout for each decision")
    of_layouts = {layout: _decision(name, one) for layout, one in layouts.items()}
    return ColumnDecision(sources, reading, lookup, review or "", note, of_layouts)


def _text(name: str, field: str, given: Any) -> str:
    if not isinstance(given, str) or len(given) > LONGEST:
        raise _wrong(name, f"{field} must have strings of at most {LONGEST} characters")
    return given


def _wrong(name: str, problem: str) -> FlowError:
    return FlowError("choices", f"{name[:100]!r}: {problem}")


def check_lookup(name: str, lookup: Mapping[str, str | None], members: Sequence[Any] | None) -> None:
    """Raise `FlowError` if a lookup contains values that are not members of the enumeration."""
    if not members:
        raise _wrong(name, "lookup is for a column with an enum")
    for member in lookup.values():
        if member is not None and member not in members:
            raise _wrong(name, f"lookup gives {member[:100]!r}, which is not in the enum")

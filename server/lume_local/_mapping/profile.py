"""The profile of a sample's columns. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from attrs import field, frozen

from lume_local._mapping.facts import Facts, facts_of
from lume_local._samples.guess import Guess
from lume_local._samples.infer import SampleColumn

MOST_KEPT = 500
"""Maximum distinct values of a column that are kept for lookups."""


@frozen
class SourceColumn:
    """A column of a sample.

    Attributes:
        guesses: ways to read its values, the most likely first.
        padded: whether values are padded with spaces.
        counts: its distinct values and how often they occur; empty if there are too many.
        first: some of its values, unchanged.
    """

    name: str
    facts: Facts
    guesses: Sequence[Guess]
    padded: bool
    counts: dict[str, int] = field(repr=False)
    first: list[str] = field(repr=False)

    @property
    def kind(self) -> str | None:
        """The type in the terms of `evidence`."""
        for guess in self.guesses[:1]:
            kind, form, _ = guess.kind
            return form if form in ("date", "date-time", "time") else kind
        return self.facts.kind


@frozen
class Profile:
    """The profile of a sample.

    Attributes:
        name: the name of the sample.
        source: the flow's `[source]` to read it.
        rows: how many rows, spread over the file, the profile is based on.
    """

    name: str
    source: dict[str, Any]
    rows: int
    columns: list[SourceColumn]
    doubts: list[str] = field(factory=list)

    def column(self, name: str) -> SourceColumn | None:
        return next((one for one in self.columns if one.name == name), None)


def profile_column(column: SampleColumn, values: Sequence[str]) -> SourceColumn:
    """Return the profile of a column with these values; empty ones do not count."""
    filled = [value.strip() for value in values if value.strip()]
    counts = Counter(filled)
    return SourceColumn(
        column.source,
        facts_of(values),
        column.guesses if column.guess is not None else [],
        column.spaces,
        dict(counts.most_common()) if len(counts) <= MOST_KEPT else {},
        list(dict.fromkeys(value for value in values if value.strip()))[:200],
    )

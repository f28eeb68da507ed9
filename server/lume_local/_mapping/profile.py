"""The profile of a sample's columns: statistics of their values, and how similar two columns are by these. Pure."""

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from math import log10
from typing import Any

from attrs import field, frozen

from lume_local._samples.guess import Guess
from lume_local._samples.infer import SampleColumn
from lume_local._samples.opening import SampleParts

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*")
_TRUTH = frozenset({"true", "false", "t", "f", "yes", "no", "y", "n"})
_MOST_DISTINCT = 2000
_MOST_VALUES = 10_000
_CLASSES = 5
MOST_KEPT = 500
"""Maximum distinct values of a column that are kept for lookups."""


@frozen
class Facts:
    """Statistics of a column's values.

    Attributes:
        filled: how many values there are, at most 10,000.
        kind: integer, number, boolean, date, date-time or string; None without values.
        values: the distinct values, folded; empty if there are too many to keep.
        numbers: nine quantiles, if the values are numbers.
        shape: the shares of digits, letters, capitals, blanks and other characters.
        length: the average length.
    """

    filled: int
    share: float
    kind: str | None
    values: frozenset[str]
    distinct: float
    numbers: tuple[float, ...]
    shape: tuple[float, ...]
    length: float


def facts_of(values: Sequence[str]) -> Facts:
    """Compute the facts; empty values do not count."""
    filled = [value.strip() for value in values[:_MOST_VALUES] if value.strip()]
    if not filled:
        return Facts(0, 0.0, None, frozenset(), 0.0, (), (0.0,) * _CLASSES, 0.0)
    counts = Counter(filled)
    some = list(counts)[:1000]
    if all(map(_NUMBER.fullmatch, some)):
        kind = "integer" if all(value.lstrip("+-").isdigit() for value in some) else "number"
    elif all(value.lower() in _TRUTH for value in some):
        kind = "boolean"
    elif all(map(_TIME.fullmatch, some)):
        kind = "date-time"
    else:
        kind = "date" if all(map(_DATE.fullmatch, some)) else "string"
    numbers = sorted(map(float, filled)) if kind in ("integer", "number") else []
    many = len(filled) / len(values[:_MOST_VALUES])
    kept = frozenset(map(_folded, counts)) if len(counts) <= _MOST_DISTINCT else frozenset[str]()
    text = "".join(list(counts)[:300])
    letters = [0] * _CLASSES
    for letter in text:
        if letter.isdigit():
            letters[0] += 1
        elif letter.isspace():
            letters[3] += 1
        elif letter.isalpha():
            letters[2 if letter.isupper() else 1] += 1
        else:
            letters[4] += 1
    return Facts(
        len(filled),
        many,
        kind,
        kept,
        len(counts) / len(filled),
        tuple(numbers[min(len(numbers) - 1, n * len(numbers) // 10)] for n in range(1, 10))
        if numbers
        else (),
        tuple(count / max(len(text), 1) for count in letters),
        sum(map(len, counts)) / len(counts),
    )


def _folded(value: str) -> str:
    with suppress(ValueError):
        if _NUMBER.fullmatch(value):
            return f"{float(value):.6g}"
    return value.casefold()


@frozen
class ValueMatch:
    """The similarity of two columns by values, each from 0 to 1.

    Attributes:
        overlap: the share of the smaller set of distinct values that the other has too; 0 if they may not repeat.
        spread: for numbers, how well their quantiles agree.
        shape: how similar characters and lengths are.
        clash: whether the values are of different kinds.
    """

    overlap: float
    spread: float
    shape: float
    known: bool
    clash: bool


def compare(target: Facts, source: Facts) -> ValueMatch:
    if not target.filled or not source.filled:
        return ValueMatch(0.0, 0.0, 0.0, False, False)
    both = target.values & source.values
    smaller = min(len(target.values), len(source.values))
    clash = target.kind != source.kind and not {target.kind, source.kind} <= {"integer", "number"}
    shape = 1 - sum(abs(a - b) for a, b in zip(target.shape, source.shape, strict=True)) / 2
    longer = max(target.length, source.length)
    return ValueMatch(
        overlap=len(both) / smaller if smaller else 0.0,
        spread=_spread(target.numbers, source.numbers),
        shape=shape * (min(target.length, source.length) / longer if longer else 1.0),
        known=True,
        clash=clash,
    )


def _spread(one: Sequence[float], other: Sequence[float]) -> float:
    if not one or not other:
        return 0.0
    low, high = min(one[0], other[0]), max(one[-1], other[-1])
    if high == low:
        return 1.0
    apart = sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one) / (high - low)
    scale = abs(log10(max(abs(one[4]), 1e-9)) - log10(max(abs(other[4]), 1e-9)))
    return max(0.0, 1 - 2 * apart) * max(0.0, 1 - scale / 2)


@frozen
class SourceColumn:
    """A column of a sample.

    Attributes:
        guesses: ways to read its values, the most likely first.
        nulls: words that stand for no value, unless the target is a text.
        counts: its distinct values and how often they occur; empty if there are too many.
        first: some of its values, unchanged.
    """

    name: str
    facts: Facts
    guesses: Sequence[Guess]
    padded: bool
    counts: dict[str, int] = field(repr=False)
    first: list[str] = field(repr=False)
    nulls: Sequence[str] = ()

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
        source: the flow's `[source]` to read it.
        path: the path by which a run would recognise its layout.
        rows: how many rows, spread over the file, the profile is based on.
        footer: the beginnings of its last lines, if these may be no records.
        parts: the sheets of a workbook, or the members of an archive.
        skipped: the number of lines outside of header and records, by kind.
    """

    name: str
    path: str
    source: dict[str, Any]
    rows: int
    columns: list[SourceColumn]
    doubts: list[str] = field(factory=list)
    footer: list[str] = field(factory=list)
    parts: SampleParts = field(factory=SampleParts)
    skipped: dict[str, int] = field(factory=dict)

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
        column.nulls,
    )

"""A proposal: for each target column what it may be read from, how sure that is, and why. Data only."""

from typing import Any

from attrs import asdict, field, frozen

from lume_local._mapping.grades import Grade


@frozen
class Before:
    """A value of the source, and what the expression makes of it; None if the row would be rejected."""

    before: str | None
    after: str | None


@frozen
class LookupLine:
    """One line of a lookup: a value of the source, how often it occurs, and the value of the target that it means."""

    source: str
    rows: int
    target: str | None
    grade: Grade


@frozen
class Meaning:
    """One of the meanings that values of a column may have, such as the day before the month.

    Attributes:
        key: what a person decides by: `dmy` or `mdy` for dates, `.` or `,` for the decimal mark.
        means: the same in words.
        rejected: how many rows of those that were tried it can't read.
    """

    key: str
    means: str
    rejected: int


@frozen
class Choice:
    """One way to fill a target column.

    Attributes:
        sources: the columns of the source, of each sample where these differ.
        sql: the expression; `value` in it is the source column. None if the column is read as it is.
        likely: how likely it is by the evidence, 0 to 1.
        evidence: why, in words; no value of the sample is in them.
        doubts: what a person has to decide.
        passes: which share of the sample's values passes the target's checks; None if that was not tried.
        values: up to three values before and after.
        lookup: the seed that its expression looks values up in.
        suggested: whether a program has suggested it.
        readings: what its values may mean, if some of them may mean two things.
        reading: which of these is used, by its key; None if such values are rejected.
    """

    sources: list[str]
    sql: str | None
    grade: Grade
    likely: float
    evidence: list[str] = field(factory=list)
    doubts: list[str] = field(factory=list)
    passes: float | None = None
    values: list[Before] = field(factory=list, repr=False)
    lookup: list[LookupLine] | None = field(default=None, repr=False)
    suggested: bool = False
    readings: list[Meaning] = field(factory=list)
    reading: str | None = None


@frozen
class ColumnProposal:
    """A target column.

    Attributes:
        chosen: how it is filled; None if it stays unmapped.
        candidates: the best ones, the chosen one included, the likeliest first.
        notes: what the target asks for that a flow does not check.
    """

    name: str
    definition: dict[str, Any]
    chosen: Choice | None
    candidates: list[Choice]
    notes: list[str] = field(factory=list)


@frozen
class SampleSeen:
    """A sample as it was read: `source` is as `[source]` of a flow, `doubts` are about how it is written."""

    name: str
    rows: int
    source: dict[str, Any]
    columns: list[str]
    doubts: list[str] = field(factory=list)


@frozen
class ProposedFlow:
    """The proposal of a flow version.

    Attributes:
        flow_version: the one that it proposes.
        target: what it was made for.
        unmapped: the target columns without a source.
        unused: the columns of the samples that no target column reads.
        doubts: what a person has to decide beside single columns.
        definition: the flow version in its JSON form.
        toml: the same as a file, with the evidence as comments.
        seeds: the seed files that it needs: their texts by their paths.
    """

    flow_version: str
    target: str
    samples: list[SampleSeen]
    columns: list[ColumnProposal] = field(repr=False)
    unmapped: list[str]
    unused: list[str]
    doubts: list[str]
    definition: dict[str, Any] = field(repr=False)
    toml: str = field(repr=False)
    seeds: dict[str, str] = field(factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

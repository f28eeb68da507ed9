"""Proposals for flow versions as the server returns them. Data only."""

from typing import Any

from attrs import Factory, field, frozen

from lume_async._base.public import public
from lume_async._wire.report_models import DryRun


@public
@frozen
class BeforeAfter:
    """A value of a sample, and what the expression makes of it; None if the row would be rejected."""

    before: str | None
    after: str | None


@public
@frozen
class LookupEntry:
    """A value of a sample, how many rows have it, and the member of the target's enumeration that it means."""

    source: str
    rows: int
    target: str | None
    grade: str


@public
@frozen
class ValueReading:
    """One of the meanings that values of a column may have, such as the day before the month.

    Attributes:
        key: what `choices` name it by: `dmy` or `mdy` for dates, `.` or `,` for the decimal mark.
        means: the same in words.
        rejected: the number of rows that it can't read, of those that were looked at.
    """

    key: str
    means: str
    rejected: int = 0


@public
@frozen
class Candidate:
    """One way to fill a column of a target.

    Attributes:
        sources: the columns of the source; the names of one column, if several samples differ.
        sql: the expression, in which `value` is the source column; None if that is read as it is.
        grade: `certain`, `high`, `medium` or `low`.
        likely: how likely it is by the evidence, 0 to 1.
        evidence: why, in words. No value of a sample is in them.
        doubts: what a person has to decide.
        passes: the share of rows that pass the target's checks; None if that was not tried.
        values: up to three values before and after.
        lookup: the lines of the seed file that values are looked up in; None without one.
        suggested: whether a program has suggested it.
        readings: what its values may mean, if some of them may mean two things.
        reading: the key of the one that is used; None if such values are rejected.
    """

    sources: list[str]
    sql: str | None
    grade: str
    likely: float = 0.0
    evidence: list[str] = Factory(list)
    doubts: list[str] = Factory(list)
    passes: float | None = None
    values: list[BeforeAfter] = field(factory=list, repr=False)
    lookup: list[LookupEntry] | None = field(default=None, repr=False)
    suggested: bool = False
    readings: list[ValueReading] = Factory(list)
    reading: str | None = None


@public
@frozen
class ProposedColumn:
    """A column of the target.

    Attributes:
        definition: its type and its checks, as `[columns.<name>]` of a flow.
        chosen: how it is filled; None if it stays unmapped.
        candidates: the best ways to fill it, the chosen one first.
        notes: what the target asks for that a flow does not check.
    """

    name: str
    definition: dict[str, Any] = field(repr=False)
    chosen: Candidate | None
    candidates: list[Candidate] = Factory(list)
    notes: list[str] = Factory(list)


@public
@frozen
class SeenSample:
    """A sample as the server has read it.

    Attributes:
        rows: how many of its rows were looked at.
        source: how it was read, as `[source]` of a flow.
        doubts: what to check about that.
    """

    name: str
    rows: int
    source: dict[str, Any]
    columns: list[str]
    doubts: list[str] = Factory(list)


@public
@frozen
class Proposal:
    """How samples may become the rows of a target. Nothing is registered.

    Attributes:
        flow_version: the flow version that is proposed.
        target: what it was proposed for.
        unmapped: the columns of the target that no source column is likely for.
        unused: the columns of the samples that nothing is read from.
        doubts: what a person has to decide, beside those of single columns.
        definition: the flow version in its JSON form, for `register_flow`.
        toml: the same as a file, with the evidence as comments.
        seeds: the texts of the seed files that it needs, by their paths.
        dry_run: what a run of it on the sample would do; None if that was not asked for.
    """

    flow_version: str
    target: str
    samples: list[SeenSample] = field(repr=False)
    columns: list[ProposedColumn] = field(repr=False)
    unmapped: list[str]
    unused: list[str]
    doubts: list[str]
    definition: dict[str, Any] = field(repr=False)
    toml: str = field(repr=False)
    seeds: dict[str, str] = field(factory=dict, repr=False)
    dry_run: DryRun | None = None

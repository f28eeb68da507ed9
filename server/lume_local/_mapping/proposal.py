"""A proposal: candidates for each target column, with their certainty and evidence. Data only."""

from typing import Any

from attrs import asdict, field, frozen

from lume_local._mapping.evidence import Grade


@frozen
class Before:
    """A source value, and the expression's result; None if the row would be rejected."""

    before: str | None
    after: str | None


@frozen
class LookupLine:
    """One line of a lookup: a source value, how often it occurs, and the target value that it means."""

    source: str
    rows: int
    target: str | None
    grade: Grade


@frozen
class Meaning:
    """One possible meaning of ambiguous values, such as the day before the month.

    Attributes:
        key: the key that a person chooses: `dmy` or `mdy` for dates, `.` or `,` for the decimal mark.
        means: the same in words.
        rejected: how many of the tried rows it can't read.
    """

    key: str
    means: str
    rejected: int


@frozen
class Choice:
    """One way to fill a target column.

    Attributes:
        sources: the source columns, from each sample where these differ.
        sql: the expression; `value` in it is the source column. None if the column is read unchanged.
        likely: the likelihood by the evidence, 0 to 1.
        evidence: the reasons in words, without values of the sample.
        doubts: the decisions left to a person.
        passes: the share of the sample's values that pass the target's checks; None if that was not tried.
        values: up to three values before and after.
        lookup: the seed in which its expression looks values up.
        suggested: whether a program has suggested it.
        readings: the possible meanings, if some values are ambiguous.
        reading: the key of the meaning in use; None if ambiguous values are rejected.
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
        candidates: the best candidates, including the chosen one, the likeliest first.
        notes: requirements of the target that a flow does not check.
    """

    name: str
    definition: dict[str, Any]
    chosen: Choice | None
    candidates: list[Choice]
    notes: list[str] = field(factory=list)


@frozen
class SampleSeen:
    """A sample as it was read.

    Attributes:
        source: the flow's `[source]` to read it.
        doubts: what to check about that.
        layout: the name of the layout that reads it; empty if the version has none.
        footer: the beginnings of its last lines, if these may be no records.
        sheets: the visible ones of a workbook.
        members: the files in an archive.
        skipped: the number of lines (of a workbook: rows) outside of header and records, by kind: `preamble`,
            `comments`, `blank`, `footer`.
    """

    name: str
    rows: int
    source: dict[str, Any]
    columns: list[str]
    doubts: list[str] = field(factory=list)
    layout: str = ""
    footer: list[str] = field(factory=list)
    sheets: list[str] = field(factory=list)
    members: list[str] = field(factory=list)
    skipped: dict[str, int] = field(factory=dict)


@frozen
class LayoutProposal:
    """How the proposed version reads samples in the same form.

    Attributes:
        name: empty if the version has no layouts.
        is_new: whether the version before lacks it.
        source: the `[source]` to read them.
        unmapped: the target columns without a source.
        unused: the columns of the samples that no target column reads.
        doubts: the decisions left to a person, apart from those about single columns and samples.
        match: the patterns of the paths of its files, to be checked; empty if names identify it.
    """

    name: str
    is_new: bool
    samples: list[str]
    source: dict[str, Any]
    columns: list[ColumnProposal] = field(repr=False)
    unmapped: list[str]
    unused: list[str]
    doubts: list[str] = field(factory=list)
    match: list[str] = field(factory=list)

    def column(self, name: str) -> ColumnProposal:
        return next(one for one in self.columns if one.name == name)


@frozen
class ProposedFlow:
    """The proposal of a flow version.

    Attributes:
        layouts: the layouts that read the samples, whether new or not.
        doubts: the decisions left to a person about the version as a whole.
        definition: the flow version in its JSON form.
        toml: the same as a file, with the evidence as comments.
        seeds: the contents of its seed files by path.
    """

    flow_version: str
    target: str
    samples: list[SampleSeen]
    layouts: list[LayoutProposal]
    doubts: list[str]
    definition: dict[str, Any] = field(repr=False)
    toml: str = field(repr=False)
    seeds: dict[str, str] = field(factory=dict, repr=False)

    @property
    def columns(self) -> list[ColumnProposal]:
        """The target's columns in the first layout."""
        return self.layouts[0].columns

    @property
    def unmapped(self) -> list[str]:
        """The target columns without a source in the first layout."""
        return self.layouts[0].unmapped

    @property
    def unused(self) -> list[str]:
        """The columns of the first layout's samples that no target column reads."""
        return self.layouts[0].unused

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

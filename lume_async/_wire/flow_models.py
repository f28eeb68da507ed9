"""Flow versions, and proposals for them, as the server returns them. Data only."""

from datetime import datetime
from typing import Any

from attrs import Factory, field, frozen

from lume_async._base.public import public
from lume_async._wire.report_models import DryRun


@public
@frozen(kw_only=True)
class FlowColumn:
    """One column of a flow's target: the source of its value, and its constraints.

    Attributes:
        sql: the expression over the columns of the source; with layouts, the default for those that leave the column
            out, None if it has none.
        type: the JSON type; `sql_type` is the type in the target.
        unique: whether later rows with the same value are rejected.
        constraints: other constraints, such as `format`, `enum`, `pattern`, `minimum`, `maxLength`.
    """

    name: str
    sql: str | None = None
    type: str
    sql_type: str
    required: bool = False
    unique: bool = False
    constraints: dict[str, Any] = Factory(dict)


@public
@frozen
class FlowRule:
    """A condition on the target's columns, and the action for rows that violate it: reject, warn or fail."""

    name: str
    sql: str
    message: str = ""
    on_fail: str = "reject"


@public
@frozen
class FlowSummary:
    """A flow version in a list.

    Attributes:
        flow_version: the flow and its version, such as `customer_cleaner:v1`, to submit runs with.
        content_hash: equal for versions with the same content.
        runs: the number of its runs.
    """

    flow_version: str
    content_hash: str
    created_at: datetime
    runs: int
    columns: list[FlowColumn] = field(repr=False)
    rules: list[FlowRule] = field(factory=list, repr=False)
    description: str | None = None


@public
@frozen
class FlowVersion:
    """A flow version as it was registered.

    Attributes:
        flow_version: the flow and its version, such as `customer_cleaner:v1`.
        content_hash: equal for versions with the same content.
        definition: the JSON form of its file.
        target_schema: the JSON Schema (draft 2020-12) of its mapped rows; None if it was not requested, as with
            `register_flow`, or the server does not offer it.
        is_new: whether this call has registered it; False if the server already had it.
    """

    flow_version: str
    content_hash: str
    created_at: datetime
    definition: dict[str, Any] = field(repr=False)
    is_new: bool = False
    target_schema: dict[str, Any] | None = field(default=None, repr=False)


@public
@frozen
class BeforeAfter:
    """A value of a sample, and the result of the expression; None if the row would be rejected."""

    before: str | None
    after: str | None


@public
@frozen
class LookupEntry:
    """A value of a sample, its number of rows, and the member of the target's enumeration that it means."""

    source: str
    rows: int
    target: str | None
    grade: str


@public
@frozen
class ValueReading:
    """One of the meanings that values of a column may have, such as the day before the month.

    Attributes:
        key: its name in `choices`: `dmy` or `mdy` for dates, `.` or `,` for the decimal mark.
        means: the same in words.
        rejected: how many of the inspected rows it can't read.
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
        sql: the expression, in which `value` is the source column; None if the column is used as is.
        grade: `certain`, `high`, `medium` or `low`.
        likely: how likely it is by the evidence, 0 to 1.
        evidence: why, in words that quote no value of a sample.
        doubts: questions that a person has to decide.
        passes: the share of rows that pass the target's checks; None if that was not tried.
        values: up to three values before and after.
        lookup: the lines of the seed file used for the lookup; None without a lookup.
        suggested: whether a program has suggested it.
        readings: the possible meanings of its values, if some are ambiguous.
        reading: the key of the meaning in use; None if ambiguous values are rejected.
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
        notes: the target's demands that a flow does not check.
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
        rows: the number of inspected rows.
        source: how it was read, as `[source]` of a flow.
        doubts: points to check about that.
        layout: the name of the layout that reads it; empty if the version has none.
        footer: the beginnings of its last lines, if these may be no records: then set `footer`.
        sheets: the visible sheets of a workbook.
        members: the files in an archive.
        skipped: the number of lines (of a workbook: rows) that are neither a header nor of a record, by kind:
            `preamble`, `comments`, `blank`, `footer`.
    """

    name: str
    rows: int
    source: dict[str, Any]
    columns: list[str]
    doubts: list[str] = Factory(list)
    layout: str = ""
    footer: list[str] = Factory(list)
    sheets: list[str] = Factory(list)
    members: list[str] = Factory(list)
    skipped: dict[str, int] = Factory(dict)


@public
@frozen
class ProposedLayout:
    """How the proposed version reads samples in the same form.

    Attributes:
        name: empty if the version has no layouts.
        is_new: whether the version before lacks it.
        samples: their names.
        source: the `[source]` to read them.
        unmapped: the columns of the target without a likely source column.
        unused: the columns of the samples that are not read.
        doubts: questions that a person has to decide, in addition to those about single columns and samples.
        match: patterns of the paths of its files, to be checked; empty if the names in a file identify it.
    """

    name: str
    is_new: bool
    samples: list[str]
    source: dict[str, Any] = field(repr=False)
    columns: list[ProposedColumn] = field(repr=False)
    unmapped: list[str]
    unused: list[str]
    doubts: list[str] = Factory(list)
    match: list[str] = Factory(list)


@public
@frozen
class Proposal:
    """A proposed conversion of samples to the rows of a target. Nothing is registered.

    Attributes:
        flow_version: the proposed flow version.
        target: the target of the proposal.
        layouts: the layouts that read the samples. If none is new, the target reads all of them.
        doubts: questions that a person has to decide about the version as a whole.
        definition: the flow version in its JSON form, for `register_flow`.
        toml: the same as a file, with the evidence as comments.
        seeds: the contents of the seed files that it needs, by path.
        dry_run: its dry run on the sample; None if none was requested.
    """

    flow_version: str
    target: str
    samples: list[SeenSample] = field(repr=False)
    layouts: list[ProposedLayout]
    doubts: list[str]
    definition: dict[str, Any] = field(repr=False)
    toml: str = field(repr=False)
    seeds: dict[str, str] = field(factory=dict, repr=False)
    dry_run: DryRun | None = None

    @property
    def columns(self) -> list[ProposedColumn]:
        """The columns of the target in the first layout."""
        return self.layouts[0].columns

    @property
    def unmapped(self) -> list[str]:
        """The columns of the target without a likely source column in the first layout."""
        return self.layouts[0].unmapped

    @property
    def unused(self) -> list[str]:
        """The columns of the first layout's samples that are not read."""
        return self.layouts[0].unused

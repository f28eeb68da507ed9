"""A run's metadata and its typed views: the submission, the stages, and the counts. No I/O."""

from datetime import datetime
from functools import cached_property
from typing import Any

from attrs import Factory, frozen

from lume_async._base.elided import elided
from lume_async._base.public import public
from lume_async._decoding import structure


@public
@frozen
class FileMetrics:
    """One of `metadata.metrics.source.files`."""

    file: str
    bytes: int = 0
    lines: int = 0
    records: int = 0
    skipped: dict[str, int] = Factory(dict)
    layout: str | None = None


@public
@frozen
class LayoutMetrics:
    """`metadata.metrics.source.layouts[name]`: the files with a layout, their rows, and the names in them.

    `header` is empty for corrected rejects. `aliases` is as in `SourceMetrics`.
    """

    files: int = 0
    rows_read: int = 0
    rows_rejected: int = 0
    header: list[str] = Factory(list)
    aliases: dict[str, list[str]] = Factory(dict)


@public
@frozen
class SourceMetrics:
    """`metadata.metrics.source`: the size of the source, counted separately from reading it.

    Every record is in `rows_mapped`, `rows_rejected` or `rows_filtered`. Lines are physical ones, 0 for formats
    without lines.
    If the source has several files, `files` has the counts of each. `header` has the names of the columns, if the
    flow reports changes of them (`on_unknown_columns = "warn"`). `aliases` has the source's names of the columns that
    have several names in the flow. `skipped` has the lines (of a workbook: the rows) that are neither a header
    nor of a record, by kind: `preamble`, `comments`, `blank`, `footer`.
    `layouts` has the layouts of the files, by their names; it is empty unless the flow version has layouts.
    """

    bytes: int = 0
    lines: int = 0
    records: int = 0
    skipped: dict[str, int] = Factory(dict)
    files: list[FileMetrics] = Factory(list)
    header: list[str] = Factory(list)
    aliases: dict[str, list[str]] = Factory(dict)
    layouts: dict[str, LayoutMetrics] = Factory(dict)


@public
@frozen
class ColumnMetrics:
    """`metadata.metrics.columns[name]`: statistics of a column of the mapped rows.

    `min` and `max` are the least and the greatest value as text; None for text columns and without values.
    `distinct` is an estimate of the number of different values.
    """

    nulls: int = 0
    min: str | None = None
    max: str | None = None
    distinct: int | None = None


@public
@frozen
class SeedMetrics:
    """`metadata.metrics.seeds[name]`: a seed file that the run has read, and its number of rows."""

    file: str
    sha256: str
    rows: int = 0


@public
@frozen
class Metrics:
    """`metadata.metrics`: rows in, rows out, rows rejected and why (`reason: count`).

    `rows_filtered` counts the rows removed by the flow's row filter (`[source] where`).
    `warnings` counts mapped rows per rule that warned. Servers may omit `source` (None), `warnings`, `columns` and
    `seeds` (empty).
    """

    rows_read: int = 0
    rows_mapped: int = 0
    rows_rejected: int = 0
    reject_reasons: dict[str, int] = Factory(dict)
    warnings: dict[str, int] = Factory(dict)
    source: SourceMetrics | None = None
    columns: dict[str, ColumnMetrics] = Factory(dict)
    seeds: dict[str, SeedMetrics] = Factory(dict)
    rows_filtered: int = 0


@public
@frozen
class RunInfo:
    """`metadata.run`: the flow version and source of the run, its times, and the submitted layout."""

    run_id: str | None = None
    flow_version: str | None = None
    source_path: str | None = None
    status: str | None = None
    force_rerun: bool | None = None
    run_metadata: dict[str, Any] | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_seconds: float | None = None
    submitted_by: str | None = None
    layout: str | None = None


@public
@frozen
class Stage:
    """One of `metadata.stages`: a part of the run, how long it took, and how many rows it processed."""

    name: str
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_seconds: float | None = None
    rows: int | None = None


@public
@frozen
class TargetLocations:
    """`metadata.target_locations`: where rows were written; None if nowhere. `rejects_table` has the rejects, too."""

    mapped: str | None = None
    rejects: str | None = None
    rejects_table: str | None = None


@public
class RunMetadata(dict[str, Any]):
    """A run's metadata: a `dict` as the server sent it, with typed views that are decoded on first use.

    The views are cached: change the dict before you read them, or not at all. If a value violates the API
    contract, its view raises `ResponseDecodeError` with the JSON path; the dict itself stays readable.

    Examples:
        >>> print(run.metadata["metrics"]["rows_read"], run.metadata.metrics.rows_read)
        4 4
    """

    @cached_property
    def run(self) -> RunInfo:
        """The flow version and source of the run, and its times."""
        return structure(self.get("run") or {}, RunInfo, at="$.metadata.run")

    @cached_property
    def stages(self) -> list[Stage]:
        """The stages of the run, in order."""
        return structure(self.get("stages") or [], list[Stage], at="$.metadata.stages")

    @cached_property
    def metrics(self) -> Metrics:
        """Rows read, mapped and rejected; zeros until the run has counted them."""
        return structure(self.get("metrics") or {}, Metrics, at="$.metadata.metrics")

    @cached_property
    def target_locations(self) -> TargetLocations:
        """Where the rows were written."""
        places = self.get("target_locations") or {}
        return structure(places, TargetLocations, at="$.metadata.target_locations")

    @property
    def notes(self) -> list[str]:
        """The server's remarks about the run; empty if it sends none."""
        given = self.get("notes")
        return [str(note) for note in given] if isinstance(given, list) else []

    @property
    def error_message(self) -> str | None:
        """The server's error message, in at most 500 characters (`error` in some pages of the documented SDK)."""
        message = self.get("error_message") or self.get("error")
        return None if message is None else elided(str(message))

"""The counts of a run's rows: a part of `models`. Data only, no I/O."""

from attrs import Factory, frozen

from lume_async._base.public import public


@public
@frozen
class FileMetrics:
    """One of `metadata.metrics.source.files`."""

    file: str
    bytes: int = 0
    lines: int = 0
    records: int = 0
    skipped: dict[str, int] = Factory(dict)


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
    """

    bytes: int = 0
    lines: int = 0
    records: int = 0
    skipped: dict[str, int] = Factory(dict)
    files: list[FileMetrics] = Factory(list)
    header: list[str] = Factory(list)
    aliases: dict[str, list[str]] = Factory(dict)


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

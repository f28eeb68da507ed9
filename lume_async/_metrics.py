"""What a server reports of a run's rows: a part of `models`. Data only, no I/O."""

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


@public
@frozen
class SourceMetrics:
    """`metadata.metrics.source`: what the source holds, counted apart from reading it.

    Every record is in `rows_mapped` or in `rows_rejected`. Lines are physical ones, 0 for formats without lines.
    `files` has the same of each file, if the source has several; the numbers above are their sums. `header` has the
    names of the columns, if the flow reports changes of them (`on_unknown_columns = "warn"`).
    """

    bytes: int = 0
    lines: int = 0
    records: int = 0
    files: list[FileMetrics] = Factory(list)
    header: list[str] = Factory(list)


@public
@frozen
class ColumnMetrics:
    """`metadata.metrics.columns[name]`: what is in a column of the mapped rows.

    `min` and `max` are the least and the greatest value as text; None for texts, and if there are no values.
    `distinct` is an estimate of how many different values there are.
    """

    nulls: int = 0
    min: str | None = None
    max: str | None = None
    distinct: int | None = None


@public
@frozen
class SeedMetrics:
    """`metadata.metrics.seeds[name]`: the seed file that a run has read, and how many rows it has."""

    file: str
    sha256: str
    rows: int = 0


@public
@frozen
class Metrics:
    """`metadata.metrics`: rows in, rows out, rows rejected and why (`reason: count`).

    `warnings` counts mapped rows for which a rule of the flow gave a warning. Not every server reports warnings, the
    counts of the source (None then), statistics of the columns, and seeds (empty then).
    """

    rows_read: int = 0
    rows_mapped: int = 0
    rows_rejected: int = 0
    reject_reasons: dict[str, int] = Factory(dict)
    warnings: dict[str, int] = Factory(dict)
    source: SourceMetrics | None = None
    columns: dict[str, ColumnMetrics] = Factory(dict)
    seeds: dict[str, SeedMetrics] = Factory(dict)

"""The steps of a run: their results, and the interface that carries them out.

`engine` has their order. `OneProcess`, `SmallFiles` and, for shards, `shards.sharded.Sharded` implement them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen
from duckdb import DuckDBPyConnection

from lume_local._shared.protocol import Execute
from lume_local._worker.rejects import Rejects
from lume_local._worker.sources.intake import Account
from lume_local._worker.sources.places.source_kinds import source_of
from lume_local._worker.sources.read import Intake
from lume_local._worker.sources.source import Pause, Source, no_pause
from lume_local._worker.statements import Statements
from lume_local._worker.targets.target import Target
from lume_local._worker.targets.target_kinds import target_of

if TYPE_CHECKING:
    from lume_local._worker.targets.earlier_values import EarlierValues


class AccountOpen(Exception):
    """Rows are missing, or there are too many: a fault of the engine."""


def close_account(account: Account, staged: int, malformed: int, metrics: dict[str, Any]) -> None:
    """Compare the records split from the source with the rows read and judged. Raises `AccountOpen`."""
    _same("records in the source", account.records, "rows read and malformed lines", staged + malformed)
    total = metrics["rows_mapped"] + metrics["rows_rejected"] + metrics.get("rows_filtered", 0)
    _same("records in the source", account.records, "rows mapped, rejected and filtered", total)


def check_written(part: str, rows: int, written: int) -> None:
    """Compare the rows meant for a target with the rows written to it. Raises `AccountOpen`."""
    _same(f"rows {part}", rows, f"rows written to target.{part}", written)


def _same(what: str, count: int, other: str, found: int) -> None:
    if count != found:
        raise AccountOpen(
            f"row counts do not match (a bug in lume): {count:,} {what}, but {found:,} {other}. Nothing was "
            "written. Please report it, with the file if possible"
        )


WEIGHTS = {"SYNCING_SOURCE": (0.0, 0.2), "TRANSFORMING": (0.2, 0.62), "SYNCING_TARGET": (0.82, 0.18)}
"""Where each stage begins in a run's progress, and its share of it."""


def progress_in(stage: str, connection: DuckDBPyConnection) -> float:
    """Return the progress of a run, 0 to 1; any thread may ask."""
    start, share = WEIGHTS[stage]
    part = connection.query_progress()  # percentage of the current statement, -1 if unknown
    return round(start + share * max(0.0, min(part, 100.0)) / 100, 3)


Metrics = dict[str, Any]
Unmet = list[dict[str, str]]
"""The expectations of the flow that the rows don't meet."""


class Context:
    """The context that all steps of one run share.

    Attributes:
        connection: from `connect()`.
        enter: called at the start of each stage with its name and the number of rows of the previous stage.
        pause: called often while Python reads the source; raises if the run is to stop.
        permit: called before the commit, which it may refuse.
        folder: the run's own, with its lock and its commit.
        targets: in the order in which they are published.
        rejects_table: gets the rejects besides their file.
        earlier: the values of earlier runs that no row may repeat, if they are not in the target's table.
    """

    earlier: "EarlierValues | None" = None

    def __init__(
        self,
        connection: DuckDBPyConnection,
        job: Execute,
        enter: Callable[[str, int | None], None],
        pause: Pause = no_pause,
        permit: Callable[[], None] = lambda: None,
    ) -> None:
        self.connection, self.job, self.enter, self.pause, self.permit = connection, job, enter, pause, permit
        self.flow, self.folder, run = job.flow, Path(job.folder), job.run_id
        self.source: Source = source_of(job.source, job.flow)
        places = {"rejects": job.rejects, "mapped": job.mapped}
        self.targets: dict[str, Target] = {
            part: target_of(part, place, run) for part, place in places.items()
        }
        table, earlier = job.rejects_table, job.earlier
        self.rejects_table = None if table is None else target_of("rejects", table, run)
        if earlier is not None:  # few runs have any
            from lume_local._worker.targets.earlier_values import EarlierValues

            self.earlier = EarlierValues(earlier, self.folder, run, pause)


@frozen
class TakenIn:
    """The rows of the source, each with the checks that it breaks.

    Attributes:
        staged: SQL for the rows.
        written: the number of rows in the file of the mapped rows, if it is already written.
        shards: how the work was split, for the metrics; None for a run without an engine.
        few: the rows as `Statements.each` returns them, if they are few.
        parts: the results of the tasks that staged the shards, in their order.
    """

    statements: Statements
    intake: Intake
    staged: str
    seeds: dict[str, Any]
    written: int | None = None
    shards: dict[str, Any] | None = None
    few: Sequence[tuple[Any, ...]] | None = field(default=None, repr=False)
    parts: Sequence[dict[str, Any]] = field(default=(), repr=False)


@frozen
class Judged:
    """A run that can be built.

    Attributes:
        message: for a dry run, why a real one would fail.
        ledger: the part for the server's ledger of rejects (see `for_ledger`).
    """

    taken: TakenIn
    metrics: Metrics
    rejects: Rejects
    message: str | None = None
    ledger: dict[str, Any] = field(factory=dict, repr=False)


class RunSteps(Protocol):
    """Carries out the steps of a run. `Run` calls each method at most once for each target, in this order."""

    def take_in(self) -> TakenIn:
        """Read the source and stage its rows. Raises `SourceError`."""
        ...

    def counts(self, taken: TakenIn) -> list[int]:
        """Return the number of rows, of rejects, then of the rows that break each check."""
        ...

    def twins(self, taken: TakenIn, unique: list[str]) -> list[int]:
        """Create the table `_lume_duplicates`; return how many rows repeat each unique column, then the total."""
        ...

    def late(self, taken: TakenIn, has_duplicates: bool) -> Counter[str]:
        """Add the rejects that depend on databases to `_lume_duplicates` (see `late`). Raises `TargetError`."""
        ...

    def profile(self, taken: TakenIn, duplicates: bool, metrics: Metrics) -> tuple[dict[str, Any], Unmet]:
        """Profile the columns of the mapped rows; `duplicates` is whether there is `_lume_duplicates`."""
        ...

    def build(self, part: str, judged: Judged) -> Path:
        """Write all rows of one target to a durable file (or folder) in the run's folder. Raises `AccountOpen`."""
        ...

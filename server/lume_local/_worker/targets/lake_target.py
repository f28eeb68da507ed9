"""A table of an open format as a target: the part that Delta and Iceberg share.

Nothing of a run is in the table before the run has committed. `publish` then writes all its rows in one commit of the
table, which also names the run. That name is looked up before each attempt, so no load is done twice: of two
processes that write the same load at the same time, one gets a conflict, looks again, and finds the other's.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import duckdb
from attrs import asdict, evolve, frozen

from lume_local._flow.databases import CURRENT, HISTORY_COLUMNS, RUN_COLUMN, VALID_FROM, VALID_TO
from lume_local._flow.definition import quoted
from lume_local._shared.failing import require
from lume_local._worker.databases.built import Built, opened
from lume_local._worker.databases.columns import TableColumn, Types, check_columns
from lume_local._worker.databases.database import DatabaseTrouble, Load, instant
from lume_local._worker.sql import row_of, text
from lume_local._worker.targets.target import Begin, Step, TargetError, refuse_overtaken

FLOW_COLUMN, SOURCE_COLUMN = "_lume_flow", "_lume_source"
"""The columns by which `replace_batch` finds the earlier rows of a source. Columns stay when a table is compacted and
its history removed.
"""
_ATTEMPTS = 30
_LONGEST_PAUSE = 2.0
_SURE = timedelta(days=1)
"""How often a load is tried while others write to the table, and seconds between two attempts."""


@frozen
class LakeLoad(Load):
    """The description of a load into a table of an open format."""

    @property
    def own(self) -> dict[str, str]:
        """The values of the columns that the flow does not have, all VARCHAR."""
        is_batch = self.mode == "replace_batch"
        batch = {FLOW_COLUMN: self.flow, SOURCE_COLUMN: self.source_path} if is_batch else {}
        return batch | {RUN_COLUMN: self.run_id}

    @property
    def all_columns(self) -> list[list[str]]:
        """The names and SQL types of all columns that a run writes."""
        kinds = "TIMESTAMPTZ", "TIMESTAMPTZ", "BOOLEAN"
        history = [[name, kind] for name, kind in zip(HISTORY_COLUMNS, kinds, strict=True)]
        return [*self.columns, *(history if self.history else []), *([name, "VARCHAR"] for name in self.own)]


class Lake(ABC):
    """A table at one of its versions; each format is a subclass.

    Attributes:
        extra: the extra of the distribution that has its library, and `module` of that library.
        types: how its types relate to a flow's.
        columns: the columns of this version.
        partition_by: the columns that divide its files.
    """

    extra: ClassVar[str]
    module: ClassVar[str]
    types: ClassVar[Types]
    columns: list[TableColumn]
    partition_by: list[str]

    @staticmethod
    @abstractmethod
    def shown(load: LakeLoad) -> str:
        """Return the table's place as a URL, for a run's `target_locations`."""

    @classmethod
    @abstractmethod
    def open(cls, load: LakeLoad) -> "Lake | None":
        """Return the table at its newest version; None if it is missing. Raises `DatabaseTrouble`."""

    @classmethod
    @abstractmethod
    def create(cls, load: LakeLoad) -> None:
        """Create the table, without rows, unless another writer has just done so. Raises `DatabaseTrouble`."""

    @classmethod
    @abstractmethod
    def statement(cls, load: LakeLoad) -> str:
        """Return the statement or call that creates the table, for people."""

    @abstractmethod
    def is_loaded(self, load: LakeLoad) -> bool:
        """Return whether the load is done. Raises `DatabaseTrouble`."""

    @abstractmethod
    def add_columns(self, columns: list[list[str]]) -> "Lake":
        """Add nullable columns with these SQL types; return the table with them. Raises `DatabaseTrouble`."""

    @abstractmethod
    def load(self, load: LakeLoad, rows: Built, written: dict[str, Any]) -> None:
        """Write the rows in one commit, which names the load. Raises `DatabaseTrouble`.

        `written` keeps what a repetition of the attempt can use again.
        """

    @abstractmethod
    def nothing(self) -> Any:
        """Return an Arrow stream of all columns, without rows."""

    @abstractmethod
    def scan(self, columns: Collection[str], run_ids: Collection[str]) -> Any:
        """Return an Arrow stream of the columns, of the rows that these runs have written; of all if there is none.

        Raises `DatabaseTrouble`.
        """

    @classmethod  # noqa: B027 - a format that takes all values has nothing to check
    def check_rows(cls, rows: Built, by: list[str]) -> None:
        """Check that the values of the columns `by` can divide files. Raises `DatabaseTrouble`."""

    def has_rows(self, load: LakeLoad) -> bool:
        """Return whether the table has rows of the load's run."""
        if all(column.name != RUN_COLUMN for column in self.columns):
            return False
        with duckdb.connect() as connection:
            connection.register("_lume_rows", self.scan([RUN_COLUMN], [load.run_id]))
            return connection.execute("SELECT 1 FROM _lume_rows LIMIT 1").fetchone() is not None

    def lacking(self, load: LakeLoad) -> list[list[str]]:
        """Return the columns that a run adds to the table, if `evolve` allows it; none of a history.

        Existing rows would have no version.
        """
        there = {column.name.lower() for column in self.columns}.union(HISTORY_COLUMNS)
        return [one for one in load.all_columns if load.evolve and one[0].lower() not in there]

    def check(self, load: LakeLoad) -> None:
        """Check that the table takes the load. Raises `DatabaseTrouble`, which names all differences."""
        added = [TableColumn(name, self.types.best(kind)) for name, kind in self.lacking(load)]
        needed = [one for one in load.all_columns if one[0] != RUN_COLUMN]
        shape = evolve(load, columns=needed, history="")  # its columns are among them
        check_columns(shape, load.table, [*self.columns, *added], self.types)
        if load.partition_by and load.partition_by != self.partition_by:
            there_by = ", ".join(self.partition_by) or "no column"
            raise DatabaseTrouble(
                f"{load.table} is partitioned by {there_by}, and the flow says partition_by = "
                f"{load.partition_by}: leave it out, or write the table anew"
            )


class LakeTarget:
    """See `Target`.

    Args:
        place: the members of `LakeLoad` except the run's.
        run_id: claims the load.
    """

    suffix = ".parquet"
    lake: ClassVar[type[Lake]]

    def __init__(self, part: str, place: dict[str, Any], run_id: str) -> None:
        self._part = part
        self._load = LakeLoad(**place, run_id=run_id)
        self.location = self.lake.shown(self._load)
        self.place = self.location

    def check(self) -> None:
        self._checked()

    def _checked(self) -> Lake | None:
        with self._named():
            require(self.lake.module, self.lake.extra, f"a table of {self._load.kind}")
            table = self.lake.open(self._load)
            if table is not None:
                table.check(self._load)
            elif not self._load.create:
                raise DatabaseTrouble(
                    f"there is no table {self._load.table}: set create = true in target.{self._part}, or create it, "
                    f"for example {self.lake.statement(self._load)}"
                )
            return table

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (DatabaseTrouble, ModuleNotFoundError) as trouble:
            may_pass = isinstance(trouble, DatabaseTrouble) and trouble.may_pass
            raise TargetError(f"target.{self._part}: {trouble}", may_pass=may_pass) from None

    def prepare(self, built: Path, begin: Begin) -> Step:
        """Check the table again, and the rows: everything else is left to `publish`."""
        table = self._checked()
        with self._named(), opened(built) as rows:
            rows.check_key(self._load.key)
            by = table.partition_by if table else self._load.partition_by
            self.lake.check_rows(rows, [name for name in by if name in self._load.names])
        return {"kind": self._load.kind, "part": self._part, "from": str(built), "load": asdict(self._load)}

    @classmethod
    def publish(cls, step: Step) -> None:
        """Write the rows, unless this load is in the table; again if another writer's commit came first."""
        load, written = LakeLoad(**step["load"]), dict[str, Any]()
        with opened(Path(step["from"])) as rows:
            for attempt in range(_ATTEMPTS):
                try:
                    return cls._done(load, step, rows, written)
                except DatabaseTrouble as trouble:
                    if not trouble.is_undone:
                        words = str(trouble).rstrip(".")
                        if not trouble.may_pass:
                            words += f". None of its rows are in {load.table}"
                        raise TargetError(words, may_pass=trouble.may_pass) from None
                    # Writers that met must not meet again.
                    time.sleep(random.uniform(0.5, 1.0) * min(0.05 * 2**attempt, _LONGEST_PAUSE))  # noqa: S311
        words = f"other writers of {load.table} came first {_ATTEMPTS} times: the load is tried again later"
        raise TargetError(words, may_pass=True)

    @classmethod
    def _done(cls, load: LakeLoad, step: Step, rows: Built, written: dict[str, Any]) -> None:
        table = cls.lake.open(load)
        # The table may have forgotten the name of an old load; only its rows tell then.
        is_old = bool(load.at) and datetime.now(UTC) - datetime.fromisoformat(load.at) > _SURE
        if table is not None and (table.is_loaded(load) or (is_old and table.has_rows(load))):
            return
        refuse_overtaken(step)
        if table is None:
            if not load.create:
                raise DatabaseTrouble(f"the table {load.table} is gone")
            cls.lake.create(load)
            raise DatabaseTrouble(f"{load.table} was created", is_undone=True)
        table.check(load)
        if lacking := table.lacking(load):
            table = table.add_columns(lacking)
        table.load(load, rows, written)

    @staticmethod
    def abandon(step: Step) -> None:
        """Do nothing: nothing outside of the run's folder is begun before its commit."""


def in_types_of(table: Lake, load: LakeLoad, rows: Built, *, whole: bool) -> tuple[str, list[str]]:
    """Return the query for the rows in the table's types, and the names of its columns.

    Args:
        whole: with all columns of the table, NULL where the run has none.
    """
    rows.connection.register("_lume_nothing", table.nothing())
    rows.connection.execute("CREATE OR REPLACE TEMP TABLE _lume_there AS FROM _lume_nothing")
    kinds = {name: kind for name, kind, *_ in rows.connection.execute("DESCRIBE _lume_there").fetchall()}
    items = {name: f"r.{quoted(name)}" for name, _ in load.columns}
    items |= {name: text(value) for name, value in load.own.items()}
    names = [name for name in kinds if whole or name in items]
    columns = (
        f"CAST({items[name]} AS {kinds[name]}) AS {quoted(name)}" if name in items else f"t.{quoted(name)}"
        for name in names
    )
    return f"SELECT {', '.join(columns)} FROM {rows.rows} AS r LEFT JOIN _lume_there AS t ON false", names


def versions(load: LakeLoad, rows: Built, query: str, current: Iterable[Any]) -> tuple[str, str]:
    """Compare the rows of a query with the table's current ones: Arrow data that also has `valid_from`.

    Return the query for the new versions, and the instant at which they begin. `_lume_new` then has the rows of new
    keys and of other values, and `_lume_since`, which is NULL for a new key.
    """
    connection, names = rows.connection, list(map(quoted, load.names))
    keys = [quoted(name) for name in load.key]
    same = " AND ".join(f"n.{one} = c.{one}" for one in keys)
    differs = " OR ".join(f"n.{one} IS DISTINCT FROM c.{one}" for one in names if one not in keys) or "false"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE _lume_all AS {query}")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE _lume_found AS SELECT {', '.join(keys)}, true AS _lume_differs, "
        "NULL::TIMESTAMPTZ AS _lume_since FROM _lume_all LIMIT 0"
    )
    for part in current:
        connection.register("_lume_current", part)
        connection.execute(
            f"INSERT INTO _lume_found SELECT {', '.join(f'n.{one}' for one in keys)}, {differs}, c.{VALID_FROM} "
            f"FROM _lume_all AS n JOIN _lume_current AS c ON {same} WHERE c.{quoted(CURRENT)}"
        )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE _lume_new AS SELECT n.*, c._lume_since FROM _lume_all AS n LEFT JOIN "
        f"(SELECT {', '.join(keys)}, bool_or(_lume_differs) AS _lume_differs, max(_lume_since) AS _lume_since "
        f"FROM _lume_found GROUP BY ALL) AS c ON {same} WHERE c._lume_differs IS DISTINCT FROM false"
    )
    (latest,) = row_of(connection, "SELECT max(_lume_since)::TIMESTAMP::VARCHAR FROM _lume_new")
    at = instant(load, latest)
    return (
        f"SELECT * EXCLUDE (_lume_since), {text(at)}::TIMESTAMPTZ AS {VALID_FROM}, NULL::TIMESTAMPTZ AS {VALID_TO}, "
        f"true AS {quoted(CURRENT)} FROM _lume_new"
    ), at

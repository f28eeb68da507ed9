"""Iceberg tables as targets, with pyiceberg: in SQL, REST and other catalogs of pyiceberg's own settings.

A load is one snapshot. A table keeps one row a key by copy-on-write: the data files that have rows to be replaced are
written anew without them. Of pyiceberg's own retry only the detection is used: it would commit a load again that
another process has just committed.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from lume_async._base.elided import elided
from lume_local._flow.databases import CURRENT, RUN_COLUMN, VALID_FROM, VALID_TO
from lume_local._flow.definition import INTEGERS, quoted
from lume_local._flow.lakes import ICEBERG, partition_as_given, partition_of
from lume_local._worker.databases.built import Built
from lume_local._worker.databases.columns import TableColumn, Types, has_room
from lume_local._worker.databases.database import DatabaseTrouble, without_secrets
from lume_local._worker.object_stores import iceberg_settings
from lume_local._worker.sql import row_of, text
from lume_local._worker.targets.lake_target import (
    FLOW_COLUMN,
    SOURCE_COLUMN,
    Lake,
    LakeLoad,
    LakeTarget,
    in_types_of,
    versions,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.manifest import DataFile
    from pyiceberg.partitioning import PartitionKey
    from pyiceberg.table import FileScanTask, Table
    from pyiceberg.table.metadata import TableMetadata

RUN = "lume.run"
"""The property of a snapshot with the load that it contains."""
RECENT_RUNS = "lume.recent-runs"
"""The property of a table with its last loads, which stays when snapshots expire: times (ms) and loads."""
MOST_RECENT = 200
_IN_ONE_FILE = 64 * 1024 * 1024
"""Bytes of rows in memory (Arrow) for one data file, which is smaller."""
_AT_ONCE = 20_000
"""Rows in a batch from DuckDB."""
_MOST_FILES = 10_000
"""Data files of a load: many partitions with few rows each make a table slow."""
_MOST_VALUES = 200
"""Values of a key that are compared with the bounds of each data file; beyond it only their own bounds are."""
_ORDERED = ("int", "long", "string", "date")
"""Types of keys whose bounds show which data files can have them."""
_SECRET = re.compile(r"secret|token|credential|password|key|sas", re.IGNORECASE)
_MAY_PASS = re.compile(
    "OperationalError|InterfaceError|ServerError|ServiceUnavailableError|CommitStateUnknownException|"
    "TooManyRequestsError|AuthorizationExpiredError"
)
"""Errors of catalogs that are no OSError, by name: their libraries need not be installed."""
_REFUSED = re.compile(
    "AWS Error (ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|NO_SUCH_BUCKET)|"
    "AuthorizationFailure|AuthorizationPermissionMismatch|AuthenticationFailed"
)
"""Answers of stores that a repetition does not change; Arrow raises an OSError for all."""
_CONNECT, _ANSWER = 10.0, 60.0
"""Seconds for a connection to a REST catalog, and for its answer: pyiceberg would wait for ever."""


_TYPES = {
    "UINTEGER": "long",
    "BIGINT": "long",
    "UBIGINT": "decimal(20, 0)",
    "HUGEINT": "decimal(38, 0)",
    "FLOAT": "float",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "VARCHAR": "string",
    "JSON": "string",
    "JSONB": "string",
    "UUID": "uuid",
    "DATE": "date",
    "TIME": "time",
    "TIMESTAMP": "timestamp",
    "TIMESTAMPTZ": "timestamptz",
}
"""The types of Iceberg that hold all values of a type; unsigned numbers of 64 bits need a decimal."""
_WIDER = {("int", "long"), ("float", "double"), ("uuid", "string")}
"""Types that Iceberg itself would promote a column to."""
_DIGITS = {"int": "decimal(10, 0)", "long": "decimal(19, 0)"}
"""Decimals with all digits of integers."""


class IcebergTypes(Types):
    """See `Types`. Types are spelled as by pyiceberg."""

    def best(self, sql_type: str) -> str:
        if sql_type.startswith("DECIMAL("):
            return sql_type.lower().replace(",", ", ").replace(",  ", ", ")
        return _TYPES.get(sql_type) or ("int" if sql_type in INTEGERS else sql_type)

    def fits(self, given: str, sql_type: str) -> bool:
        best = self.best(sql_type)
        return best == given or (best, given) in _WIDER or has_room(given, _DIGITS.get(best, best))


class IcebergLake(Lake):
    """See `Lake`. `table` is loaded anew by `open`; changes wait in its transaction for `load`."""

    extra, module, types = ICEBERG, "pyiceberg", IcebergTypes()

    def __init__(self, load: LakeLoad, table: "Table") -> None:
        # Only for this transaction: pyiceberg must not commit again by itself, and should merge small manifests.
        properties = {
            "commit.manifest-merge.enabled": "true",
            **table.properties,
            "commit.retry.num-retries": "0",
        }
        table.metadata = table.metadata.model_copy(update={"properties": properties})
        self._load, self.table, self.transaction = load, table, table.transaction()
        schema, spec = table.schema(), table.spec()
        self.columns = [TableColumn(one.name, str(one.field_type), one.required) for one in schema.fields]
        self.partition_by = [
            partition_as_given(str(one.transform), str(schema.find_column_name(one.source_id)))
            for one in spec.fields
        ]

    @property
    def metadata(self) -> "TableMetadata":
        """The table's metadata with the waiting changes."""
        return self.transaction.table_metadata

    @staticmethod
    def shown(load: LakeLoad) -> str:
        return f"iceberg://{load.catalog}/{load.table}"

    @classmethod
    def open(cls, load: LakeLoad) -> "IcebergLake | None":
        with _catalog(load) as catalog:
            from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

            try:
                table = catalog.load_table(load.table)
            except (NoSuchTableError, NoSuchNamespaceError):
                namespace = load.table.rpartition(".")[0]
                if catalog.namespace_exists(namespace):
                    return None
                raise DatabaseTrouble(
                    f"there is no namespace {namespace} in the catalog {load.catalog}: create it, for example "
                    f"pyiceberg --catalog {load.catalog} create namespace {namespace}"
                ) from None
            if table.format_version < 2:
                raise DatabaseTrouble(
                    f"{load.table} has the format version {table.format_version}, whose snapshots can't be ordered: "
                    "upgrade it to 2, for example with upgrade_table_version of pyiceberg"
                )
            return cls(load, table)

    @classmethod
    def create(cls, load: LakeLoad) -> None:
        with _catalog(load) as catalog:
            from pyiceberg.partitioning import PartitionField, PartitionSpec
            from pyiceberg.schema import Schema
            from pyiceberg.transforms import parse_transform
            from pyiceberg.types import NestedField

            required = {*load.required, *load.key}
            columns = [
                NestedField(n, *one, required=one[0] in required) for n, one in enumerate(_columns(load), 1)
            ]
            schema = Schema(*columns)
            partitions = []
            for n, given in enumerate(load.partition_by):
                transform, name = partition_of(given)
                own = name if transform == "identity" else f"{name}_{transform.partition('[')[0]}"
                source = schema.find_field(name).field_id
                partitions.append(PartitionField(source, 1000 + n, parse_transform(transform), own))
            catalog.create_table_if_not_exists(load.table, schema, partition_spec=PartitionSpec(*partitions))

    @classmethod
    def statement(cls, load: LakeLoad) -> str:
        columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in _columns(load))
        by = f" PARTITIONED BY ({', '.join(load.partition_by)})" if load.partition_by else ""
        return f"CREATE TABLE {load.table} ({columns}) USING iceberg{by}"

    def check(self, load: LakeLoad) -> None:
        super().check(load)
        given = {*load.required, *load.key}
        for column in self.columns:
            if column.must_be_given and column.name in load.names and column.name not in given:
                raise DatabaseTrouble(
                    f"{column.name} of {load.table} needs a value, but may be NULL in the flow: set required = true"
                )

    def is_loaded(self, load: LakeLoad) -> bool:
        from pyiceberg.table.snapshots import ancestors_of

        snapshots = self.table.metadata.snapshots
        if any(one.summary is not None and one.summary.get(RUN) == load.claim for one in snapshots):
            return True
        recent = [one.split(":", 1) for one in self.table.properties.get(RECENT_RUNS, "").split()]
        if any(claim == load.claim for _, claim in recent):
            return True
        if len(recent) < MOST_RECENT:
            return False
        unbroken = ancestors_of(self.table.current_snapshot(), self.table.metadata)
        oldest = min(*(one.timestamp_ms for one in unbroken), *(int(at) for at, _ in recent))
        is_forgotten = oldest > datetime.fromisoformat(load.at).timestamp() * 1000
        return is_forgotten and self.has_rows(load)

    def add_columns(self, columns: list[list[str]]) -> "Lake":
        """See `Lake`: they become visible with the rows, in the same commit."""
        from pyiceberg.types import NestedField

        with _catalog(self._load), self.transaction.update_schema() as update:
            for name, sql_type in columns:
                kind = self.types.best(sql_type)
                update.add_column((name,), NestedField(0, name, kind).field_type)
                self.columns.append(TableColumn(name, kind))
        return self

    def load(self, load: LakeLoad, rows: Built, written: dict[str, Any]) -> None:
        with _catalog(load):
            # The table's shape decides about the files.
            shape = repr((self.metadata.schema(), self.metadata.spec()))
            written.setdefault(shape, _Work(load, rows)).commit(self)

    def nothing(self) -> Any:
        from pyiceberg.io.pyarrow import schema_to_pyarrow

        return schema_to_pyarrow(self.metadata.schema(), include_field_ids=False).empty_table()

    def scan(self, columns: Collection[str], run_ids: Collection[str]) -> Any:
        terms: Any = import_module("pyiceberg.expressions")
        which = terms.In(RUN_COLUMN, tuple(run_ids)) if run_ids else terms.AlwaysTrue()
        with _catalog(self._load):
            return self.table.scan(which, tuple(columns)).to_arrow_batch_reader()


class IcebergTarget(LakeTarget):
    """See `Target`."""

    lake = IcebergLake


class _Work:
    """The data files of a load, which later attempts at its commit use again."""

    def __init__(self, load: LakeLoad, rows: Built) -> None:
        self._load, self._rows, self._sql = load, rows, rows.connection
        self._key = load.key or [FLOW_COLUMN, SOURCE_COLUMN]
        self._added: list[DataFile] | None = None
        self._known: dict[tuple[str, int], list[DataFile] | None] = {}
        self._at = ""
        self._names, self._count = uuid4(), count()

    def commit(self, lake: IcebergLake) -> None:
        """Write the files that are still missing, then commit. Raises pyiceberg's errors."""
        from pyiceberg.expressions import AlwaysFalse
        from pyiceberg.table import DataScan

        load, transaction = self._load, lake.transaction
        given = {*load.names, *load.own}
        kept = (
            [one.name for one in lake.columns if one.name not in given]
            if load.key and not load.history
            else []
        )
        new, names = in_types_of(lake, load, self._rows, whole=bool(kept))
        where: BooleanExpression = AlwaysFalse()
        removed: list[DataFile] = []
        added: list[DataFile] = []
        if load.mode != "append":
            where = self._candidates(lake, new)
            tasks = list(DataScan(lake.metadata, lake.table.io, where).plan_files())
            if load.history:
                new = self._new_versions(lake, new, tasks)
            if kept:
                new = self._with_kept(lake, new, tasks, kept)
            for task in tasks:
                if (files := self._rewritten(lake, task)) is not None:
                    removed.append(task.file)
                    added += files
        if self._added is None:
            # Ordered, so a value is in few files, whose bounds show it.
            by = dict.fromkeys((*(partition_of(one)[1] for one in lake.partition_by), *load.key))
            order = f" ORDER BY {', '.join(map(quoted, by))}" if by else ""
            uuids = [quoted(one.name) for one in lake.columns if one.type == "uuid" and one.name in names]
            exact = ", ".join(f"unhex(replace({one}::VARCHAR, '-', '')) AS {one}" for one in uuids)
            chosen = f"* REPLACE ({exact})" if uuids else "*"  # else Arrow gets UUIDs as text
            self._added = list(self._files(lake, self._stream(f"SELECT {chosen} FROM ({new}){order}")))
        now = time.time_ns() // 10**6
        recent = [*lake.table.properties.get(RECENT_RUNS, "").split(), f"{now}:{load.claim}"]
        transaction.set_properties({RECENT_RUNS: " ".join(recent[-MOST_RECENT:])})
        update = transaction.update_snapshot(snapshot_properties={RUN: load.claim})
        with update.overwrite() if removed else update.merge_append() as snapshot:
            snapshot.delete_by_predicate(where)
            for file in removed:
                snapshot.delete_data_file(file)
            for file in (*added, *self._added):
                snapshot.append_data_file(file)
        transaction.commit_transaction()

    def _candidates(self, lake: IcebergLake, new: str) -> Any:
        """Return a condition that all rows to be replaced meet; note the keys of the load's rows."""
        terms: Any = import_module("pyiceberg.expressions")  # its classes are typed as pydantic sees them
        load, sql = self._load, self._sql
        named = [quoted(name) if load.key else f"{text(load.own[name])} AS {name}" for name in self._key]
        keys = f"DISTINCT {', '.join(named)} FROM ({new if load.key else 'SELECT 1'})"
        sql.execute(f"CREATE OR REPLACE TEMP TABLE _keys AS SELECT {keys}")
        where: Any = terms.EqualTo(CURRENT, True) if load.history else terms.AlwaysTrue()
        kinds = {one.name: one.type for one in lake.columns}
        for name in self._key:
            if kinds[name] not in _ORDERED:
                continue
            # As text, which pyiceberg converts to the column's type.
            values = f"SELECT DISTINCT {quoted(name)}::VARCHAR FROM _keys LIMIT {_MOST_VALUES + 1}"
            found = [value for (value,) in sql.execute(values).fetchall()]
            if len(found) <= _MOST_VALUES:
                where = terms.And(where, terms.In(name, found))
            else:
                one = quoted(name)
                low, high = row_of(sql, f"SELECT min({one})::VARCHAR, max({one})::VARCHAR FROM _keys")
                where = terms.And(
                    where, terms.GreaterThanOrEqual(name, low), terms.LessThanOrEqual(name, high)
                )
        return where

    def _new_versions(self, lake: IcebergLake, new: str, tasks: "Sequence[FileScanTask]") -> str:
        """Return the query for the new versions; `_keys` then has the keys whose current rows end at `_at`."""
        self._added, self._known = None, {}  # they depend on the table's rows
        names = [*self._load.names, VALID_FROM, CURRENT]
        current = (self._read(lake, task, names) for task in tasks)
        new, self._at = versions(self._load, self._rows, new, current)
        keys = ", ".join(map(quoted, self._load.key))
        self._sql.execute(
            f"CREATE OR REPLACE TEMP TABLE _keys AS SELECT {keys} FROM _lume_new WHERE _lume_since IS NOT NULL"
        )
        return new

    def _with_kept(
        self, lake: IcebergLake, new: str, tasks: "Sequence[FileScanTask]", kept: list[str]
    ) -> str:
        """Return a query for the new rows that keep the table's values in columns outside the flow."""
        self._added = None  # it depends on the table's rows
        keys, columns = ", ".join(map(quoted, self._key)), list(map(quoted, kept))
        self._sql.execute(
            f"CREATE OR REPLACE TEMP TABLE _kept AS SELECT {', '.join([keys, *columns])} FROM _lume_there"
        )
        for task in tasks:
            self._sql.register("_file", self._read(lake, task, [*self._key, *kept]))
            self._sql.execute(f"INSERT INTO _kept BY NAME FROM _file SEMI JOIN _keys USING ({keys})")
        values = ", ".join(f"first({one}) AS {one}" for one in columns)
        return (
            f"SELECT n.* REPLACE ({', '.join(f'o.{one} AS {one}' for one in columns)}) FROM ({new}) AS n "
            f"LEFT JOIN (SELECT {keys}, {values} FROM _kept GROUP BY {keys}) AS o USING ({keys})"
        )

    def _rewritten(self, lake: IcebergLake, task: "FileScanTask") -> "list[DataFile] | None":
        """Return the files that replace a data file; None if it has no row to be replaced."""
        name = task.file.file_path, len(task.delete_files)
        if name not in self._known:
            pc: Any = import_module("pyarrow.compute")

            hits = self._hits(lake, task)
            self._known[name] = None
            if pc.any(hits).as_py():
                rows = self._read(lake, task, None)
                rows = self._closed(rows, hits) if self._load.history else rows.filter(pc.invert(hits))
                self._known[name] = list(self._files(lake, rows.to_reader(_AT_ONCE)))
        return self._known[name]

    def _hits(self, lake: IcebergLake, task: "FileScanTask") -> Any:
        """Return for each row of a data file whether the load replaces or closes it."""
        current = [CURRENT] if self._load.history else []
        self._sql.register("_file", self._read(lake, task, [*self._key, *current]))
        names = list(map(quoted, self._key))
        on = " AND ".join(
            [*(f"f.{one} = k.{one}" for one in names), *(f"f.{quoted(one)}" for one in current)]
        )
        return self._stream(
            f"SELECT k.{names[0]} IS NOT NULL AS hit FROM (SELECT *, row_number() OVER () AS _lume_n FROM _file) "
            f"AS f LEFT JOIN _keys AS k ON {on} ORDER BY _lume_n"
        ).read_all()["hit"]

    def _closed(self, rows: "pa.Table", hits: Any) -> "pa.Table":
        """Return the rows, closed where `hits` is true."""
        import pyarrow as pa

        pc: Any = import_module("pyarrow.compute")
        at = pa.scalar(datetime.fromisoformat(self._at), pa.timestamp("us", "UTC"))
        for name, value in ((VALID_TO, at), (CURRENT, pa.scalar(False))):
            place = rows.column_names.index(name)
            closed = pc.if_else(hits, value, rows.column(place))
            rows = rows.set_column(place, rows.schema.field(place), closed)
        return rows

    def _read(self, lake: IcebergLake, task: "FileScanTask", names: list[str] | None) -> "pa.Table":
        """Return columns of a data file in memory, without the rows that are deleted from it."""
        from pyiceberg.expressions import AlwaysTrue
        from pyiceberg.io.pyarrow import ArrowScan

        schema = lake.metadata.schema()
        chosen = schema if names is None else schema.select(*names)
        return ArrowScan(lake.metadata, lake.table.io, chosen, AlwaysTrue()).to_table([task])

    def _stream(self, query: str) -> "pa.RecordBatchReader":
        found = self._sql.sql(query)
        new = getattr(found, "to_arrow_reader", None)  # DuckDB 1 doesn't have it
        return (new or found.fetch_record_batch)(_AT_ONCE)

    def _files(self, lake: IcebergLake, rows: "pa.RecordBatchReader") -> "Iterator[DataFile]":
        """Write rows to data files, one after the other."""
        import pyarrow as pa
        from pyiceberg.io.pyarrow import bin_pack_record_batches, schema_to_pyarrow, write_file
        from pyiceberg.table import WriteTask

        schema = lake.metadata.schema().select(*rows.schema.names)
        stored = schema_to_pyarrow(schema, include_field_ids=False)
        for batches in bin_pack_record_batches(rows, _IN_ONE_FILE):
            chunk = pa.Table.from_batches(batches).select(stored.names).cast(stored)
            for key, part in _partitioned(lake.metadata, chunk):
                if (number := next(self._count)) >= _MOST_FILES:
                    raise DatabaseTrouble(
                        f"the rows for {self._load.table} need more than {_MOST_FILES:,} files: divide them by "
                        "fewer values, for example month(…) instead of day(…)"
                    )
                task = WriteTask(self._names, number, schema, part.to_batches(), partition_key=key)
                yield from write_file(lake.table.io, lake.metadata, iter([task]))


def _partitioned(
    metadata: "TableMetadata", rows: "pa.Table"
) -> "Iterator[tuple[PartitionKey | None, pa.Table]]":
    """Yield the rows of each partition, by Iceberg's transforms of their distinct values."""
    import pyarrow as pa
    from pyiceberg.partitioning import PartitionFieldValue, PartitionKey

    spec, schema = metadata.spec(), metadata.schema()
    if spec.is_unpartitioned():
        yield None, rows
        return
    columns = []
    for field in spec.fields:
        source = schema.find_field(field.source_id)
        values = rows[source.name]
        if pa.types.is_temporal(values.type) and not pa.types.is_time(values.type):
            # Days or microseconds, as the transforms take them: Python has no year 10,000.
            values = values.cast(pa.int32() if pa.types.is_date(values.type) else pa.int64())
        coded = values.combine_chunks().dictionary_encode("encode")
        apply = field.transform.transform(source.field_type)
        distinct = [None if one is None else apply(one) for one in coded.dictionary.to_pylist()]
        columns.append([distinct[code] for code in coded.indices.to_pylist()])
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row, values in enumerate(zip(*columns, strict=True)):
        groups.setdefault(values, []).append(row)
    for values, numbers in groups.items():
        pairs = [PartitionFieldValue(*one) for one in zip(spec.fields, values, strict=True)]
        yield PartitionKey(pairs, spec, schema), rows.take(pa.array(numbers))


def _columns(load: LakeLoad) -> list[tuple[str, str]]:
    """Return the names and Iceberg types of the table that a run creates."""
    return [(name, IcebergTypes().best(sql_type)) for name, sql_type in load.all_columns]


@cache
def _bound_requests() -> None:
    """Give each request of this process without a timeout one: pyiceberg has no setting for it."""
    from requests.adapters import HTTPAdapter

    adapter: Any = HTTPAdapter
    send = adapter.send

    def bound(
        self: Any, request: Any, stream: Any = False, timeout: Any = None, *more: Any, **named: Any
    ) -> Any:
        return send(self, request, stream, timeout or (_CONNECT, _ANSWER), *more, **named)

    adapter.send = bound


_catalogs: dict[str, "tuple[dict[str, str], Catalog]"] = {}
"""The catalogs that this process has opened, with their settings."""


@contextmanager
def _catalog(load: LakeLoad) -> "Iterator[Catalog]":
    """Open the catalog; convert all errors to `DatabaseTrouble`."""
    from pyiceberg.catalog import load_catalog
    from pyiceberg.utils.config import Config

    name, settings = load.catalog, dict[str, str]()
    try:
        settings = {key: str(value) for key, value in (Config().get_catalog_config(name) or {}).items()}
        if not settings:
            raise DatabaseTrouble(
                f"the server has no settings of a catalog {name}: set PYICEBERG_CATALOG__{name.upper()}__URI, and "
                "what else pyiceberg needs for it, in the server's environment, or write them to its .pyiceberg.yaml"
            )
        settings = iceberg_settings(settings) | settings
        known = _catalogs.get(name)
        if known is None or known[0] != settings:
            if known is not None:
                known[1].close()
            _bound_requests()
            _catalogs[name] = settings, load_catalog(name, **settings)
        yield _catalogs[name][1]
    except DatabaseTrouble:
        raise
    except Exception as error:  # a catalog or a file system raises what its library does
        kind = type(error).__name__
        words = without_secrets(f"{kind}: {error}", _secrets(settings))
        may_pass = bool(_MAY_PASS.fullmatch(kind)) or (
            isinstance(error, OSError)
            and not isinstance(error, (FileNotFoundError, PermissionError))
            and not _REFUSED.search(words)
        )
        raise DatabaseTrouble(
            f"{load.table} in the catalog {name} can't be used: {elided(words, 500)}",
            may_pass=may_pass,
            is_undone=kind == "CommitFailedException",
        ) from None


def _secrets(settings: dict[str, str]) -> Iterator[str]:
    for name, value in settings.items():
        if _SECRET.search(name):
            yield from filter(None, (value, value.partition(":")[2]))
        elif password := urlsplit(value).password:
            yield from (password, unquote(password))

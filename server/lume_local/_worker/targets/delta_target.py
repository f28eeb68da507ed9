"""Delta tables, in folders and object stores, with deltalake.

A load is one commit of the table with a transaction identifier: the run and its part as `appId`. deltalake refuses a
commit if one with the same identifier came first. Identifiers are forgotten after a while, as a table would otherwise
be larger with each run (`delta.setTransactionRetentionDuration`); the rows of an older run are looked up instead.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import re
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from lume_async._base.elided import elided
from lume_local._flow.databases import CURRENT, RUN_COLUMN, VALID_FROM, VALID_TO
from lume_local._flow.definition import quoted
from lume_local._flow.urls import is_store_url
from lume_local._worker.databases.built import Built
from lume_local._worker.databases.columns import TableColumn, Types, has_room
from lume_local._worker.databases.database import DatabaseTrouble
from lume_local._worker.object_stores import PASSING, code_of, meaning, options_for_delta
from lume_local._worker.sql import row_of, text
from lume_local._worker.targets.lake_target import (
    Lake,
    LakeLoad,
    LakeTarget,
    in_types_of,
    versions,
)

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable
    from deltalake.schema import Field
    from deltalake.table import TableMerger

_KEPT = "interval 30 days"
"""How long a table that a run has created keeps transaction identifiers."""
_MEMORY, _SPILL, _ROWS = 256 * 1024**2, 64 * 1024**3, 100_000
"""Bytes of memory and of the disk for a merge, and rows that it writes at once."""
_HELD, _CELL = 512 * 1024**2, 46
"""Bytes of unchanged rows that a merge may keep in memory, and bytes of one of their values."""
_SAME = {
    "TINYINT": ("byte", "short", "integer", "long"),
    "UTINYINT": ("short", "integer", "long"),
    "SMALLINT": ("short", "integer", "long"),
    "USMALLINT": ("integer", "long"),
    "INTEGER": ("integer", "long"),
    "UINTEGER": ("long",),
    "BIGINT": ("long",),
    "UBIGINT": ("decimal(20,0)",),
    "FLOAT": ("float", "double"),
    "DOUBLE": ("double",),
    "BOOLEAN": ("boolean",),
    "DATE": ("date",),
    "TIMESTAMP": ("timestamp_ntz",),
    "TIMESTAMPTZ": ("timestamp",),
}
"""The types of Delta that hold all values of a type, the usual one first; all others are strings."""
_MADE = {"delta.generationExpression", "delta.identity.start"}
_UNSAFE = {"delta.enableDeletionVectors": "true", "delta.columnMapping.mode": "(name|id)"}
"""Properties of tables whose data files deltalake is not trusted to read or replace."""
_FINAL = "The transaction includes Remove", "Unsupported table features"
"""The beginnings of errors of a commit that don't come from other writers."""
_SPARK = {"byte": "TINYINT", "short": "SMALLINT", "integer": "INT", "long": "BIGINT"}
_BOUNDED = *_SPARK, "string"
"""Types whose values are compared as their literals are."""
_NOISE = re.compile(r"(\x1b\[[0-9;]*m|[\s↳])+")
"""Colours and line breaks, with which the library shows causes."""


class DeltaTypes(Types):
    """See `Types`."""

    def spelled(self, table: str) -> str:
        return f"delta.`{table}`"

    def best(self, sql_type: str) -> str:
        if sql_type.startswith("DECIMAL"):
            return sql_type.lower().replace(" ", "")
        return _SAME.get(sql_type, ("string",))[0]

    def fits(self, given: str, sql_type: str) -> bool:
        return given in _SAME.get(sql_type, ("string",)) or has_room(given, self.best(sql_type))


class DeltaLake(Lake):
    """See `Lake`."""

    extra, module, types = "delta", "deltalake", DeltaTypes()

    def __init__(self, load: LakeLoad, table: "DeltaTable") -> None:
        self._load, self._table = load, table
        self.columns = [
            TableColumn(one.name, str(kind), not one.nullable, not _MADE.isdisjoint(one.metadata))
            for one in table.schema().fields
            for kind in [getattr(one.type, "type", one.type)]  # as the format spells it, without its parts
        ]
        self.partition_by = list(table.metadata().partition_columns)

    @staticmethod
    def shown(load: LakeLoad) -> str:
        return f"delta+{load.table if is_store_url(load.table) else Path(load.table).as_uri()}"

    @classmethod
    def open(cls, load: LakeLoad) -> "DeltaLake | None":
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        with _errors(load, "can't be read"):
            try:
                return cls(load, DeltaTable(load.table, storage_options=options_for_delta(load.table)))
            except TableNotFoundError:
                pass
        folder = Path(load.table)
        if not is_store_url(load.table) and folder.exists() and any(folder.iterdir()):
            raise DatabaseTrouble(f"{load.table} has files, and is not a Delta table: name another folder")
        return None

    @classmethod
    def create(cls, load: LakeLoad) -> None:
        from deltalake import DeltaTable, Schema

        fields = [_field(name, kind, name in load.required) for name, kind in load.all_columns]
        with _errors(load, "can't be created"):
            DeltaTable.create(
                load.table,
                Schema(fields),
                mode="ignore",
                partition_by=load.partition_by or None,
                configuration={"delta.setTransactionRetentionDuration": _KEPT},
                storage_options=options_for_delta(load.table),
            )

    @classmethod
    def statement(cls, load: LakeLoad) -> str:
        columns = []
        for name, sql_type in load.all_columns:
            kind = cls.types.best(sql_type)
            required = " NOT NULL" if name in load.required else ""
            columns.append(f"`{name}` {_SPARK.get(kind, kind.upper())}{required}")
        by = f" PARTITIONED BY ({', '.join(load.partition_by)})" if load.partition_by else ""
        return f"CREATE TABLE {cls.types.spelled(load.table)} ({', '.join(columns)}) USING DELTA{by}"

    def check(self, load: LakeLoad) -> None:
        super().check(load)
        given = self._table.metadata().configuration
        for name, value in (
            _UNSAFE if load.mode == "append" else {"delta.appendOnly": "true", **_UNSAFE}
        ).items():
            if re.fullmatch(value, given.get(name, "")):
                raise DatabaseTrouble(
                    f'{load.table} has {name} = {given[name]}, with which mode = "{load.mode}" is not possible: '
                    "drop this feature of the table, or name another table"
                )

    @classmethod
    def check_rows(cls, rows: Built, by: list[str]) -> None:
        for name in by:
            # Delta stores it as NULL, and a table that refuses NULL could not be read any more.
            query = f"SELECT 1 FROM {rows.rows} WHERE {quoted(name)}::VARCHAR = '' LIMIT 1"
            if rows.connection.execute(query).fetchone():
                raise DatabaseTrouble(
                    f"{name} divides the files of the table, and is an empty text in a row, which Delta can't tell "
                    "from NULL: make it another text or, if it isn't required, NULL, with nullif(…, '')"
                )

    def is_loaded(self, load: LakeLoad) -> bool:
        with _errors(load, "can't be read"):
            return self._table.transaction_version(f"lume/{load.claim}") is not None

    def add_columns(self, columns: list[list[str]]) -> "DeltaLake":
        with _errors(self._load, "can't be changed"):
            self._table.alter.add_columns([_field(name, kind, False) for name, kind in columns])
            self._table.update_incremental()
        return DeltaLake(self._load, self._table)

    def load(self, load: LakeLoad, rows: Built, written: dict[str, Any]) -> None:
        from deltalake import write_deltalake

        if load.key and not rows.count():
            return self._note(load)
        if load.history:
            return self._add_versions(load, rows)
        query, names = in_types_of(self, load, rows, whole=not load.key)
        stream: Any = rows.connection.sql(query)
        with _errors(load, "can't be written"):
            if load.key:
                own = _same(names)
                others = {name: value for name, value in own.items() if name not in map(quoted, load.key)}
                merge = self._merge(load, rows, query, stream)
                if others:
                    merge = merge.when_matched_update(others)
                merge.when_not_matched_insert(own).execute()
                return
            where = None
            if load.mode == "replace_batch":
                batch = (item for item in load.own.items() if item[0] != RUN_COLUMN)
                where = " AND ".join(f"{quoted(name)} = {text(value)}" for name, value in batch)
            mode: Any = "overwrite" if where else "append"
            write_deltalake(self._table, stream, mode=mode, predicate=where, commit_properties=_named(load))

    def _merge(self, load: LakeLoad, rows: Built, query: str, stream: Any, where: str = "") -> "TableMerger":
        """Return a merge of the stream by key. The query has the same keys.

        A merge keeps each file in memory until it knows whether one of its rows changes. Bounds of the key leave
        files out. If the others are too large, all files of the table are written anew, and pass through. A table
        with a change data feed is left alone: the feed would report every row as updated.
        """
        from deltalake import WriterProperties

        connection, kinds = rows.connection, {one.name: one.type for one in self.columns}
        connection.register("_lume_files", self._table.get_add_actions(flatten=True))
        known = {name for name, *_ in connection.execute("DESCRIBE _lume_files").fetchall()}
        on, left_out = [where] if where else list[str](), ["false"]
        for column, name in zip(map(quoted, load.key), load.key, strict=True):
            on.append(f"t.{column} = s.{column}")
            if kinds[name] in _BOUNDED:
                spelled = text if kinds[name] == "string" else str
                low, high = map(
                    spelled, row_of(connection, f"SELECT min({column}), max({column}) FROM ({query})")
                )
                on.append(f"t.{column} BETWEEN {low} AND {high}")
                least, most = ("partition.", "partition.") if name in self.partition_by else ("min.", "max.")
                if {least + name, most + name} <= known:
                    left_out.append(f"{quoted(most + name)} < {low} OR {quoted(least + name)} > {high}")
        size = f"greatest(num_records * {len(self.columns) * _CELL}, 5 * size_bytes)"
        (held,) = row_of(
            connection,
            f"SELECT coalesce(sum({size}), 0) FROM _lume_files WHERE NOT coalesce({' OR '.join(left_out)}, false)",
        )
        merge = self._table.merge(
            stream,
            " AND ".join(on),
            source_alias="s",
            target_alias="t",
            max_spill_size=_MEMORY,
            max_temp_directory_size=_SPILL,
            writer_properties=WriterProperties(max_row_group_size=_ROWS),
            commit_properties=_named(load),
        )
        has_feed = self._table.metadata().configuration.get("delta.enableChangeDataFeed") == "true"
        column = quoted(load.key[0])
        rewrites = held > _HELD and not has_feed
        return merge.when_not_matched_by_source_update({column: f"t.{column}"}) if rewrites else merge

    def _add_versions(self, load: LakeLoad, rows: Built) -> None:
        """Close the current versions of the rows that have changed, and add new ones, in one commit."""
        query, names = in_types_of(self, load, rows, whole=False)
        columns = [*load.names, VALID_FROM, CURRENT]
        with _errors(load, "can't be read"):
            new, _ = versions(load, rows, query, [self._scan(columns, quoted(CURRENT))])
        if not row_of(rows.connection, "SELECT count(*) FROM _lume_new")[0]:
            return self._note(load)
        with _errors(load, "can't be written"):
            closed = f"SELECT *, true FROM ({new} WHERE _lume_since IS NOT NULL)"
            stream = rows.connection.sql(f"SELECT *, false AS _lume_closes FROM ({new}) UNION ALL {closed}")
            where = f"s._lume_closes AND t.{quoted(CURRENT)}"
            merge = self._merge(load, rows, "FROM _lume_new", stream, where)
            merge = merge.when_matched_update({VALID_TO: f"s.{VALID_FROM}", quoted(CURRENT): "false"})
            all_names = [*names, VALID_FROM, VALID_TO, CURRENT]
            merge.when_not_matched_insert(_same(all_names), "NOT s._lume_closes").execute()

    def _note(self, load: LakeLoad) -> None:
        """Commit the name of a load that changes nothing: later it might change something."""
        with _errors(load, "can't be written"):
            self._table.create_write_transaction(
                [], "append", self._table.schema(), self.partition_by, commit_properties=_named(load)
            )

    def nothing(self) -> Any:
        from arro3.core import RecordBatchReader

        return RecordBatchReader.from_batches(self._table.schema().to_arrow(), [])

    def scan(self, columns: Collection[str], run_ids: Collection[str]) -> Any:
        runs = f"{RUN_COLUMN} IN ({', '.join(map(text, run_ids))})" if run_ids else "true"
        with _errors(self._load, "can't be read"):
            return self._scan(columns, runs)

    def _scan(self, columns: Collection[str], where: str) -> Any:
        from deltalake import QueryBuilder

        items = ", ".join(map(quoted, columns)) or "NULL"
        builder = QueryBuilder().register("t", self._table)
        return builder.execute(f"SELECT {items} FROM t WHERE {where}")


class DeltaTarget(LakeTarget):
    """See `LakeTarget`."""

    lake = DeltaLake


def _named(load: LakeLoad) -> "CommitProperties":
    from deltalake import CommitProperties, Transaction

    return CommitProperties(
        custom_metadata={"lume_run_id": load.run_id, "lume_flow": load.flow},
        app_transactions=[Transaction(f"lume/{load.claim}", 1, int(time.time() * 1000))],
    )


def _same(names: Collection[str]) -> dict[str, str]:
    """Return the assignments of a merge, which copy columns."""
    return {name: f"s.{name}" for name in map(quoted, names)}


def _field(name: str, sql_type: str, required: bool) -> "Field":
    from deltalake.schema import Field, PrimitiveType

    return Field(name, PrimitiveType(DeltaTypes().best(sql_type)), nullable=not required)


@contextmanager
def _errors(load: LakeLoad, what: str) -> Iterator[None]:
    """Convert the library's errors, which have no common class, to `DatabaseTrouble`."""
    from deltalake.exceptions import CommitFailedError

    try:
        yield
    except (DatabaseTrouble, duckdb.Error):
        raise
    except Exception as error:
        words = _NOISE.sub(" ", str(error))
        code = code_of(words)
        # Previews of rows follow the first sentence.
        told = (
            meaning(load.table, code, words) if is_store_url(load.table) else words.partition(" Preview")[0]
        )
        may_pass = isinstance(error, OSError) and (code in PASSING or code.startswith("5"))
        is_first = isinstance(error, CommitFailedError) and not words.startswith(_FINAL)
        raise DatabaseTrouble(
            f"{load.table} {what}: {elided(told, 300)}", may_pass=may_pass, is_undone=is_first
        ) from None

"""Forgets a person in a table: counts the rows that runs have loaded, and deletes them in one transaction.

A row of a run has its ID in `_lume_run_id`, and `_lume_loads` has the run with its flow. Other rows are only counted.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from attrs import field, frozen

from lume_async._base.words import counted
from lume_local._flow.databases import RUN_COLUMN
from lume_local._flow.definition import quoted
from lume_local._shared.person import Person
from lume_local._shared.protocol import Failed, Forget, Forgotten
from lume_local._worker.databases import postgres, sqlite
from lume_local._worker.databases.columns import PostgresTypes
from lume_local._worker.databases.database import DatabaseTrouble, DatabaseUrl
from lume_local._worker.outputs.forgetting import has_bytes, is_theirs

_TOGETHER = 500
"""Rejects that one statement deletes."""


@frozen
class _Table:
    """A table in an open transaction.

    Attributes:
        name: its name as SQL.
        columns: its columns; none if it doesn't exist.
        loads: the table of loads as SQL; empty if it doesn't exist.
        mark: precedes the number of a parameter.
        equal: SQL for a column that has a value.
        like: SQL for a column that matches a pattern.
        takes: whether a value can be compared by such SQL, as the column's type has it.
    """

    execute: Callable[[str, Sequence[Any]], Any]
    stream: Callable[[str, Sequence[Any]], Iterable[Any]]
    name: str
    columns: list[str]
    loads: str
    mark: str
    equal: str
    like: str
    takes: Callable[[str, str], bool] = lambda condition, value: True
    values: list[Any] = field(factory=list)

    def given(self, value: str) -> str:
        """Return the mark of one more parameter."""
        self.values.append(value)
        return f"{self.mark}{len(self.values)}"

    def has(self, person: Person, names: Sequence[Sequence[str]]) -> str:
        """Return SQL for a row that has each value in one of its columns."""
        every = list[str]()
        for value, of in zip(person.values, names, strict=True):
            some = [(self.equal, value)]
            some += [(self.like, person.pattern(value))] if person.ignore_case else []
            found = (
                form.format(quoted(column), self.given(wanted))
                for column in self.columns
                for form, wanted in some
                if column.lower() in of and self.takes(form.format(quoted(column), f"{self.mark}1"), wanted)
            )
            every.append(f"({' OR '.join(found) or 'false'})")
        return " AND ".join(every)

    def is_of(self, flow: str, part: str) -> str:
        """Return SQL for a row that a run of the flow has loaded."""
        claim = f"{RUN_COLUMN} || '/rejects'" if part == "rejects" else RUN_COLUMN
        return f"{claim} IN (SELECT run_id FROM {self.loads} WHERE flow = {self.given(flow)})"


@contextmanager
def _sqlite(url: DatabaseUrl, name: str, deletes: bool) -> Iterator[_Table]:
    def regexp(pattern: str, value: object) -> bool:
        return value is not None and re.search(pattern, str(value)) is not None

    with (
        closing(sqlite.connect(url, "rw" if deletes else "ro")) as connection,
        sqlite.sqlite_errors(url, f"{url.shown} refuses"),
    ):
        execute = connection.execute
        connection.create_function("regexp", 2, regexp, deterministic=True)
        execute("PRAGMA secure_delete = ON")  # no page keeps the bytes
        execute("BEGIN IMMEDIATE" if deletes else "BEGIN")
        is_table, has_loads = (sqlite.ACCESS.is_table(connection, one) for one in (name, "_lume_loads"))
        columns = [one.name for one in sqlite.ACCESS.columns(connection, name)] if is_table else []
        there = "_lume_loads" if has_loads and RUN_COLUMN in columns else ""
        compared = "{} = {} COLLATE BINARY", "{} REGEXP {}"
        yield _Table(execute, execute, quoted(name), columns, there, "?", *compared)
        execute("COMMIT")
        if deletes:
            execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def _postgres(url: DatabaseUrl, name: str, deletes: bool) -> Iterator[_Table]:
    with (
        closing(postgres.connect(url, "rw" if deletes else "ro")) as connection,
        postgres.psycopg_errors(url, f"{url.shown} refuses"),
    ):
        from psycopg import DataError, IsolationLevel, ProgrammingError

        cursor: Any = connection.cursor()
        connection.read_only = not deletes  # a role's default may be to read only
        connection.isolation_level = IsolationLevel.REPEATABLE_READ  # the rows that were counted are deleted
        spelled = PostgresTypes().spelled(name)
        _, schema, is_table = postgres.table_of(connection, name) or (0, "", False)
        columns = [one.name for one in postgres.ACCESS.columns(connection, name)] if is_table else []
        loads = f"{quoted(schema)}._lume_loads" if is_table else ""
        (is_there,) = cursor.execute("SELECT to_regclass($1) IS NOT NULL", [loads]).fetchall()[0]

        def takes(condition: str, value: str) -> bool:
            try:
                with connection.transaction():
                    cursor.execute(f"SELECT 1 FROM {spelled} WHERE {condition} LIMIT 0", [value])
            except (DataError, ProgrammingError) as error:
                if (error.sqlstate or "22")[:2] not in ("22", "42") or error.sqlstate == "42501":
                    raise
                return False
            return True

        there = loads if is_there and RUN_COLUMN in columns else ""
        yield _Table(
            cursor.execute, cursor.stream, spelled, columns, there, "$", "{} = {}", "{}::text ~ {}", takes
        )
        connection.commit()


KINDS: dict[str, Callable[[DatabaseUrl, str, bool], AbstractContextManager[_Table]]] = {
    "sqlite": _sqlite,
    "postgresql": _postgres,
}


def forget_rows(job: Forget) -> Forgotten | Failed:
    """Count the rows of a person; if the job says so, delete the ones that runs have loaded.

    If the table keeps some of them, nothing is deleted.
    """
    person, deletes = Person(job.values, job.ignore_case), job.table["deletes"]
    work = _rejects if job.table["part"] == "rejects" else _mapped
    try:
        url = DatabaseUrl.of(job.table["url_env"])
        if url.scheme not in KINDS:
            return Failed(f"tables of {url.scheme} are left to you", None)
        if url.scheme == "sqlite" and not Path(url.path).is_file():
            return Forgotten(0)
        with KINDS[url.scheme](url, job.table["table"], deletes) as table:
            rows, others = work(job, person, table) if table.columns else (0, 0)
    except DatabaseTrouble as trouble:  # a database may quote the row
        return Failed(str(person.without(str(trouble))), None)
    files = [f"{url.path}{end}" for end in ("", "-wal", "-journal")] if url.path and deletes else []
    return Forgotten(rows, others=others, traces=[file for file in files if has_bytes(Path(file), person)])


def _mapped(job: Forget, person: Person, table: _Table) -> tuple[int, int]:
    of_flows = [(flow, table.has(person, names)) for flow, names in job.table["flows"]]
    every = " OR ".join(has for _, has in of_flows)
    if not table.loads:
        query = f"SELECT count(*) FROM {table.name} WHERE {every}"
        return 0, table.execute(query, table.values).fetchone()[0]
    ours = " OR ".join(f"{table.is_of(flow, 'mapped')} AND {has}" for flow, has in of_flows)
    query = f"SELECT count(*), count(CASE WHEN {ours} THEN 1 END) FROM {table.name} WHERE {every}"
    total, rows = table.execute(query, table.values).fetchone()
    if rows and job.table["deletes"]:
        _check(rows, table.execute(f"DELETE FROM {table.name} WHERE {ours}", table.values).rowcount)
    return rows, total - rows


def _rejects(job: Forget, person: Person, table: _Table) -> tuple[int, int]:
    """Compare the objects of the rejects here, as in a file: databases differ in what they can do with JSON."""
    if RUN_COLUMN not in table.columns:
        raise DatabaseTrouble(f"it has no column {RUN_COLUMN}, which tells the rejects of runs: look there")
    if not table.loads:
        return 0, 0
    names = dict(job.table["flows"])
    columns = f"{RUN_COLUMN}, _lume_reject, _lume_flow, CAST(_lume_values AS text)"
    ours = " OR ".join(table.is_of(flow, "rejects") for flow in names)
    rows = table.stream(f"SELECT {columns} FROM {table.name} WHERE {ours}", table.values)
    found = [
        (run, number)
        for run, number, ref, line in rows
        if is_theirs(person, names.get(ref.partition(":")[0], []), line)
    ]
    if job.table["deletes"]:
        deleted = 0
        for at in range(0, len(found), _TOGETHER):
            some = found[at : at + _TOGETHER]
            marks = ", ".join(f"({table.mark}{n}, {table.mark}{n + 1})" for n in range(1, 2 * len(some), 2))
            query = f"DELETE FROM {table.name} WHERE ({RUN_COLUMN}, _lume_reject) IN (VALUES {marks})"
            deleted += table.execute(query, [*chain.from_iterable(some)]).rowcount
        _check(len(found), deleted)
    return len(found), 0


def _check(rows: int, deleted: int) -> None:
    if rows != deleted:
        raise DatabaseTrouble(
            f"the table keeps {rows - deleted:,} of {counted(rows, 'row')}: does a trigger or a policy? "
            "Nothing was deleted"
        )

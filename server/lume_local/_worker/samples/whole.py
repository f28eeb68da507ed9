"""A sample that is read as a run reads it, from beginning to end, and the results of expressions on its rows."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection

from lume_async._base.elided import elided
from lume_async.errors import ConfigurationError
from lume_local._flow.fields import FlowError
from lume_local._flow.source_settings import OBJECTS
from lume_local._mapping.proposal import Before
from lume_local._mapping.readings import TriedColumn
from lume_local._samples.infer import AT_ONCE
from lume_local._samples.opening import JudgedColumn
from lume_local._worker.compiler.expressions import first_line
from lume_local._worker.samples.sample import Json, Trials, flow_to_read, judged, kept, read_by
from lume_local._worker.sources.formats.members import member_names, unread_members
from lume_local._worker.sources.places.held import named
from lume_local._worker.sources.places.local import files_in
from lume_local._worker.sources.read import read_source
from lume_local._worker.sources.source import SourceError, no_pause
from lume_local._worker.sql import scan_or_retry
from lume_local._worker.statements import BITS, Relation, Statements, count_of

_MEMBERS = 100_000
"""Records whose members become columns."""
_SHOWN, _VALUES, _MANY = 500, 3, 500
"""Rows from which example values are chosen, the number of examples, and the number of rejected values."""


class WholeSample:
    """A sample, opened with `opened_whole`.

    Attributes:
        names: the names of its columns in expressions.
        rows: at most the requested number, at equal distances over the whole file.
        unread: see `SampleRows`.
        skipped: the number of lines outside of header and records, by kind (see `Account`).
    """

    def __init__(
        self,
        trials: Trials,
        relation: Relation,
        rows: list[list[str | None]],
        unread: list[str],
        shown: str,
        null: list[str],
        folder: Path,
        skipped: Mapping[str, int],
    ) -> None:
        self.skipped = dict(skipped)
        self._trials, self.names, self.rows, self.unread = trials, list(relation.raw), rows, unread
        self._whole, self._kept = relation, kept(relation, rows, folder / "rows")
        self._shown, self._source = shown, {"null": null} if null else {}

    def __call__(
        self, columns: Mapping[str, tuple[str, Mapping[str, Any]]], *, everywhere: bool = False
    ) -> dict[str, TriedColumn]:
        """Try columns of a flow (see `Tester`)."""
        names, found = list(columns), dict[str, TriedColumn]()
        for first in range(0, len(names), AT_ONCE):
            with errors(self._shown):
                found |= self._try(
                    {name: columns[name] for name in names[first : first + AT_ONCE]}, everywhere
                )
        return found

    def judge(
        self, source: Mapping[str, Any], columns: Mapping[str, tuple[str, Mapping[str, Any]]]
    ) -> dict[str, JudgedColumn]:
        """Judge columns of a flow on these rows (see `ReadSample`)."""
        with errors(self._shown):
            return judged(self._trials, self._kept, self._shown, source, columns)

    def _try(
        self, columns: Mapping[str, tuple[str, Mapping[str, Any]]], everywhere: bool
    ) -> dict[str, TriedColumn]:
        definitions = {name: dict(column) for name, (_, column) in columns.items()}
        with self._trials.compiled(self._source, definitions) as (connection, flow):
            relation = read_by(flow, self._whole if everywhere else self._kept, self._shown)
            statements = Statements(flow, relation)
            if not everywhere:  # once: binding many columns takes longer than reading these rows
                connection.execute(
                    f"CREATE TEMP TABLE shown AS FROM ({statements.shown()}) AS t(given, made, whys)"
                )
            counts = (_counts_everywhere if everywhere else _counts)(connection, statements)
            misfits = dict.fromkeys(columns, 0)
            for check, count in zip(flow["checks"], counts, strict=True):
                name, _, reason = check["reason"].partition(": ")
                misfits[name] += count if reason != "is required" else 0
            values = {} if everywhere else _values(connection, statements, columns)
            refused = {} if everywhere else _refused(connection, statements, columns)
        return {
            name: TriedColumn(misfits[name], values.get(name, []), refused.get(name, [])) for name in columns
        }


@contextmanager
def opened_whole(
    trials: Trials, path: Path, shown: str, held: Path, source: Json, members: list[str] | None, most: int
) -> Iterator[WholeSample]:
    """Read a file as `source` says, which has the form of a flow's `[source]`.

    Args:
        path: its own path, whose suffix may show the compression.
        shown: its name in messages.
        held: the path to read it by.
        members: the members of records; None to read all that exist.

    Raises:
        ConfigurationError: it can't be read that way.
    """
    with ExitStack() as stack:
        with errors(shown):
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="lume-sample-")))
            connection = stack.enter_context(trials.cursor())
            flow = flow_to_read(connection, source)
            files = files_in(path, shown, held, flow, folder / "unpacked", no_pause)
            if members is None and flow["format"] in OBJECTS:
                (first := folder / "first").mkdir()
                flow["sources"] = {}
                intake = read_source(connection, files, flow, first, no_pause)
                members = member_names(connection, intake.relation, _MEMBERS)
            flow["sources"] = dict.fromkeys(members or (), "")
            intake = read_source(connection, files, flow, folder, no_pause)
            unread = unread_members(connection, flow, intake.relation, of_columns=False)
            rows = _spread(connection, intake.relation, most)
            null, skipped = source.get("null", []), intake.account.skipped
            sample = WholeSample(trials, intake.relation, rows, unread, shown, null, folder, skipped)
        yield sample


@contextmanager
def errors(shown: str) -> Iterator[None]:
    """Convert errors in the block to `ConfigurationError`."""
    try:
        yield
    except FlowError as error:
        raise ConfigurationError(f"{shown} can't be tried: {error}") from None
    except SourceError as error:
        raise ConfigurationError(str(error).replace("sample:v1", "the proposal")) from None
    except duckdb.Error as error:
        raise ConfigurationError(named(first_line(error))) from None


def _spread(connection: DuckDBPyConnection, relation: Relation, most: int) -> list[list[str | None]]:
    """Return rows at equal distances."""
    items = ", ".join(f"_lume_s{n}" for n in range(len(relation.raw)))

    def scan(reader: str) -> list[tuple[str | None, ...]]:
        ((rows,),) = connection.execute(f"SELECT count(*) FROM ({reader})").fetchall()
        if rows <= most:
            return connection.execute(f"SELECT {items} FROM ({reader})").fetchall()
        numbered = f"SELECT {items}, row_number() OVER () - 1 AS _lume_at FROM ({reader})"
        step = -(-rows // most)
        return connection.execute(f"SELECT {items} FROM ({numbered}) WHERE _lume_at % {step} = 0").fetchall()

    return [list(row) for row in scan_or_retry(relation.reader, scan)]


def _counts_everywhere(connection: DuckDBPyConnection, statements: Statements) -> list[int]:
    """Return how many rows of the whole file break each check."""

    def scan(reader: str) -> list[int]:
        _, _, *counts = connection.execute(
            statements.counts(f"({statements.by(reader).stage()})")
        ).fetchall()[0]
        return counts

    return scan_or_retry(statements.relation.reader, scan)


def _counts(connection: DuckDBPyConnection, statements: Statements) -> list[int]:
    """Return how many of the kept rows break each check."""
    checks = range(len(statements.flow["checks"]))
    items = [count_of(f"(whys[{n // BITS + 1}] & {1 << (n % BITS)}) <> 0") for n in checks]
    return list(connection.execute(f"SELECT {', '.join([*items, 'count(*)'])} FROM shown").fetchall()[0][:-1])


def _values(
    connection: DuckDBPyConnection,
    statements: Statements,
    columns: Mapping[str, tuple[str, Mapping[str, Any]]],
) -> dict[str, list[Before]]:
    """Return a few values of each column before and after; None after, if the row would be rejected."""
    rows = connection.execute(f"SELECT * FROM shown LIMIT {_SHOWN}").fetchall()
    raw, bits = list(statements.relation.raw), _bits(statements)
    found: dict[str, list[Before]] = {}
    for k, (name, (source, _)) in enumerate(columns.items()):
        if source not in raw:  # an expression that does not read it
            continue
        at = raw.index(source)
        found[name] = _telling(
            {
                given[at]: None if any(whys[n] & bit for n, bit in bits.get(name, ())) else made[k]
                for given, made, whys in rows
                if given[at] is not None and given[at].strip()
            }
        )
    return found


def _bits(statements: Statements) -> dict[str, list[tuple[int, int]]]:
    """Return the masks and bits of each column's checks."""
    found: dict[str, list[tuple[int, int]]] = {}
    for n, check in enumerate(statements.flow["checks"]):
        found.setdefault(check["reason"].partition(": ")[0], []).append((n // BITS, 1 << (n % BITS)))
    return found


def _refused(
    connection: DuckDBPyConnection,
    statements: Statements,
    columns: Mapping[str, tuple[str, Mapping[str, Any]]],
) -> dict[str, list[str]]:
    """Return distinct rejected values of columns with an enumeration, the most frequent first."""
    raw, bits, found = list(statements.relation.raw), _bits(statements), dict[str, list[str]]()
    for name, (source, definition) in columns.items():
        if "enum" not in definition or source not in raw:
            continue
        value = f"trim(given[{raw.index(source) + 1}])"
        broken = " OR ".join(f"(whys[{n + 1}] & {bit}) <> 0" for n, bit in bits.get(name, ()))
        rows = connection.execute(
            f"SELECT {value} AS value FROM shown "
            f"WHERE ({broken or 'false'}) AND value <> '' GROUP BY value ORDER BY count(*) DESC, value LIMIT {_MANY}"
        ).fetchall()
        found[name] = [value for (value,) in rows]
    return found


def _telling(seen: dict[str, str | None]) -> list[Before]:
    """Return a few values of a column: some changed by the expression, and a rejected one, if they exist."""
    rejected = [one for one in seen.items() if one[1] is None][:1]
    changed = [one for one in seen.items() if one[1] is not None and one[0] != one[1]]
    same = [one for one in seen.items() if one[0] == one[1]]
    picked = [*changed, *same][: _VALUES - len(rejected)] + rejected
    return [Before(elided(given), None if made is None else elided(made)) for given, made in picked]

"""Makes a proposal: reads the samples and describes the target's table, and leaves the rest to `_mapping`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from itertools import chain
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from attrs import evolve, frozen
from duckdb import DuckDBPyConnection

from lume_async._base.words import listed
from lume_async.errors import ConfigurationError
from lume_local._flow.databases import HISTORY_COLUMNS, RUN_COLUMN
from lume_local._flow.definition import quoted, read_definition
from lume_local._flow.fields import FlowError, Table
from lume_local._flow.source_settings import read_source
from lume_local._mapping.assemble import propose
from lume_local._mapping.decisions import decisions
from lume_local._mapping.profile import Profile, profile_column
from lume_local._mapping.propose import Suggestion
from lume_local._mapping.target import MappingTarget, TargetColumn, definition_of
from lume_local._samples.known import KnownSource
from lume_local._samples.opening import JudgedColumn, SampleParts, SampleRows
from lume_local._shared.protocol import Json, Propose, Proposed, Refused
from lume_local._worker.databases.columns import PostgresTypes
from lume_local._worker.databases.database import DatabaseTrouble, DatabaseUrl, Row
from lume_local._worker.databases.kinds import ACCESS, QUERIES
from lume_local._worker.samples.read import Sample, read_sample, sample_of_rows
from lume_local._worker.samples.sample import HeldSample, Trials, opened_trials
from lume_local._worker.samples.whole import WholeSample, errors, opened_whole
from lume_local._worker.sources.files import opened
from lume_local._worker.sources.formats.names import fitting_columns
from lume_local._worker.sources.layouts import recognised
from lume_local._worker.sources.places.held import Held
from lume_local._worker.sources.places.local import files_in
from lume_local._worker.sources.source import File, Pause, SourceError, no_pause
from lume_local._worker.statements import form_of

ROWS = 10_000
"""Rows of a sample that are read, spread over the whole file."""
OpenFiles = Callable[[Json, Path, Pause], list[File]]
"""Gives the files of a sample to a compiled flow, unpacked into a folder."""
Read = tuple[Profile, WholeSample, OpenFiles]


def make_proposal(job: Propose) -> Proposed | Refused:
    """Return the proposal, or why there is none."""
    try:
        target = MappingTarget.of_json(job.target)
        if target.place is not None:
            target = described(target)
        with ExitStack() as stack:
            trials = stack.enter_context(opened_trials())
            samples = [stack.enter_context(_read(trials, one)) for one in job.samples]
            suggestions = [Suggestion(**one) for one in job.suggestions]
            profiles, testers = [one for one, _, _ in samples], [one for _, one, _ in samples]
            found = propose(
                target,
                profiles,
                testers,
                suggestions,
                recognise=partial(_recognised, trials, samples),
                lost=partial(_lost, trials, job.headers),
                decided=decisions(job.choices),
                inline=job.inline,
                layout=job.layout,
            )
        read_definition(found.definition)
        return Proposed(found.to_json())
    except (ConfigurationError, ModuleNotFoundError, SourceError, DatabaseTrouble) as error:
        return Refused("samples" if not isinstance(error, DatabaseTrouble) else "target", str(error))
    except FlowError as error:
        return Refused(error.place, error.problem)


def _recognised(trials: Trials, samples: Sequence[Read], definition: Json) -> list[str | None]:
    """Return the layout of a version that each sample has (see `Recognise`). Raises `FlowError`."""
    with trials.of_flow(read_definition(definition)) as (connection, flow):
        return [_layout_of(connection, flow, profile.path, open_files) for profile, _, open_files in samples]


def _lost(trials: Trials, headers: Mapping[str, list[str]], definition: Json) -> list[str]:
    """Return a doubt about each layout whose latest columns another one would read."""
    found = list[str]()
    with trials.of_flow(read_definition(definition)) as (_, flow):
        forms = {name: form_of(flow, name) for name in flow["layouts"]}
        for name, header in headers.items():
            own = name or next(iter(forms))  # what a version without layouts has read comes first
            read = {
                one: len(places)
                for one, form in forms.items()
                if (form["format"], form["csv"]) == (forms[own]["format"], forms[own]["csv"])
                if not form["match"] and not form["header"]["names"]
                for places in [fitting_columns(form, header)]
                if all(len(each) == 1 for each in places.values())
            }
            takers = [one for one, count in read.items() if one != own and count >= read.get(own, 0)]
            if takers and not forms[own]["match"]:
                found.append(
                    f"{takers[0]} would also read the latest files of {own}, with the columns {listed(header, 10)}: "
                    f"give {takers[0]} a match, a pattern of the paths of its files"
                )
    return found


def _layout_of(connection: DuckDBPyConnection, flow: Json, below: str, open_files: OpenFiles) -> str | None:
    with TemporaryDirectory(prefix="lume-sample-") as folder, suppress(SourceError):
        files = [
            evolve(one, paths=(one.shown, below))
            for one in open_files(flow, Path(folder) / "unpacked", no_pause)
        ]
        found = {one.layout for one in recognised(connection, files, flow, Path(folder), no_pause)}
        return found.pop() if len(found) == 1 else None
    return None


@contextmanager
def _read(trials: Trials, given: Mapping[str, Any]) -> Iterator[Read]:
    """Open a sample and read it as requested, or as its content suggests."""
    with TemporaryDirectory(prefix="lume-sample-") as folder, closing(Held()) as held:
        name, wanted = given["shown"], given.get("source")
        called = given.get("called", name)  # in messages
        # Opened once, without following links: whatever its path leads to later is not read.
        handle, opened_file = opened(path := Path(given["path"]))
        file, size = held.hold(handle, path, Path(folder) / "copy"), opened_file.size
        if size > (most := given.get("most_bytes", size)):
            problem = f"{called!r} has {size:,} bytes; the maximum is {most:,}: pass a part of it"
            raise FlowError("samples", problem)
        if wanted is None:
            said = KnownSource.of(given.get("known") or {}, "sources")
            encoding, delim = given.get("encoding") or said.encoding, given.get("delim") or said.delim
            opening = partial(_open_here, trials)
            read = read_sample(
                path, opening, encoding, delim, sheet=said.sheet, wanted=said.members, name=called, held=file
            )
            members: list[str] | None = [column.source for column in read.columns]
            guessed = read.source
            settings = said.over(guessed)
            footer = [] if "footer" in said.said else read.footer
            asked, parts = read.doubts, read.parts
            if any(settings.get(key) != guessed.get(key) for key in said.said if key != "footer"):
                asked = []  # the answers may be to any of the questions
            if asked and read.footer and "footer" in said.said:
                asked = asked[:-1]  # the question about it, which comes last, is answered
            seen: Sample | None = evolve(read, doubts=asked)
            if settings != guessed or footer:
                seen, members = None, None
            # A total is no evidence about a column, whether or not a person has said so.
            reading = settings | ({"footer": {"starts_with": footer}} if footer else {})
            if given.get("footer") and footer:
                settings, footer, asked = reading, [], asked[:-1]
        else:  # nothing is guessed
            seen, members, settings, footer, asked = None, None, dict(wanted), [], []
            parts = SampleParts()
            reading = settings
            if read_source(Table("source", settings)).query is not None:
                raise FlowError("source.format", "is for a query: a sample is a file")
        with opened_whole(trials, path, called, file, reading, members, ROWS) as sample:
            if seen is None:
                found = SampleRows(
                    sample.names, sample.names, sample.rows, len(sample.rows), {}, [], sample.unread
                )
                seen = sample_of_rows(called, sample, found, settings, asked)
            words = set(settings.get("null", ()))
            places = {one: n for n, one in enumerate(sample.names)}
            columns = []
            for column in seen.columns:
                if column.source in places:
                    values = [row[places[column.source]] for row in sample.rows]
                    nulls = words.union(column.nulls)
                    known = ["" if value is None or value.strip() in nulls else value for value in values]
                    columns.append(profile_column(column, known))
            skipped = {
                kind: lines for kind, lines in sample.skipped.items() if not (footer and kind == "footer")
            }
            about = (list(dict.fromkeys(seen.doubts)), footer, parts, skipped)
            profile = Profile(name, given.get("below", name), settings, len(sample.rows), columns, *about)
            yield profile, sample, partial(files_in, path, name, file)


class _Here:
    """A `HeldSample` of this process as an `OpenSample`."""

    def __init__(self, held: HeldSample, shown: str) -> None:
        self._held, self._shown = held, shown

    def rows(self, source: Mapping[str, Any], *, most: int = ROWS, members: Sequence[str] = ()) -> SampleRows:
        with errors(self._shown):
            return self._held.rows(source, most, members)

    def members(self, source: Mapping[str, Any], *, most: int = ROWS) -> list[str]:
        with errors(self._shown):
            return self._held.members(source, most)

    def judge(
        self, source: Mapping[str, Any], columns: Mapping[str, tuple[str, Mapping[str, Any]]]
    ) -> dict[str, JudgedColumn]:
        with errors(self._shown):
            return self._held.judge(source, columns)


@contextmanager
def _open_here(trials: Trials, path: str | PathLike[str], *, name: str | None = None) -> Iterator[_Here]:
    with TemporaryDirectory(prefix="lume-sample-") as folder:
        shown = name or str(path)
        yield _Here(HeldSample(Path(path), shown, Path(folder), trials), shown)


_VALUES = 1000
"""Rows of the table whose values are compared with the sample's."""
_OWN = "_lume_"


@frozen
class _Column:
    name: str
    declared: str
    required: bool
    unique: bool
    about: str = ""


def described(target: MappingTarget) -> MappingTarget:
    """Return the target with the columns of the table at its place. Raises `DatabaseTrouble`."""
    place = target.place or {}
    url, table = DatabaseUrl.of(place["url_env"]), place["table"]
    kinds = {"postgresql": _of_postgres, "sqlite": _of_sqlite, "duckdb": _of_duckdb}
    access = ACCESS[url.scheme]
    with (
        closing(access.connect(url, "ro")) as connection,
        access.errors(url, f"{table} in {url.shown} can't be read"),
    ):
        columns = kinds[url.scheme](connection, table)
    if not columns:
        raise DatabaseTrouble(f"there is no table {table} in {url.shown}")
    cast = "::text" if url.scheme == "postgresql" else ""  # true, as in most sources: PostgreSQL sends t
    names = ", ".join(f"{quoted(column.name)}{cast}" for column in columns)
    query = f"SELECT {names} FROM {access.types.spelled(table)} LIMIT {_VALUES}"
    with closing(QUERIES[url.scheme](url, query, "")) as found:
        rows = list(chain.from_iterable(found.batches()))
    return evolve(target, columns=list(_columns(columns, rows)), shown=f"{table} in {url.shown}")


def _columns(columns: Sequence[_Column], rows: Sequence[Row]) -> Any:
    names = {column.name.lower() for column in columns}
    history = HISTORY_COLUMNS if {RUN_COLUMN, *HISTORY_COLUMNS} <= names else ()  # which the runs write
    for n, column in enumerate(columns):
        if column.name.startswith(_OWN) or column.name.lower() in history:
            continue
        found: dict[str, Any] = {"description": column.about} if column.about else {}
        found |= definition_of(column.declared) or {"type": "string"}
        found |= ({"required": True} if column.required else {}) | ({"unique": True} if column.unique else {})
        values = [value for row in rows if (value := row[n]) is not None]
        yield TargetColumn(column.name, found, about=column.about, examples=values)


def _of_sqlite(connection: Any, table: str) -> list[_Column]:
    columns = connection.execute(
        'SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?) WHERE hidden = 0', [table]
    ).fetchall()
    unique = connection.execute(
        "SELECT min(c.name) FROM pragma_index_list(?) AS i, pragma_index_info(i.name) AS c "
        'WHERE i."unique" AND NOT i.partial GROUP BY i.name HAVING count(*) = 1',
        [table],
    ).fetchall()
    single = {name for (name,) in unique}
    keys = [name for name, _, _, key in columns if key]
    return [
        _Column(name, kind, bool(needed or key), name in single or keys == [name])
        for name, kind, needed, key in columns
    ]


def _of_duckdb(connection: Any, table: str) -> list[_Column]:
    access = ACCESS["duckdb"]
    unique = [one.columns for one in access.unique(connection, table)]
    return [
        _Column(one.name, one.type, one.must_be_given, {one.name} in map(set, unique))
        for one in access.columns(connection, table)
    ]


def _of_postgres(connection: Any, table: str) -> list[_Column]:
    found = connection.execute(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
        "EXISTS (SELECT 1 FROM pg_index AS i WHERE i.indrelid = a.attrelid AND i.indisunique "
        "AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum), "
        "coalesce(col_description(a.attrelid, a.attnum), '') FROM pg_attribute AS a "
        "WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        [PostgresTypes().spelled(table)],
    )
    return [_Column(*row) for row in found]

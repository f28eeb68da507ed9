"""The rejects of a run: their file, the part of `commit.json` for the server's ledger of them, and rows of a table.

The file is in the format of its source, so that it can be corrected and submitted again. It then has the source's
dialect and encoding, and the original bytes of unreadable records. The ledger gets which rejects have which reason,
and which rejects of an earlier run this source contains. The rows of a table have one form for all flows, with the
values as JSON.

Rejects are numbered as they are written: the rows in the order of the source, then the malformed lines.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import heapq
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
from attrs import field, frozen
from duckdb import DuckDBPyConnection

from lume_async._base.words import counted
from lume_local._flow.databases import REJECTS_TABLE
from lume_local._flow.definition import RESERVED, quoted
from lume_local._shared.protocol import Execute, Json, Read, read_job
from lume_local._shared.row_set import all_rows, as_text, of_text, placed, row_set, rows_in
from lume_local._worker.connection import confine_folder, connect
from lume_local._worker.outputs.pages import all_rows_of, spelling_of
from lume_local._worker.outputs.row_json import Broken, Reasons
from lume_local._worker.sources.files import encode_back, is_utf8_name
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.intake import AllMalformed, MalformedLine
from lume_local._worker.sources.mending.lost_letters import KEPT
from lume_local._worker.sources.mending.mended_rows import rows_of_rejects
from lume_local._worker.sources.read import Intake
from lume_local._worker.sql import STAGED, RowsFile, copy_to, row_of, text
from lume_local._worker.statements import LAYOUT, Statements, rejects_as_bits


@frozen
class Rejects:
    """Writes the rejects of one run.

    Attributes:
        duplicates: whether the table `_lume_duplicates` exists.
        few: see `TakenIn`.
    """

    connection: DuckDBPyConnection
    flow: dict[str, Any]
    statements: Statements
    malformed: AllMalformed
    staged: str
    duplicates: bool
    few: Sequence[tuple[Any, ...]] | None = field(default=None, repr=False)

    @property
    def rows(self) -> list[tuple[Any, ...]] | None:
        """The rejects among `few`, if these are known and no other row is rejected."""
        if self.few is None or self.duplicates:
            return None
        return [row for row in self.few if row[self.statements.masks]]

    def _placed(self, rows: str, lines: str) -> str:
        """Return `lines`, a select list, of a query for the rejected rows in order, each joined with its place.

        A positional join keeps the order, and holds only the places in memory.
        """
        rejected = self.statements.rejected(self.staged, self.duplicates)
        found = self.connection.execute(f"SELECT file_row_number FROM {rejected}")
        numbers = chain.from_iterable(iter(lambda: found.fetchmany(_AT_ONCE), []))
        with closing(RowsFile(self.malformed.path.with_name("places"), 2)) as file:
            for line, path in self.malformed.places(number for (number,) in numbers):
                file.write((None if line is None else str(line), path or None))
        return f"SELECT {lines} FROM ({rows}) AS reject POSITIONAL JOIN ({file.reader}) AS place"

    def by_layout(self) -> Counter[str]:
        """Return the number of rejects of each layout; empty for a version without layouts."""
        counts, relation = Counter[str](), self.statements.relation
        if not relation.branches:
            return counts
        if self.rows is not None:
            counts.update(raw[0] for *_, raw in self.rows)
        else:
            rows = self.statements.rejected(self.staged, self.duplicates)
            query = f"SELECT {LAYOUT}, count(*) FROM (SELECT {LAYOUT} FROM {rows}) GROUP BY ALL"
            counts.update(dict(self.connection.execute(query).fetchall()))
        # A line of corrected rejects that is no record itself has none.
        counts.update(one.layout for one in self.malformed.rows() if one.layout)
        return counts

    def write(self, target: Path) -> int:
        """Write the rows in the order of the source, then the malformed lines; return their number."""
        kind = (self.flow["format"], target.suffix)
        if kind == ("csv", ".csv"):
            return self._csv(target)
        if self.statements.relation.json_lines and target.suffix == ".ndjson":
            return self._ndjson(target)
        columns = len(self.statements.relation.raw)
        return copy_to(self.connection, self._rows_and_lines(), target, columns=max(columns, 1))

    def _csv(self, target: Path) -> int:
        """Write the rejects in the source's dialect and encoding."""
        dialect, encoding = Dialect.of(self.flow["csv"]), self.flow["encoding"]
        plain = is_utf8_name(encoding)
        written = target if plain else target.with_suffix(".utf8")
        rows, field_of = self.rows, field_as_copied(dialect)
        if rows is None or field_of is None:
            count = self._copy(written, dialect)
        else:
            count = self._write_few(rows, written, dialect.delim.decode(), field_of)
        between = dialect.delim * (1 + sum(1 for _ in self.statements.raw_labels()))
        with written.open("ab") as file:
            for one in self.malformed.rows():
                own = [value.encode() for value in self._about(one).values()]
                if not dialect.quote:
                    own = [value.replace(dialect.delim, b" ") for value in own]
                start = dialect.delim.join([b"", str(one.line).encode(), *map(dialect.as_field, own)])
                file.writelines((start, between, dialect.as_field(self._as_it_was(one)), b"\n"))
        if not plain:
            encode_back(written, encoding, target)
        return count + self.malformed.total

    def _copy(self, target: Path, dialect: Dialect) -> int:
        """Let DuckDB write the rows."""
        rows = self._rows()
        if not dialect.quote:
            bad = f"{text(dialect.delim.decode())} || e'\\r\\n'"
            own = ["_lume_reasons", *(["_lume_file"] if self.statements.relation.of_files else [])]
            kept = [f"translate({name}, {bad}, '   ') AS {name}" for name in own]
            rows = f"SELECT * REPLACE ({', '.join(kept)}) FROM ({rows})"
        options = (
            f"FORMAT csv, HEADER true, DELIM {text(dialect.delim.decode())}, QUOTE {text(dialect.quote.decode())}, "
            f"ESCAPE {text(dialect.escape.decode())}"
        )
        if dialect.escape != dialect.quote:
            options += ", FORCE_QUOTE *"  # other readers honour an escape character outside quotes, too
        return copy_to(self.connection, rows, target, options)

    def _write_few(
        self, rows: list[tuple[Any, ...]], target: Path, delim: str, field_of: Callable[[str | None], str]
    ) -> int:
        """Write the same as `_copy`, in the time that DuckDB needs to plan it."""
        shown = list(self.statements.shown_labels())
        relation = self.statements.relation
        at = {layout: relation.kept_at(layout) for layout, _, _ in relation.by_layout(self.flow)}
        lines: list[list[str | None]] = [
            ["_lume_row", "_lume_line", "_lume_reasons", *(label for _, label in shown), "_lume_raw"]
        ]
        places = self.malformed.places(number for *_, number, _ in rows)
        for (*masks, _, number, raw), (line, path) in zip(rows, places, strict=True):
            reasons = "; ".join(self.statements.reasons_of(masks))
            own = at[raw[0] if relation.branches else ""]
            values = {label: raw[own[name]] if name in own else None for name, label in shown}
            values |= {"_lume_path": path or None} if self.statements.has_paths else {}
            lines.append(
                [str(number + 1), None if line is None else str(line), reasons, *values.values(), None]
            )
        target.write_bytes("".join(delim.join(map(field_of, line)) + "\n" for line in lines).encode())
        return len(rows)

    def _about(self, one: MalformedLine) -> dict[str, str]:
        """Return Lume's own texts about a line, which precede the source's columns."""
        about, relation = {"_lume_reasons": one.reason}, self.statements.relation
        if relation.of_files:
            about["_lume_file"] = one.file
        if relation.branches:
            about[LAYOUT] = one.layout
        if self.statements.has_paths:
            about["_lume_path"] = one.path
        return about

    def _as_it_was(self, one: MalformedLine) -> bytes:
        """Return the line for a file in UTF-8 in which bytes that its own encoding lacks are as they were."""
        if not one.layout or is_utf8_name(self.flow["layouts"][one.layout]["encoding"]):
            return one.raw
        return one.raw.decode("utf-8", "surrogatepass").encode("utf-8", "surrogateescape")  # see `recode`

    def _ndjson(self, target: Path) -> int:
        """Write the original objects, with the reasons as their first members."""
        rest = "ltrim(_lume_line_text, e' \\t')"
        reasons = f"to_json({self.statements.reasons(self.duplicates)})::VARCHAR"
        if self.statements.relation.of_files:
            reasons += " || ',\"_lume_file\":' || to_json(_lume_file)::VARCHAR"
        rest = f"CASE WHEN regexp_full_match({rest}, '\\{{\\s*\\}}\\s*') THEN '}}' ELSE ',' || substr({rest}, 2) END"
        rejected = self.statements.rejected(self.staged, self.duplicates)
        rows = f"SELECT file_row_number + 1 AS n, {reasons} AS reasons, {rest} AS rest FROM {rejected}"
        head = "'{\"_lume_row\":' || n || coalesce(',\"_lume_line\":' || place._lume_s0, '') || ',\"_lume_reasons\":'"
        path = "coalesce(',\"_lume_path\":' || to_json(place._lume_s1)::VARCHAR, '')"
        rows = self._placed(rows, f"{head} || reasons || {path} || rest AS line")
        options = "FORMAT csv, HEADER false, DELIM '\x01', QUOTE '', ESCAPE ''"
        count = copy_to(self.connection, rows, target, options)
        with target.open("ab") as file:
            for one in self.malformed.rows():
                entry = {
                    "_lume_line": one.line,
                    **self._about(one),
                    "_lume_raw": one.raw.decode("utf-8", KEPT),
                }
                written = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
                file.write(written.encode("utf-8", KEPT) + b"\n")
        return count + self.malformed.total

    def _rows(self) -> str:
        """Return SQL for the rejected rows with their places."""
        places = ["place._lume_s0::BIGINT AS _lume_line"]
        places += ["place._lume_s1 AS _lume_path"] if self.statements.has_paths else []
        rows = self.statements.rejects(self.staged, self.duplicates)
        return self._placed(rows, f"reject.* REPLACE ({', '.join(places)})")

    def _rows_and_lines(self) -> str:
        rows = self._rows()
        if self.statements.relation.json_lines:
            # When resubmitted, an object in `_lume_raw` would be read instead of the corrected columns.
            is_raw = "* EXCLUDE (_lume_raw), _lume_raw AS _lume_object, NULL::VARCHAR AS _lume_raw"
            rows = f"SELECT {is_raw} FROM ({rows})"
        if not self.malformed.counts:
            return rows
        shown = (label for _, label in self.statements.shown_labels())
        items = ["NULL::BIGINT", "line", "reasons"]  # then columns of the same names, or of the source
        items += [
            one.removeprefix(RESERVED) if one.startswith(RESERVED) else "NULL::VARCHAR" for one in shown
        ]
        items += ["NULL::VARCHAR"] * self.statements.relation.json_lines + ["line_text"]
        return f"({rows}) UNION ALL (SELECT {', '.join(items)} FROM ({self.malformed.reader()}))"


def field_as_copied(dialect: Dialect) -> Callable[[str | None], str] | None:
    """Return a function that writes a value as DuckDB's COPY does; None if that is not known for a dialect."""
    delim, quote = dialect.delim.decode(), dialect.quote.decode()
    if not quote or dialect.escape != dialect.quote or not (delim + quote).isascii():
        return None
    special = re.compile(f"[\r\n#{re.escape(delim + quote)}]")  # for some readers, `#` begins a comment

    def field_of(value: str | None) -> str:
        if value is None:
            return ""
        if value and not special.search(value):
            return value
        return quote + value.replace(quote, quote + quote) + quote

    return field_of


_BEFORE = "in other corrected rejects before, or accepted by a replay, and"
_AGAIN = "what was rejected there is among the rejects of that run"
_REPLACED = (
    "no longer in the current table, because this run has read the source again: correct what it rejects once more. "
    "To run a new version on rejects alone, replay them"
)
_STAYS = "stays in the table, beside the rows of this run"


def for_ledger(job: Execute, intake: Intake, rejects: Rejects, metrics: dict[str, Any]) -> Json:
    """Return sets of rows, as text.

    - `reasons`: the rejects with each reason; for a replay, its records with each reason, and the
      `rejected` and the `malformed` ones.
    - `mended`: for corrected rejects, the rejects of their run that this source contains.

    `metrics` gets a warning if rejects are processed more than once, or had become rows of the target before; and as
    `accepted_rejects` the rejects that became rows of the target, in their order if these are `placed`.
    """
    found: Json = {}
    if job.is_replay:
        found |= _records(rejects, metrics)
    elif metrics["rows_rejected"]:
        names = list(metrics["reject_reasons"])
        # All rejects have the only reason, which None stands for.
        found["reasons"] = dict.fromkeys(names) if len(names) < 2 else _texts(_sets(rejects, metrics))
    if job.mended is not None:
        earlier = read_job(job.mended)
        numbers = rows_of_rejects(earlier, intake.corrected)
        mended = row_set({number for number in numbers if number is not None}, earlier.rows)
        found["mended"] = as_text(mended)
        if mended:
            metrics["accepted_rejects"] = _accepted(rejects, metrics, numbers, mended)
        metrics["warnings"] |= _twice(intake, mended & of_text(job.taken) if job.taken else 0)
    if job.beside:  # rows that this run does not replace
        closed = counted(job.beside, "reject of this source was", "rejects of this source were")
        them = "it" if job.beside == 1 else "them"
        warning = f"{closed} corrected or replayed before: what was accepted of {them} {_STAYS}"
        metrics["warnings"][warning] = 1
    if job.replaced:
        rows = counted(job.replaced, "corrected row is", "corrected rows are")
        metrics["warnings"][f"{rows} {_REPLACED}"] = 1
    return found


def _accepted(rejects: Rejects, metrics: dict[str, Any], numbers: Sequence[int | None], mended: int) -> Json:
    """Return the rejects that became rows of the target; all that were returned if that can't be told."""
    every, is_known = all_rows(len(numbers)), len(numbers) == metrics["rows_read"]
    is_known = is_known and not rejects.malformed.total and not metrics.get("rows_filtered")
    kept = every & ~_rejected(rejects, metrics["rows_rejected"], every) if is_known else 0
    mapped = [numbers[row] for row in rows_in(kept)]
    known = sorted({number for number in mapped if number is not None})
    placed = is_known and mapped == known
    return {"rows": as_text(row_set(known, mended.bit_length()) if placed else mended), "placed": placed}


def _rejected(rejects: Rejects, judged: int, well_formed: int) -> int:
    """Return the records that were rejected, of those that are `well_formed`; `judged` is their number."""
    if not judged:
        return 0
    numbered = rejects.statements.numbered_rejects(rejects.staged, rejects.duplicates)
    bits = rejects_as_bits("true", well_formed.bit_count(), "n")
    (rows,) = row_of(rejects.connection, f"SELECT {bits} FROM ({numbered})")
    return placed(_of_bits(rows), well_formed)


def _twice(intake: Intake, taken: int) -> dict[str, int]:
    """Return warnings about rejects that would be in the output more than once, each with its number of rows."""
    known = [one for one in intake.corrected.rows if any(one)]
    before, same = taken.bit_count(), len(known) - len(set(known))
    warnings = dict[str, int]()
    if before:
        was, is_ = ("row was", "is") if before == 1 else ("rows were", "are")
        warnings[f"{before:,} {was} {_BEFORE} {is_} processed once more: {_AGAIN}"] = 1
    if same:
        rows = counted(same, "row is the same reject", "rows are the same rejects")
        earlier = "an earlier row" if same == 1 else "earlier rows"
        warnings[f"{rows} as {earlier} of this file"] = 1
    return warnings


def _texts(sets: dict[str, int]) -> Json:
    return {name: as_text(rows) for name, rows in sets.items()}


def _records(rejects: Rejects, metrics: dict[str, Any]) -> Json:
    """Return the records of a replay by reason; they are numbered from 0."""
    lines = malformed_records(rejects.malformed)
    malformed = row_set(lines, metrics["rows_read"])
    well_formed = all_rows(metrics["rows_read"]) & ~malformed
    judged = metrics["rows_rejected"] - len(lines)
    rejected = _rejected(rejects, judged, well_formed)
    reasons = {
        name: placed(rows & all_rows(judged), rejected) | placed(rows >> judged, malformed)
        for name, rows in _sets(rejects, metrics).items()
    }
    return {"reasons": _texts(reasons), **_texts({"rejected": rejected | malformed, "malformed": malformed})}


def malformed_records(malformed: AllMalformed) -> list[int]:
    """Return the numbers of a replay's malformed records, in order."""
    records = list[bool]()
    for _, one in malformed.by_file if malformed.total else ():
        for _, places, others in one.parts:
            rows = ((line or 0, False) for line in places.find(range(places.rows), others()))
            both = heapq.merge(rows, ((line, True) for line, _ in others()))
            records += (is_malformed for _, is_malformed in both)
    return [n for n, is_malformed in enumerate(records) if is_malformed]


def _sets(rejects: Rejects, metrics: dict[str, Any]) -> dict[str, int]:
    names, total = list(metrics["reject_reasons"]), metrics["rows_rejected"]
    judged = total - rejects.malformed.total
    found = dict.fromkeys(names, 0)
    if judged:
        found |= _of_checks(rejects, names, judged)
    flags: dict[str, list[int]] = {}
    for number, one in enumerate(rejects.malformed.rows(), judged):
        flags.setdefault(one.reason, []).append(number)
    for reason, numbers in flags.items():
        found[reason] = found.get(reason, 0) | row_set(numbers, total)
    return found


def _of_checks(rejects: Rejects, names: list[str], judged: int) -> dict[str, int]:
    """Return the well-formed rows with each reason."""
    if rejects.rows is not None:
        bits = Counter[str]()
        for number, (*masks, _, _, _) in enumerate(rejects.rows):
            bits.update(dict.fromkeys(rejects.statements.reasons_of(masks), 1 << number))
        return dict(bits)
    statements, duplicates = rejects.statements, rejects.duplicates
    conditions = {
        name: condition
        for name, condition in statements.conditions(duplicates).items()
        if name in names and condition
    }
    numbered = statements.numbered_rejects(rejects.staged, duplicates)
    found: dict[str, int] = {}
    if conditions:
        sets = ", ".join(rejects_as_bits(condition, judged) for condition in conditions.values())
        row = row_of(rejects.connection, f"SELECT {sets} FROM ({numbered})")
        found = dict(zip(conditions, map(_of_bits, row), strict=True))
    if duplicates:
        known = Reasons(names)
        query = f"SELECT why, {rejects_as_bits('true', judged)} FROM ({numbered}) WHERE why IS NOT NULL GROUP BY why"
        for why, bits in rejects.connection.execute(query).fetchall():
            for name in known.split(why):
                found[name] = found.get(name, 0) | _of_bits(bits)
    return found


def _of_bits(bits: str | None) -> int:
    """Convert a BIT of DuckDB, which begins with row 0, to a set."""
    return int(bits[::-1], 2) if bits else 0


_AT_ONCE = 10_000
_PLAIN = {"delim": ",", "quote": '"', "escape": ""}
_READ = ("_lume_reject", "_lume_row", "_lume_line", "_lume_reasons", "_lume_values")


def reject_rows(built: Path, flow: Json, metrics: dict[str, Any], source: str) -> Path:
    """Write a Parquet file beside `built`, the file of the rejects: a row for each, numbered from 1 in order."""
    lines, target = built.with_name("rejects.lines"), built.with_name("rejects.rows.parquet")
    with closing(RowsFile(lines, len(_READ))) as file:
        _write(built, flow, metrics, file)
    values = {name: f"_lume_s{n}" for n, name in enumerate(_READ)}
    values |= {"_lume_flow": text(flow["ref"]), "_lume_source": text(source)}
    # JSON goes to the database unchanged, as text.
    kinds = {name: "VARCHAR" if kind.startswith("JSON") else kind for name, kind in REJECTS_TABLE}
    items = (f"CAST({values[name]} AS {kind}) AS {quoted(name)}" for name, kind in kinds.items())
    with connect() as connection:  # the run's connection may access another folder only
        confine_folder(connection, built.parent)
        copy_to(connection, f"SELECT {', '.join(items)} FROM ({file.reader})", target, STAGED)
    lines.unlink()
    return target


def _write(built: Path, flow: Json, metrics: dict[str, Any], into: RowsFile) -> None:
    """Write the columns `_READ` of each reject. Raises `Broken` if their number is wrong."""
    is_csv = flow["format"] == "csv"
    job = Read(
        path=str(built),
        identity="",
        csv=flow["csv"] if is_csv else _PLAIN,
        encoding=flow["encoding"] if is_csv else "utf-8",
        kinds={},
        position="0",
        row=0,
        rows=metrics["rows_rejected"],
        limit=1000,
        is_rejects=True,
        reasons=list(metrics["reject_reasons"]),
    )
    reasons, number = Reasons(job.reasons, spelling_of(job)), 0
    with closing(all_rows_of(job)) as rows:
        for number, row in enumerate(rows, 1):
            why = orjson.dumps(reasons.split(row.reasons or ""))
            places = (str(place) if place else None for place in (number, row.row, row.line))
            into.write((*places, why.decode(), row.body.decode()))
    if number != metrics["rows_rejected"]:
        raise Broken(
            f"{counted(metrics['rows_rejected'], 'row was', 'rows were')} rejected, and the file has {number:,}"
        )

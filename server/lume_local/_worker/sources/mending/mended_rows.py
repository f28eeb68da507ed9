"""Matches rows of corrected rejects to the rejects of a run, by the columns that rejects begin with."""

# ruff: noqa: S608 - the parts of its SQL are constants.
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Any, TextIO

import duckdb
import orjson

from lume_local._flow.definition import RESERVED
from lume_local._shared.protocol import Read
from lume_local._worker.object_stores import StoreTrouble
from lume_local._worker.outputs.pages import TooLarge, all_rows_of
from lume_local._worker.outputs.row_json import FILE, LINE, RAW, REASONS, ROW, Broken, OutputRow
from lume_local._worker.sources.files import blocks
from lume_local._worker.sources.intake import CorrectedRows, Reading
from lume_local._worker.sources.mending.lost_letters import (
    ESCAPES,
    KEPT,
    MARK,
    NOT_UTF8,
    NOTED,
    REJECT,
    RUN,
    Identity,
    LostLetters,
    as_counted,
    genuine_words,
    identity_of,
)
from lume_local._worker.sources.source import SourceError
from lume_local._worker.statements import Relation

_HOW = "Submit the rejects file of each run for that run, with the corrections, or paste them into the inbox"
_UNREADABLE = (Broken, StoreTrouble, TooLarge, OSError, duckdb.Error)


def is_noted(reading: Reading, names: Sequence[str]) -> bool:
    """Return whether the records of a file with these columns have to be examined one by one.

    If nothing else requires it, only where a row may have been rejected for its bytes: it takes ten times as long.
    """
    if reading.corrected is not None and has_identity(names):
        return True
    wanted = {NOT_UTF8.encode()} if REASONS in map(str.lower, names) else set()
    marks = tuple(one.encode() for one in (MARK, *ESCAPES))
    before, has_mark = b"", False
    for block in blocks(reading.path, reading.pause) if wanted else ():
        data = before + block
        wanted = {one for one in wanted if one not in data}
        has_mark = has_mark or any(mark in data for mark in marks)
        if has_mark and not wanted:
            return True
        before = block[-100:]
    return False


def has_identity(names: Sequence[str]) -> bool:
    return not set(NOTED[1:]).isdisjoint(map(str.lower, names))


def refuse_as_source(names: Sequence[str]) -> None:
    """Refuse rejects from the inbox as a source, whose rows would all be additional ones. Raises `SourceError`."""
    if {RUN, REJECT}.issubset(map(str.lower, names)):
        raise SourceError(f"the source has {RUN} and {REJECT}: its rows are rejects of other runs. {_HOW}")


def note_others(reading: Reading, relation: Relation) -> None:
    """Note the identities of rows that were not read as CSV records."""
    assert reading.corrected is not None
    corrected = reading.corrected
    if relation.json_lines:
        with reading.path.open(encoding="utf-8-sig", errors="replace") as file:
            for value in _values(file):
                own = value if isinstance(value, dict) else {}
                corrected.note(*identity_of(value), own.get(RUN), own.get(REJECT))
    elif has_identity(relation.raw):
        lower = [name.lower() for name in relation.raw]
        items = [f"_lume_s{lower.index(one)}" if one in lower else "''" for one in NOTED]
        rows = reading.connection.execute(f"SELECT {', '.join(items)} FROM ({relation.reader})").fetchall()
        for file_, row, line, run, reject in rows:
            corrected.note(file_ or "", row or "", line or "", run, reject)


def _values(file: TextIO) -> Iterator[Any]:
    """Yield the objects of a file, one per line or in one array; skip anything that is not JSON."""
    with suppress(ValueError, RecursionError):
        if file.read(1) == "[":
            file.seek(0)
            yield from json.load(file)
            return
        file.seek(0)
    for line in file:
        with suppress(ValueError, RecursionError):
            yield json.loads(line)


def lost_letters(job: Read) -> LostLetters:
    """Return which of the rejects of a run lack letters."""
    if not any(reason.startswith(NOT_UTF8) for reason in job.reasons):
        return LostLetters({})
    try:
        with closing(all_rows_of(job)) as found:
            genuine = dict[Identity, Counter[str]]()
            for one in found:
                if NOT_UTF8 in (one.reasons or ""):
                    raw = json.loads(one.kept.decode("utf-8", KEPT)).get(RAW) if one.kept else None
                    genuine[_identity(one)] = genuine_words(str(raw or ""))
            return LostLetters(genuine)
    except _UNREADABLE:
        return LostLetters()


def rows_of_rejects(job: Read, corrected: CorrectedRows) -> list[int | None]:
    """Return the number of each corrected row among a run's rejects, as they are written; None for another row.

    The list is empty if the rejects can't be read: the rows of the file then count as additional ones.

    Raises:
        SourceError: a reject has a value for which the corrected ones have no column, so it would be lost; or a
            corrected row matches no reject, so it is another run's, whose rejects would stay open instead of these.
    """
    if others := corrected.runs - {job.run_id}:
        raise SourceError(
            f"the rejects have {RUN} {min(others)[:50]!r}, but are sent for {job.run_id}. {_HOW}"
        )
    if corrected.is_placeless:
        raise SourceError(f"the corrected rejects have {REJECT}, but neither {ROW} nor {LINE}. {_HOW}")
    left = {as_counted(one) for one in corrected.rows if any(one[1:])}
    rows = dict[Identity, int]()
    try:
        with closing(all_rows_of(job)) as found:
            for number, one in enumerate(found if left else ()):
                if (identity := _identity(one)) in left:
                    _refuse_loss(one, corrected.lacking)
                    rows[identity] = number
                    left.remove(identity)
                    if not left:
                        break
    except _UNREADABLE:
        return []
    if left:
        _, row, line = min(left, key=lambda one: (len(one[1]), one))
        which = f"{ROW} {row}" if row else f"{LINE} {line}"
        raise SourceError(
            f"the corrected rejects have {which}, which the run did not reject: they belong to another run, or a "
            f"column {RESERVED}… was changed. Submit them for their run"
        )
    return [rows.get(as_counted(one)) for one in corrected.rows]


def numbers_of_rejects(job: Read, corrected: CorrectedRows) -> list[int | None]:
    """Return the number of each corrected row's reject; None for a row without one, or if they can't be read."""
    numbers = dict[Identity, int]()
    with suppress(*_UNREADABLE), closing(all_rows_of(job)) as found:
        numbers = {_identity(one): number for number, one in enumerate(found)}
    return [numbers.get(as_counted(one)) for one in corrected.rows]


def _refuse_loss(row: OutputRow, lacking: dict[str, list[str]]) -> None:
    if not lacking:
        return
    values: dict[str, Any] = orjson.loads(row.body)
    for name, spelled in lacking.items():
        # Including a member within an object, which the flow reads by a dot.
        if any(values.get(there) is not None for one in spelled for there in (one, one.partition(".")[0])):
            raise SourceError(
                f"the corrected rejects have no column {name!r}, although rows of them had a value there: put the "
                "column back (an empty one, if the values are to go), then submit them again"
            )


def _identity(row: OutputRow) -> Identity:
    values: dict[str, Any] = orjson.loads(row.body) if FILE.encode() in row.body else {}
    return identity_of({FILE: values.get(FILE), ROW: row.row, LINE: row.line})

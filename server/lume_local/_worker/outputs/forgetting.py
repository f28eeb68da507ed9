"""Forgets a person in an output: mapped rows are left out; rejects, which are known by number, are emptied.

The new file is beside the output, which stays as it is. Other files are only searched.
"""

# ruff: noqa: S608 - the parts of its SQL are quoted or numbers.
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

import duckdb

from lume_local._flow.definition import quoted
from lume_local._shared.commit import explain, sync_file
from lume_local._shared.compressed import INCOMPLETE, OPENERS
from lume_local._shared.magic import GZIP, LENGTH, PARQUET, ZIP, ZSTD, kind_of
from lume_local._shared.person import LEAST, Person
from lume_local._shared.protocol import Failed, Forget, Forgotten, Json, Read, read_job
from lume_local._shared.row_set import as_text, row_set
from lume_local._worker.connection import configure, connect
from lume_local._worker.object_stores import StoreTrouble
from lume_local._worker.outputs.pages import open_output
from lume_local._worker.outputs.readers import CsvRows
from lume_local._worker.outputs.row_json import OBJECT, RAW, Broken
from lume_local._worker.sources.files import is_utf8_name
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.mending.lost_letters import KEPT, KEPT_IF_POSSIBLE
from lume_local._worker.sources.places.held import named
from lume_local._worker.sources.places.unpack import DAMAGED
from lume_local._worker.sql import copy_to, literal, text
from lume_local._worker.targets.earlier_values import digest_of, forget_values
from lume_local._worker.targets.target import TargetError

_BLOCK = 4 * 1024 * 1024
_OVERLAP = 64 * 1024
"""Bytes of a block that are searched again with the next one."""
_DEEPEST = 3
"""Archives within archives that are opened."""


def forget(job: Forget) -> Forgotten | Failed:
    """Find the rows; if there are any and the job names a draft, write the new file there, durably."""
    if not job.read:
        about = Person(job.values, job.ignore_case)
        numbers = [number for number, path in enumerate(job.files) if _mentions(Path(path), about)]
        return Forgotten(len(numbers), as_text(row_set(numbers, len(job.files))))
    read = read_job(job.read)
    person, digests = Person(job.values, job.ignore_case, read.encoding), list[bytes]()
    try:
        with open_output(read.path, read.folder, any_size=True) as place:
            if read.identity and read.identity != place.identity():
                return Failed("it has been changed since the run wrote it", None)
            is_parquet = read.path.lower().endswith(".parquet")
            found = (_parquet if is_parquet else _lines)(job, read, person, place.path, digests)
        if job.draft and found:
            sync_file(Path(job.draft))
            forget_values(job.earlier, zip(job.names, job.values, strict=True), digests)
        return Forgotten(len(found), as_text(row_set(found, read.rows) if read.is_rejects else 0))
    except FileNotFoundError:
        return Forgotten(0, as_text(0))
    except (StoreTrouble, TargetError) as trouble:
        is_missing = isinstance(trouble, StoreTrouble) and trouble.is_missing
        return Forgotten(0, as_text(0)) if is_missing else Failed(str(trouble), None)
    except OSError as error:
        return Failed(named(explain(error)), None)
    except (Broken, duckdb.Error, ValueError) as error:
        return Failed(f"it can't be read: {named(str(error)).partition(chr(10))[0]}", None)


def _parquet(job: Forget, read: Read, person: Person, path: Path, digests: list[bytes]) -> list[int]:
    """Return the numbers of the rows among rejects, from 0; of mapped rows only as many numbers, and `digests`."""
    with closing(connect()) as connection:
        configure(connection, "memory_limit='512MB'", "threads=1")
        table = f"read_parquet({literal(path)})"
        columns = connection.execute(f"DESCRIBE FROM {table}").fetchall()
        every = list[str]()
        for value, names in zip(job.values, job.names, strict=True):
            some = ["false"]
            for name, kind, *_ in columns:
                if name.lower() in names and kind == "VARCHAR" and job.ignore_case:
                    some.append(f"lower(trim({quoted(name)})) = lower(trim({text(value)}))")
                elif name.lower() in names:  # of the column's own type, so that row groups can be skipped
                    some.append(f"{quoted(name)} = TRY_CAST({text(value)} AS {kind})")
            every.append(f"({' OR '.join(some)})")
        theirs = " AND ".join(every)
        if read.is_rejects:
            raw = RAW if any(name == RAW for name, *_ in columns) else "NULL"
            rows = connection.execute(f"SELECT {theirs}, {raw} FROM {table}")
            pages = chain.from_iterable(iter(lambda: rows.fetchmany(1000), []))
            found = [n for n, (is_it, line) in enumerate(pages) if is_it or (line and person.is_in(line))]
            gone = (
                f"CASE WHEN _lume_n NOT IN ({', '.join(map(str, found))}) THEN {name} END AS {name}"
                for name in (quoted(name) for name, *_ in columns if not _is_ours(name))
            )
            numbered = f"SELECT row_number() OVER () - 1 AS _lume_n, * FROM {table}"
            query = f"SELECT * EXCLUDE (_lume_n) REPLACE ({', '.join(gone)}) FROM ({numbered})"
        else:
            kept = [name for name, *_ in columns if name.lower() in job.earlier["columns"]]
            values = ", ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in kept) or "NULL"
            rows, found = connection.execute(f"SELECT {values} FROM {table} WHERE {theirs}"), []
            while (row := rows.fetchone()) is not None:
                found.append(0)
                digests += (digest_of(*one) for one in zip(kept, row, strict=False) if one[1] is not None)
            query = f"SELECT * FROM {table} WHERE ({theirs}) IS NOT TRUE"
        if job.draft and found:
            copy_to(connection, query, Path(job.draft), columns=len(columns))
        return found


def _is_ours(name: str) -> bool:
    """Return whether an emptied reject keeps the column: its place, and its reasons, which quote no value."""
    return name.startswith("_lume_") and name not in (RAW, OBJECT)


def _lines(job: Forget, read: Read, person: Person, path: Path, digests: list[bytes]) -> list[int]:
    """Return the same for CSV and NDJSON."""
    if not _mentions(path, person):  # as most files, which are searched as fast as the disk is
        return []
    is_json, found = read.path.lower().endswith(".ndjson"), list[int]()
    encoding = "utf-8" if is_json or is_utf8_name(read.encoding) else read.encoding
    with (
        path.open(encoding=encoding, errors=KEPT_IF_POSSIBLE, newline="\n") as file,
        open(job.draft or os.devnull, "w", encoding=encoding, errors=KEPT_IF_POSSIBLE, newline="\n") as out,
    ):
        rows = _objects(job, person, file) if is_json else _records(job, read, person, file, out)
        for number, (line, emptied, row) in enumerate(rows):
            if emptied is not None:
                found.append(number)
                if not read.is_rejects:
                    kept = ((name, row[name]) for name in row if name.lower() in job.earlier["columns"])
                    digests += (digest_of(name, str(value)) for name, value in kept if value is not None)
            if emptied is None or read.is_rejects:
                out.write(f"{line if emptied is None else emptied}\n")
    return found


def _objects(job: Forget, person: Person, file: Iterable[str]) -> Iterator[tuple[str, str | None, Json]]:
    """Yield each line, and if it is about the person, what stays of it, and the row."""
    for line in file:
        emptied, row = None, dict[str, Any]()
        if is_theirs(person, job.names, line):
            row = json.loads(line)
            own = {name: value for name, value in row.items() if _is_ours(name)}
            emptied = json.dumps(own | ({RAW: ""} if RAW in row else {}), separators=(",", ":"))
        yield line.removesuffix("\n"), emptied, row


def is_theirs(person: Person, names: Sequence[Sequence[str]], line: str) -> bool:
    """Return whether an object, in a line of JSON, is about the person."""
    if not person.are_in(line.encode("utf-8", KEPT)):
        return False
    row = json.loads(line, parse_int=str, parse_float=str)
    return person.has(names, row) or person.is_in(str(row.get(RAW) or ""))


def _records(
    job: Forget, read: Read, person: Person, file: Any, out: IO[str]
) -> Iterator[tuple[str, str | None, Json]]:
    rows = CsvRows(file, Dialect.of(read.csv), {}, 0)
    out.write(f"{rows.header.decode('utf-8', KEPT)}\n")
    while (record := rows.record()) is not None:
        emptied, row = None, dict[str, Any]()
        if person.are_in(record):
            fields = rows.fields(record)
            row = dict(zip(rows.names, map(rows.value, fields), strict=True))
            if person.has(job.names, row) or person.is_in(row.get(RAW) or ""):
                left = (one if _is_ours(name) else b"" for name, one in zip(rows.names, fields, strict=True))
                emptied = read.csv["delim"].encode().join(left).decode("utf-8", KEPT)
        yield record.decode("utf-8", KEPT), emptied, row


def _mentions(path: Path, person: Person) -> bool:
    missing = set(range(len(person.values)))
    # It may be encrypted, damaged, or gone meanwhile.
    with suppress(OSError, duckdb.Error, RuntimeError, *DAMAGED, *INCOMPLETE), path.open("rb") as file:
        for blocks in _streams(file):
            before = b""
            for block in blocks:
                missing -= person.in_bytes(before + block)
                before = block[-_OVERLAP:]
                if not missing:
                    return True
    return False


def has_bytes(path: Path, person: Person) -> bool:
    """Return whether a file of a database has the values, in a row or not, between whatever bytes."""
    before = b""
    with suppress(OSError), path.open("rb") as file:
        while max(map(len, person.values)) >= LEAST and (block := file.read(_BLOCK)):
            if person.are_in(before + block):
                return True
            before = block[-_OVERLAP:]
    return False


def _streams(file: Any, depth: int = 0) -> Iterator[Iterator[bytes]]:
    """Yield the content of a file in blocks: unpacked, the rows of Parquet, and each member of an archive."""
    file.seek(0)
    kind = kind_of(file.read(LENGTH)) if depth < _DEEPEST else None
    file.seek(0)
    if kind in (GZIP, ZSTD):
        yield from _streams(OPENERS["gzip" if kind == GZIP else "zstd"](file), depth + 1)
    elif kind == ZIP:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                with archive.open(info) as member:
                    yield from _streams(member, depth + 1)
    elif kind == PARQUET and not depth:
        with closing(connect()) as connection:
            rows = connection.execute(f"FROM read_parquet({literal(Path(file.name))})")
            yield iter(lambda: "\n".join(map(str, rows.fetchmany(1000))).encode("utf-8", KEPT), b"")
    else:
        yield iter(lambda: file.read(_BLOCK), b"")

"""One page of an output: as many rows as are wanted, fit, and can be found with a bounded amount of reading."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from lume_local._shared.commit import explain
from lume_local._shared.protocol import Page, Read, Unreadable
from lume_local._worker.connection import connect
from lume_local._worker.object_stores import StoreTrouble
from lume_local._worker.outputs.csv_rows import CsvRows
from lume_local._worker.outputs.local_output import TooLarge, open_output
from lume_local._worker.outputs.ndjson_rows import NdjsonRows
from lume_local._worker.outputs.parquet_rows import ParquetRows, confine_read
from lume_local._worker.outputs.row_json import Broken, OutputRows, Reasons, reject_json
from lume_local._worker.sources.files import is_utf8_name
from lume_local._worker.sources.formats.dialect import Dialect
from lume_local._worker.sources.places.held import named

MOST_BYTES = 4 * 1024 * 1024
"""Bytes of a page after which no further row is added."""
MOST_SCANNED = 32 * 1024 * 1024
"""Bytes of rows that are read for one page, whether or not they have the requested reason."""


def read_page(job: Read) -> Page | Unreadable:
    """The page, or why there is none."""
    try:
        with open_output(job.path, job.folder) as place:
            before = place.identity()
            if job.identity and job.identity != before:
                return _changed("the file has been changed since the run wrote it")
            with _opened(job, place.path) as rows:
                page = _filled(job, rows, before)
            if place.identity() != before:
                return _changed("the file was changed while it was read")
    except TooLarge as error:
        return Unreadable("not-supported", str(error))
    except StoreTrouble as trouble:
        return Unreadable("output-gone" if trouble.is_missing else "output-unreadable", str(trouble))
    except FileNotFoundError:
        return Unreadable("output-gone", "the file no longer exists")
    except OSError as error:
        return Unreadable("output-unreadable", f"the file can't be read: {named(explain(error))}")
    except OverflowError:
        return Unreadable("invalid-cursor", "the cursor does not point into the file: start again without it")
    except (Broken, duckdb.Error) as error:
        first = named(str(error)).partition("\n")[0]
        return Unreadable("output-unreadable", f"the file is not what the run has written: {first}")
    if page.position is None and page.row != job.rows:
        return _changed(f"the run wrote {job.rows:,} rows, and the file has {page.row:,}")
    return page


def _changed(how: str) -> Unreadable:
    return Unreadable("output-changed", how)


@contextmanager
def _opened(job: Read, path: Path) -> Iterator[OutputRows]:
    suffix = Path(job.path).suffix.lower()  # `path` may be another name of the file
    if suffix == ".parquet":
        with connect() as connection:
            confine_read(connection, path)
            # One row more than the page has shows whether there is another page.
            yield ParquetRows(connection, path, int(job.position), job.limit + 1)
        return
    encoding = "utf-8" if is_utf8_name(job.encoding) else job.encoding
    # Undecodable bytes (of a malformed line) can't be in JSON: the file itself keeps them.
    with path.open(encoding=encoding, errors="replace", newline="\n") as file:
        if suffix == ".ndjson":
            yield NdjsonRows(file, int(job.position))
        else:
            yield CsvRows(file, Dialect.of(job.csv), job.kinds, int(job.position))


def _filled(job: Read, rows: OutputRows, file: str) -> Page:
    """Read until the page is full or the rows end."""
    reasons = Reasons(job.reasons, _spelling(job)) if job.is_rejects else None
    items: list[bytes] = []
    size = scan_or_retry = 0
    row = job.row
    found = iter(rows)
    while len(items) < job.limit and size < MOST_BYTES and scan_or_retry < MOST_SCANNED:
        one = next(found, None)
        if one is None:
            return _page(items, None, row, file)
        row += 1
        scan_or_retry += len(one.body)
        item = one.body
        if reasons is not None:
            if one.reasons is None:
                raise Broken("a row has no reasons")
            why = reasons.split(one.reasons)
            if job.reason is not None and job.reason not in why:
                continue
            item = reject_json(one.row, one.line, why, one.body)
        items.append(item)
        size += len(item)
    position = str(rows.position())
    return _page(items, None if next(found, None) is None else position, row, file)


def _page(items: list[bytes], position: str | None, row: int, file: str) -> Page:
    return Page((b"[" + b",".join(items) + b"]").decode(), position, row, file)


def _spelling(job: Read) -> Callable[[str], str]:
    """How the file writes a reason: without a quote it can hold no delimiter, and no character of other encodings."""
    if not job.path.lower().endswith(".csv"):
        return str
    apart = {} if job.csv["quote"] else dict.fromkeys(map(ord, job.csv["delim"] + "\r\n"), " ")
    encoding = "utf-8" if is_utf8_name(job.encoding) else job.encoding
    return lambda reason: reason.translate(apart).encode(encoding, "backslashreplace").decode(encoding)

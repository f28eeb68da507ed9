"""One page of an output: as many rows as are wanted, fit, and can be found with a bounded amount of reading.

They are read from the file itself, or from a copy of an object of limited size.
"""

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import duckdb
import orjson
from attrs import frozen

from lume_async._base.words import counted
from lume_local._flow.urls import is_store_url, split_store_url
from lume_local._shared import no_links
from lume_local._shared.commit import explain
from lume_local._shared.failing import require
from lume_local._shared.identity import LARGEST_COPY, identity, identity_of_copies
from lume_local._shared.protocol import Read, RowsPage, Unreadable
from lume_local._worker.connection import confine_read, connect
from lume_local._worker.object_stores import StoreTrouble, head, obstore_errors, store_of
from lume_local._worker.outputs.arrow_rows import (
    ArrowPage,
    NotArrow,
    is_infinite,
    write_no_rows,
    write_rows,
)
from lume_local._worker.outputs.readers import CsvRows, NdjsonRows, ParquetRows
from lume_local._worker.outputs.row_json import Broken, OutputRow, OutputRows, Reasons, reject_json
from lume_local._worker.sources.files import is_utf8_name
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.mending.lost_letters import KEPT_IF_POSSIBLE
from lume_local._worker.sources.places.held import Held, named


class TooLarge(Exception):
    """The object is too large; the message gives its size."""


@frozen
class LocalOutput:
    """An output as a file on this machine; each call of `identity` returns the identity of the output itself."""

    path: Path
    identity: Callable[[], str]


@contextmanager
def open_output(location: str, folder: str = "", *, any_size: bool = False) -> Iterator[LocalOutput]:
    """Open an output; a copy goes into `folder`. Raises OSError, `StoreTrouble`, `TooLarge`.

    Args:
        any_size: whether to copy an object of any size.
    """
    if not is_store_url(location):
        with closing(Held()) as held:
            handle = no_links.open(Path(location), os.O_RDONLY | os.O_NONBLOCK)
            path = held.hold(handle, Path(location), Path(folder or tempfile.gettempdir()) / "held")
            yield LocalOutput(path, lambda: identity(handle))
        return
    store = store_of(location)
    import obstore

    before = head(store, location)
    if before.size > LARGEST_COPY and not any_size:
        raise TooLarge(
            f"the object has {before.size:,} bytes, and rows of up to {LARGEST_COPY:,} are read through the server"
        )
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lume-rows-", dir=folder or None) as own:
        path = Path(own) / f"copy{Path(location).suffix}"
        with obstore_errors(location), path.open("wb") as file:
            for block in obstore.get(store, split_store_url(location)[2]).stream():
                file.write(block)
        if path.stat().st_size != before.size:
            raise StoreTrouble(f"{location} was changed while it was read")
        content = identity_of_copies(path)
        yield LocalOutput(path, lambda: content if head(store, location) == before else "")


MOST_BYTES = 4 * 1024 * 1024
"""Bytes of a page after which no further row is added."""
MOST_SCANNED = 32 * 1024 * 1024
"""Bytes of rows that are read for one page, whether or not they have the requested reason."""


def read_page(job: Read) -> RowsPage | Unreadable:
    """Return the page, or why there is none."""
    if job.arrow:
        try:
            require("nanoarrow", "", "sending rows as Arrow")
        except ModuleNotFoundError as error:
            return _not_arrow(error)
    if not job.path:
        return _file(job, "", partial(write_no_rows, job))
    try:
        with open_output(job.path, job.folder) as place:
            before = place.identity()
            if job.identity and job.identity != before:
                return _changed("the file has been changed since the run wrote it")
            fill = _picked if job.run_id else _written if job.arrow else _filled
            with opened(job, place.path) as rows:
                page = fill(job, rows, before)
            if place.identity() != before:
                return _changed("the file was changed while it was read")
    except TooLarge as error:
        return Unreadable("not-supported", str(error))
    except NotArrow as error:
        return _not_arrow(error)
    except StoreTrouble as trouble:
        return Unreadable("output-gone" if trouble.is_missing else "output-unreadable", str(trouble))
    except FileNotFoundError:
        return Unreadable("output-gone", "the file no longer exists")
    except OSError as error:
        return Unreadable("output-unreadable", f"the file can't be read: {named(explain(error))}")
    except OverflowError:
        return Unreadable("invalid-cursor", "the cursor does not point into the file: start again without it")
    except (Broken, duckdb.Error) as error:
        if is_infinite(error):
            return _not_arrow(error)
        first = named(str(error)).partition("\n")[0]
        return Unreadable("output-unreadable", f"the file is not what the run has written: {first}")
    if page.position is None and page.row != job.rows:
        return _changed(f"the run wrote {counted(job.rows, 'row')}, and the file has {page.row:,}")
    return page


def _not_arrow(error: Exception) -> Unreadable:
    return Unreadable("not-acceptable", f"{named(str(error))}; request the rows as JSON")


def all_rows_of(job: Read) -> Generator[OutputRow]:
    """Yield all rows of an output, provided that it has not changed.

    Raises `Broken`, `StoreTrouble`, `TooLarge`, OSError, `duckdb.Error`.
    """
    with open_output(job.path, job.folder) as place:
        if job.identity and job.identity != place.identity():
            raise Broken("the file has been changed since the run wrote it")
        with opened(job, place.path) as rows:
            yield from rows


def _changed(how: str) -> Unreadable:
    return Unreadable("output-changed", how)


@contextmanager
def opened(job: Read, path: Path) -> Iterator[OutputRows]:
    """Open the rows of an output at the position of the job."""
    suffix = Path(job.path).suffix.lower()  # `path` may be another name of the file
    if suffix == ".parquet":
        with connect() as connection:
            confine_read(connection, path)
            # One row more than the page has: it shows whether there is another page.
            yield ParquetRows(connection, path, int(job.position), job.limit + 1)
        return
    encoding = "utf-8" if is_utf8_name(job.encoding) else job.encoding
    with path.open(encoding=encoding, errors=KEPT_IF_POSSIBLE, newline="\n") as file:
        if suffix == ".ndjson":
            yield NdjsonRows(file, int(job.position))
        else:
            yield CsvRows(file, Dialect.of(job.csv), job.kinds, int(job.position))


def _reasons(job: Read) -> Reasons | None:
    return Reasons(job.reasons, spelling_of(job)) if job.is_rejects else None


def _written(job: Read, rows: OutputRows, file: str) -> RowsPage:
    return _file(job, file, lambda page: write_rows(job, rows, _reasons(job), page))


def _file(job: Read, file: str, write: Callable[[ArrowPage], tuple[str | None, int]]) -> RowsPage:
    Path(job.folder).mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=job.folder, delete=False) as target:
        position, row = write(ArrowPage(target.file, with_schema=job.with_schema))
    return RowsPage(target.name, position, row, file)


def _filled(job: Read, rows: OutputRows, file: str) -> RowsPage:
    """Read until the page is full or the rows end."""
    reasons = _reasons(job)
    items: list[bytes] = []
    size = scanned = 0
    row = job.row
    found, out = iter(rows), job.left_out_flags()
    names = getattr(rows, "names", job.types)
    lacking = b"".join(b"," + orjson.dumps(name) + b":null" for name in job.table if name not in names)
    while len(items) < job.limit and size < MOST_BYTES and scanned < MOST_SCANNED:
        one = next(found, None)
        if one is None:
            return _page(items, None, row, file)
        row += 1
        scanned += len(one.body)
        item = one.body[:-1] + lacking + b"}" if lacking else one.body
        if out[row - 1 : row] == b"\1":
            continue
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


def _picked(job: Read, rows: OutputRows, file: str) -> RowsPage:
    """Read until the picked rows are found or the page is full."""
    items: list[bytes] = []
    size = scanned = 0
    row, wanted = job.row, iter(job.picked)
    number, reasons, more = next(wanted)
    for one in rows:
        row += 1
        scanned += len(one.body)
        if row - 1 == number:
            own: dict[str, str | int] = {"_lume_run": job.run_id, "_lume_reject": row, **more}
            items.append(reject_json(one.row, one.line, reasons, one.body, own))
            size += len(items[-1])
            number, reasons, more = next(wanted, (-1, [], {}))
        if number < 0 or size >= MOST_BYTES or scanned >= MOST_SCANNED:
            return _page(items, str(rows.position()), row, file)
    return _page(items, None, row, file)


def _page(items: list[bytes], position: str | None, row: int, file: str) -> RowsPage:
    return RowsPage((b"[" + b",".join(items) + b"]").decode(), position, row, file)


def spelling_of(job: Read) -> Callable[[str], str]:
    """Return how the file spells reasons: without quotes no delimiters, and only characters of its encoding."""
    if not job.path.lower().endswith(".csv"):
        return str
    apart = {} if job.csv["quote"] else dict.fromkeys(map(ord, job.csv["delim"] + "\r\n"), " ")
    encoding = "utf-8" if is_utf8_name(job.encoding) else job.encoding
    return lambda reason: reason.translate(apart).encode(encoding, "backslashreplace").decode(encoding)

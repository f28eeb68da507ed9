"""Writes data of a program to a local file for an upload: bytes as they are, rows and tables in a flow's format."""

import errno
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from inspect import iscoroutinefunction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from anyio import to_thread
from attrs import frozen

from lume_async._base.threads import JobThread
from lume_async._run.results import frames
from lume_async._run.row_text import CsvDialect, dialect_of, json_array, json_lines, names_of
from lume_async._run.transfer import PlainData, SourceData
from lume_async.errors import ApiError, InvalidRequestError

_BLOCK = 1024 * 1024
_TABLES = ("pandas", "polars", "pyarrow")
_UNSENT = "no request was sent"
_NOTHING = object()
"""Stands for the first item of an empty iterable."""


@frozen
class RowFormat:
    """A format for rows: the suffix of the file, and what writes a table or an iterable of dicts into it."""

    suffix: str
    write: Callable[[Any, BinaryIO], None]


def csv_format(dialect: CsvDialect) -> RowFormat:
    """Return the format CSV; rows of an iterable are held in memory, as the header needs all their columns."""

    def write(rows: Any, file: BinaryIO) -> None:
        found = list(_dicts(rows))
        names = _columns(rows) if _is_table(rows) else ()
        for number, line in enumerate(dialect.lines(found, columns=names)):
            try:
                encoded = line.encode(dialect.encoding)
            except UnicodeEncodeError:
                header = {name: name for name in (*names, *(name for row in found for name in row))}
                _check_letters(number, found[number - 1] if number else header, dialect.encoding)
                encoded = line.encode(
                    dialect.encoding, "backslashreplace"
                )  # in a reason, as the server writes it
            file.write(encoded)

    return RowFormat(".csv", write)


def format_for(definition: Mapping[str, Any] | None, layout: str | None = None) -> RowFormat:
    """Return the format that a flow version reads; if unknown, Parquet for tables and NDJSON for other rows.

    A `layout` has settings of its own; None: CSV in a version with layouts. Raises `InvalidRequestError`.
    """
    if definition is None:
        return RowFormat("", lambda rows, file: (_parquet if _is_table(rows) else _lines)(rows, file))
    of_layout = (definition.get("layouts") or {}).get(layout) or {}
    source = {**(definition.get("source") or {}), **(of_layout.get("source") or {})}
    kind = source.get("format", "csv")
    if kind == "csv":
        return csv_format(dialect_of({"source": source}))
    if kind in _FORMATS and not source.get(kind):  # otherwise its records are inside a document
        return _FORMATS[kind]
    if kind == "sql":
        raise InvalidRequestError(f"the flow version reads a query of a database, and no data; {_UNSENT}")
    raise InvalidRequestError(
        f"rows can't be written as {kind}: pass a file that the flow version reads; {_UNSENT}"
    )


@asynccontextmanager
async def local_file(
    data: SourceData, rows_as: Callable[[], Awaitable[RowFormat]], name: str = "data"
) -> AsyncIterator[Path]:
    """Write the data to a temporary file, which is removed after the block; a path is used as is. Raises `ApiError`.

    `rows_as` is not called for bytes; `name` is the argument's, for errors.
    """
    if isinstance(data, str | os.PathLike):
        path = Path(data)
        if not await to_thread.run_sync(os.path.isfile, path):
            is_there = await to_thread.run_sync(os.path.exists, path)
            what = "is not a file" if is_there else "does not exist"
            raise InvalidRequestError(f"{name}: {os.fspath(data)!r:.200} {what}; {_UNSENT}")
        yield path
        return
    # Not in a thread, where a cancellation could lose it.
    with _named(name):
        folder = Path(tempfile.mkdtemp(prefix="lume-upload-"))
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    worker = JobThread()
    try:
        with _named(name, folder):
            file = await _written(data, rows_as, folder, name, worker)
        yield file
    finally:
        worker.then(remove)  # a job that was cancelled may still write
        worker.close()
        remove()


@contextmanager
def _named(name: str, folder: Path | None = None) -> Iterator[None]:
    """Raise `ApiError` if a temporary file can't be written; other errors are the data's, which is read here, too."""
    try:
        yield
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if folder and not is_full and not str(error.filename or "").startswith(str(folder)):
            raise
        place = Path(folder or error.filename or "").parent
        raise ApiError(
            f"{name} can't be written to a temporary file in {str(place)!r:.200}: {error.strerror or error}; free "
            f"some space, or set TMPDIR to another folder; {_UNSENT}"
        ) from error


async def _written(
    data: SourceData, rows_as: Callable[[], Awaitable[RowFormat]], folder: Path, name: str, worker: JobThread
) -> Path:
    if iscoroutinefunction(getattr(data, "read", None)):
        data = _read_later(data)
    if isinstance(data, AsyncIterable):
        return await _gathered(data, rows_as, folder, name, worker)
    if _is_table(data):
        return await worker.run(_write_rows, data, await rows_as(), folder)
    pieces = _while_wanted(_pieces(data, name), worker)
    try:
        first = await worker.run(next, pieces, _NOTHING)
        if isinstance(first, Mapping):
            return await worker.run(_write_rows, chain([first], pieces), await rows_as(), folder)
        return await worker.run(_write_bytes, _begun(first, name), pieces, folder, name)
    finally:
        worker.then(pieces.close)


def _pieces(data: Any, name: str) -> Iterator[Any]:
    """Return the rows, or blocks of bytes. Raises `InvalidRequestError`."""
    if isinstance(data, bytes | bytearray | memoryview):
        return iter([bytes(data)])
    if hasattr(data, "read") and not isinstance(data, type):
        return _blocks(data, name)
    if isinstance(data, Iterable) and not isinstance(data, str | Mapping):
        return iter(data)
    raise InvalidRequestError(
        f"{name} must be a path, bytes, a binary file, rows or a table, not {type(data).__name__}; {_UNSENT}"
    )


def written(data: PlainData, rows_as: Callable[[], RowFormat], folder: Path, name: str) -> Path:
    """Write data to a file in a folder, in this thread. Raises `InvalidRequestError`. See `local_file`."""
    if _is_table(data):
        return _write_rows(data, rows_as(), folder)
    pieces = _pieces(data, name)
    first = next(pieces, _NOTHING)
    if isinstance(first, Mapping):
        return _write_rows(chain([first], pieces), rows_as(), folder)
    return _write_bytes(_begun(first, name), pieces, folder, name)


def _while_wanted(pieces: Iterator[Any], worker: JobThread) -> Generator[Any]:
    """Yield the pieces until nobody waits for them; at the end, close their source if it is a generator."""
    try:
        for piece in pieces:
            yield piece
            if worker.closed:
                raise InterruptedError("nobody waits for the rest")
    finally:
        if isinstance(pieces, Generator):
            pieces.close()


def _check_letters(number: int, row: Mapping[str, Any], encoding: str) -> None:
    """Raise `InvalidRequestError` if the encoding lacks a character of the row; row 0 is the header."""
    for column, value in row.items():
        if column.startswith("_lume_"):
            continue
        try:
            str(value).encode(encoding)
        except UnicodeEncodeError as error:
            letter = error.object[error.start : error.start + 1]
        else:
            continue
        raise InvalidRequestError(
            f"row {number:,}, column {column!r:.60}: {letter!r} is not in {encoding}, which the flow version reads; "
            f"{_UNSENT}"
        )


def _begun(first: Any, name: str) -> bytes:
    """Check and return the first bytes. Raises `InvalidRequestError`."""
    if first is _NOTHING:
        raise InvalidRequestError(f"{name} is empty; {_UNSENT}")
    return _bytes(first, name)


def _write_bytes(first: bytes, pieces: Iterator[Any], folder: Path, name: str) -> Path:
    path = folder / "data"
    with path.open("wb") as file:
        file.write(first)
        for piece in pieces:
            file.write(_bytes(piece, name))
    return path


async def _gathered(
    data: AsyncIterable[Any],
    rows_as: Callable[[], Awaitable[RowFormat]],
    folder: Path,
    name: str,
    worker: JobThread,
) -> Path:
    """Write an asynchronous iterable, with its rows in memory; a generator is closed at the end."""
    path = folder / "data"
    found = aiter(data)
    try:
        first = await anext(found, _NOTHING)
        if isinstance(first, Mapping):
            rows = [first, *[row async for row in found]]
            return await worker.run(_write_rows, rows, await rows_as(), folder)
        block = bytearray(_begun(first, name))
        with await to_thread.run_sync(path.open, "wb") as file:
            async for piece in found:
                block += _bytes(piece, name)
                if len(block) >= _BLOCK:
                    await to_thread.run_sync(file.write, bytes(block))
                    block.clear()
            await to_thread.run_sync(file.write, bytes(block))
        return path
    finally:
        if isinstance(found, AsyncGenerator):
            await found.aclose()


def _write_rows(rows: Any, form: RowFormat, folder: Path) -> Path:
    if _library_of(rows) == "pandas":
        rows = _with_index(rows)
    if _is_table(rows):
        _columns(rows)  # checks them, whatever the format
    suffix = form.suffix or (".parquet" if _is_table(rows) else ".ndjson")
    path = folder / f"data{suffix}"
    with path.open("wb") as file:
        form.write(rows, file)
    return path


def _with_index(frame: Any) -> Any:
    """Return a table with its index as columns; without a name it must count rows. Raises `InvalidRequestError`."""
    if None not in frame.index.names:
        return frame.reset_index(allow_duplicates=True)
    if len(frame) and frame.index.inferred_type != "integer":
        raise InvalidRequestError(
            "the index of the table has no name: name it with rename_axis() to send it as a column, or leave it out "
            f"with reset_index(drop=True); {_UNSENT}"
        )
    return frame


def _lines(rows: Any, file: BinaryIO) -> None:
    file.writelines(line.encode() for line in json_lines(_dicts(rows)))


def _array(rows: Any, file: BinaryIO) -> None:
    file.writelines(line.encode() for line in json_array(_dicts(rows)))


def _parquet(rows: Any, file: BinaryIO) -> None:
    pyarrow, parquet = frames.library("pyarrow"), frames.library("pyarrow.parquet")
    kind = _library_of(rows)
    try:
        if kind == "pandas":
            rows = pyarrow.Table.from_pandas(rows, preserve_index=False)
        elif kind == "polars":
            rows = rows.to_arrow()
        elif kind is None:
            named = (
                dict(zip(names_of(row, f"row {number:,}"), row.values(), strict=True))
                for number, row in enumerate(_dicts(rows), 1)
            )
            rows = frames.to_arrow(pyarrow, list(named))
        parquet.write_table(rows, file)
        return
    except pyarrow.ArrowException as error:
        reason = "; ".join(map(str, error.args))
    raise InvalidRequestError(f"the rows can't be written as Parquet: {reason}; {_UNSENT}")


_FORMATS = {
    "ndjson": RowFormat(".ndjson", _lines),
    "json": RowFormat(".json", _array),
    "parquet": RowFormat(".parquet", _parquet),
}


def _dicts(rows: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a table or an iterable. Raises `InvalidRequestError`."""
    kind = _library_of(rows)
    if kind == "pandas":
        whole = rows.convert_dtypes()  # whole numbers beside missing ones are floats in pandas
        for name in whole.columns:
            # A float that has become an integer has lost the sign of a zero.
            if whole.dtypes[name].kind == "i" and rows.dtypes[name].kind in "fO" and (whole[name] == 0).any():
                signed = [str(value) == "-0.0" for value in rows[name]]
                whole[name] = whole[name].astype(object).mask(signed, -0.0)
        rows = whole.astype(object).where(whole.notna(), None).to_dict("records")
    elif kind == "polars":
        rows = rows.iter_rows(named=True)
    elif kind == "pyarrow":
        rows = (row for batch in rows.to_batches() for row in batch.to_pylist())
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise InvalidRequestError(
                f"row {number:,} must be a dict like those before, not {type(row).__name__}; {_UNSENT}"
            )
        yield row


def _columns(table: Any) -> list[Any]:
    """Return the names of its columns. Raises `InvalidRequestError` for the same text twice: one would be lost."""
    names = list(table.column_names if _library_of(table) == "pyarrow" else table.columns)
    twice = [name for name, times in Counter(map(str, names)).items() if times > 1]
    if twice:
        raise InvalidRequestError(f"several columns are named {twice[0]!r:.60}; {_UNSENT}")
    return names


def _library_of(data: Any) -> str | None:
    """Return the library of a table; None for anything else."""
    top = type(data).__module__.partition(".")[0]
    return top if top in _TABLES and type(data).__name__ in ("DataFrame", "Table") else None


def _is_table(data: Any) -> bool:
    return _library_of(data) is not None


def _blocks(file: Any, name: str) -> Iterator[bytes]:
    """Yield the rest of a binary file. Raises `InvalidRequestError` if nothing is left of a non-empty file."""
    block = _bytes(file.read(_BLOCK), name)
    if not block:
        position = 0
        with suppress(AttributeError, OSError, TypeError):  # it may have none, such as a pipe
            position = int(file.tell())
        if position > 0:
            raise InvalidRequestError(
                f"{name} is at its end: call seek(0) to send it from its beginning; {_UNSENT}"
            )
    yield block
    while block := _bytes(file.read(_BLOCK), name):
        yield block


async def _read_later(file: Any) -> AsyncGenerator[bytes, None]:
    """Yield the rest of an asynchronous file, such as the `UploadFile` of Starlette."""
    while block := await file.read(_BLOCK):
        yield block


def _bytes(piece: Any, name: str) -> bytes:
    if isinstance(piece, bytes | bytearray | memoryview):
        return bytes(piece)
    hint = ": open the file in binary mode" if isinstance(piece, str) else ""
    raise InvalidRequestError(
        f"{name} must consist of bytes or of rows, not {type(piece).__name__}{hint}; {_UNSENT}"
    )

"""Reading a sample file, CSV, NDJSON, JSON, Parquet or Excel: its delimiter, its columns, their types."""

import codecs
import csv
import gzip
import io
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Literal, cast

import click
from attrs import field, frozen

from lume_async import ConfigurationError
from lume_cli._work.flow.flow_infer import SampleColumn, delimiter, infer
from lume_cli._work.flow.sample_doubts import doubts
from lume_cli._work.flow.sample_text import json_format, lines, read_objects
from lume_local._shared import magic

_ROWS = 10_000
"""Rows to read."""
_LINES = 200
"""Lines from which the delimiter is guessed."""
_BLOCKS, _BLOCK = 64, 1024 * 1024
"""How much of a file is read to check its encoding."""


@frozen
class Sample:
    """The contents of a sample."""

    columns: list[SampleColumn]
    rows: int
    delim: str = ""
    """Of CSV."""
    kind: str = "csv"
    """Its format, as flows name it."""
    encoding: str = "utf-8"
    """Of CSV."""
    doubts: list[str] = field(factory=list)
    """What to check in the sample, which may not be what it seems."""


def read_sample(path: Path, encoding: str, delim: str | None = None) -> Sample:
    """Read the sample; the delimiter of a CSV file is guessed unless given.

    Raises:
        click.UsageError: it is neither a CSV file with a header nor one of the other formats.
    """
    if (kind := _kind(path)) is not None:
        return _read_with_engine(path, kind)
    _refuse_binary(path)
    try:
        with _open_bytes(path) as packed:
            objects = json_format(packed)
        if objects is not None:
            return _read_objects(path, objects)
        encoding = _marked_encoding(path) if encoding == "utf-8" else encoding
        with _open_text(path, "utf-8-sig" if encoding == "utf-8" else encoding) as file:
            if delim is None:
                delim = delimiter(list(islice(lines(file, str(path)), _LINES)))
                file.seek(0)
            rows = list(islice(csv.reader(lines(file, str(path)), delimiter=delim), _ROWS + 1))
    except LookupError:
        raise click.UsageError(f"unknown encoding {encoding!r}: try utf-8 or cp1252") from None
    except UnicodeError:
        raise click.UsageError(f"{path} is not valid {encoding}: {_other_encoding(path)}") from None
    except (OSError, EOFError) as error:
        raise click.UsageError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None
    except csv.Error as error:
        raise click.UsageError(f"{path} is not a valid CSV file: {error}") from None
    if len(rows) < 2:
        raise click.UsageError(f"{path} is too short: it needs a header and at least one row")
    names = [name.strip() for name in rows[0]]  # as the engine reads them
    return _sample(path, names, rows[1:], delim=delim, encoding=encoding)


def _sample(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], **more: str) -> Sample:
    """Leaves out the columns that a rejects file has in addition to those of its source: a flow does not see them."""
    asked = doubts(names, rows, more.get("delim", ""), more.get("encoding", ""))
    names, rows = _within_header(names, rows)
    own = [n for n, name in enumerate(names) if name.lower().startswith("_lume_")]
    if len(own) == len(names):
        raise click.UsageError(f"{path} has no columns except those of rejects: {', '.join(names)}")
    columns = infer(_header(path, names), rows)
    return Sample([one for n, one in enumerate(columns) if n not in own], len(rows), doubts=asked, **more)


def _within_header(
    names: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Drop empty columns after the last name, which a coloured cell or a trailing delimiter causes."""
    width = len(names)
    while width and not names[width - 1] and 2 * sum(any(row[width - 1 :]) for row in rows) <= len(rows):
        width -= 1
    return names[:width], [row if any(row[width:]) else row[:width] for row in rows]


def _marked_encoding(path: Path) -> str:
    """The encoding that a byte order mark names; UTF-8 without one."""
    with _open_bytes(path) as file:
        start = file.read(4)
    return next((encoding for mark, encoding in _MARKS if start.startswith(mark)), "utf-8")


def _other_encoding(path: Path) -> str:
    """Advice for a file that is not in the requested encoding: Excel in the West writes cp1252."""
    try:
        with _open_text(path, "cp1252") as file:
            for _ in range(_BLOCKS):
                file.read(_BLOCK)
    except UnicodeError:
        return "pass the encoding that it was saved in with --encoding; it is not cp1252, but may be cp850 or cp1250"
    return "it may be cp1252, as Excel and older programs write: pass --encoding cp1252"


def _refuse_binary(path: Path) -> None:
    try:
        with _open_bytes(path) as file:
            found = magic.kind_of(file.read(magic.LENGTH))
    except (OSError, EOFError):
        return  # reading it reports why
    if found is not None:
        raise click.UsageError(
            f"{path} is {found}, not CSV, NDJSON, JSON, Parquet or Excel (.xlsx): convert it first"
        )


def _header(path: Path, header: Sequence[str]) -> Sequence[str]:
    seen: set[str] = set()
    for number, name in enumerate(header, 1):
        if not name.strip():
            raise click.UsageError(
                f"{path}: column {number} of the header has no name: name it or, if the first line is a title, "
                "delete the lines above the header"
            )
        if name.lower() in seen:
            raise click.UsageError(f"{path}: the header names {name!r} twice")
        seen.add(name.lower())
    return header


_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_KINDS: dict[str | None, Literal["parquet", "excel"]] = {magic.PARQUET: "parquet", magic.ZIP: "excel"}


def _kind(path: Path) -> Literal["parquet", "excel"] | None:
    """The format of a file that only the engine can read."""
    with path.open("rb") as file:
        return _KINDS.get(magic.kind_of(file.read(magic.LENGTH)))


def _read_with_engine(path: Path, kind: Literal["parquet", "excel"]) -> Sample:
    from lume_local import sample_rows

    try:
        names, *rows = sample_rows(path, kind, _ROWS) or [[]]
    except (ConfigurationError, ModuleNotFoundError) as error:
        raise click.UsageError(str(error)) from None
    if not any(names):
        raise click.UsageError(f"{path} has no header: its first row must name the columns")
    width = max(map(len, [names, *rows]))
    header, *texts = [
        [value or "" for value in [*row, *[None] * (width - len(row))]] for row in [names, *rows]
    ]
    return _sample(path, header, texts, kind=kind)


def _open_text(path: Path, encoding: str) -> IO[str]:
    """The file as text, decompressed if necessary."""
    return io.TextIOWrapper(_open_bytes(path), encoding=encoding, newline="")


def _open_bytes(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = magic.kind_of(file.read(magic.LENGTH)) == magic.GZIP
    return cast("IO[bytes]", gzip.open(path)) if packed else path.open("rb")


def _read_objects(path: Path, kind: Literal["json", "ndjson"]) -> Sample:
    with _open_bytes(path) as file:
        found = read_objects(file, kind, str(path), _ROWS)
    names = list(dict.fromkeys(name for row in found for name in row))
    if not names:
        raise click.UsageError(f"{path} has no object with a member: a sample needs at least one")
    return _sample(path, names, [[_text(row.get(name)) for name in names] for row in found], kind=kind)


def _text(value: object) -> str:
    """The value as a flow's expressions see it on the server."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

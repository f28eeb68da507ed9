"""Reading a sample file, CSV or NDJSON: its delimiter, its columns, their types."""

import csv
import json
from itertools import islice
from pathlib import Path

import click
from attrs import frozen

from lume_cli._work.flow_infer import Column, delimiter, infer

_ROWS = 10_000
"""Rows to read."""


@frozen
class Sample:
    """The contents of a sample."""

    columns: list[Column]
    rows: int
    delim: str
    """Empty for NDJSON."""


def read_sample(path: Path, encoding: str) -> Sample:
    """Read the sample.

    Raises:
        click.UsageError: it is neither a CSV file with a header nor NDJSON.
    """
    _refuse_what_no_server_reads(path)
    if _is_ndjson(path):
        return _read_ndjson(path)
    try:
        with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as file:
            first = list(islice(file, 20))
            delim = delimiter(first)
            file.seek(0)
            rows = list(islice(csv.reader(file, delimiter=delim), _ROWS + 1))
    except LookupError:
        raise click.UsageError(f"unknown encoding {encoding!r}: try utf-8 or latin-1") from None
    except UnicodeError:
        raise click.UsageError(
            f"{path} is not valid {encoding}: pass --encoding, for example latin-1"
        ) from None
    except OSError as error:
        raise click.UsageError(f"{path} can't be read: {error.strerror}") from None
    except csv.Error as error:
        raise click.UsageError(f"{path} is not a valid CSV file: {error}") from None
    if len(rows) < 2:
        raise click.UsageError(f"{path} is too short: it needs a header and at least one row")
    return Sample(infer(_header(path, rows[0]), rows[1:]), len(rows) - 1, delim)


def _header(path: Path, header: list[str]) -> list[str]:
    seen: set[str] = set()
    for number, name in enumerate(header, 1):
        if not name.strip():
            raise click.UsageError(f"{path}: column {number} of the header has no name")
        if name.lower() in seen:
            raise click.UsageError(f"{path}: the header names {name!r} twice")
        seen.add(name.lower())
    return header


def _refuse_what_no_server_reads(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(4)
    for magic, what, remedy in _UNREADABLE:
        if head.startswith(magic):
            raise click.UsageError(f"{path} is {what}, which the server does not read: {remedy}")


_UNREADABLE = (
    (b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip"),
    (b"PAR1", "a Parquet file", "export it as CSV or NDJSON"),
    (b"PK\x03\x04", "an Excel or ZIP file", "export it as CSV"),
)


def _is_ndjson(path: Path) -> bool:
    with path.open("rb") as file:
        return any(
            line.lstrip().startswith(b"{") for line in islice((line for line in file if line.strip()), 1)
        )


def _read_ndjson(path: Path) -> Sample:
    found: list[dict[str, object]] = []
    with path.open("rb") as file:
        for number, line in enumerate(islice(file, _ROWS), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise click.UsageError(f"{path}:{number} is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise click.UsageError(f"{path}:{number} is not an object: NDJSON has one on each line")
            found.append(row)
    names = _header(path, list(dict.fromkeys(name for row in found for name in row)))
    rows = [[_text(row.get(name)) for name in names] for row in found]
    return Sample(infer(names, rows), len(rows), "")


def _text(value: object) -> str:
    """The value as the server shows it to the expressions of a flow."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

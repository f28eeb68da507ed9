"""Reading a sample CSV file: its delimiter, its header, its column types."""

import csv
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


def read_sample(path: Path, encoding: str) -> Sample:
    """Read the sample.

    Raises:
        click.UsageError: it is not a CSV file with a header.
    """
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

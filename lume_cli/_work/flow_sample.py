"""Looking at a sample CSV file: its delimiter, its header, the kinds of its columns."""

import csv
from itertools import islice
from pathlib import Path

import click
from attrs import frozen

from lume_cli._work.flow_infer import Column, delimiter, infer

_ROWS = 10_000
"""Rows that are looked at."""


@frozen
class Sample:
    """What a sample shows."""

    columns: list[Column]
    rows: int
    delim: str


def look_at(path: Path, encoding: str) -> Sample:
    """What the file shows.

    Raises:
        click.UsageError: it is no CSV file with a header.
    """
    try:
        with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as file:
            first = list(islice(file, 20))
            delim = delimiter(first)
            file.seek(0)
            rows = list(islice(csv.reader(file, delimiter=delim), _ROWS + 1))
    except LookupError:
        raise click.UsageError(f"{encoding!r} is not an encoding: try utf-8 or latin-1") from None
    except UnicodeError:
        raise click.UsageError(f"{path} is not {encoding}: pass --encoding, such as latin-1") from None
    except OSError as error:
        raise click.UsageError(f"{path} can't be read: {error.strerror}") from None
    except csv.Error as error:
        raise click.UsageError(f"{path} is no CSV file: {error}") from None
    if len(rows) < 2:
        raise click.UsageError(f"{path} is too short: a header and at least one row are needed")
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

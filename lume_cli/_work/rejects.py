"""The rejected rows of a run, read from the file that it wrote, whatever its dialect. The work of `rejects`."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from lume_async import LumeRun
from lume_cli._output.short_ids import short

_FIRST = "_lume_row"
_LONGEST_FIELD = 64 * 1024 * 1024
_KINDS = (".csv", ".ndjson")


@frozen
class RejectsFile:
    """A file of rejected rows.

    Attributes:
        path: where it is.
        delim: what separates its columns; empty for NDJSON.
        quote: its quote character.
        encoding: its encoding. What is neither UTF-8 nor UTF-16 is read byte by byte, and written so again.
    """

    path: Path
    delim: str
    quote: str
    encoding: str

    def rows(self, reason: str | None = None, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """The rows; only those with a reason that contains `reason`, and so many at the most."""
        with self.path.open(encoding=self.encoding, newline="") as file:
            rows = csv.DictReader(file, **self._dialect()) if self.delim else map(json.loads, file)
            wanted = (row for row in rows if reason is None or reason.lower() in _reasons(row).lower())
            yield from islice(wanted, limit)

    def write_csv(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write rows to stdout as they are in the file, so that they can be mended and submitted."""
        out = open(sys.stdout.fileno(), "w", encoding=self.encoding, newline="", closefd=False)  # noqa: SIM115
        with out:
            writer = None
            for row in rows:
                if writer is None:
                    writer = csv.DictWriter(out, list(row), lineterminator="\n", **self._dialect())
                    writer.writeheader()
                writer.writerow(row)

    def _dialect(self) -> dict[str, Any]:
        return {"delimiter": self.delim, "quotechar": self.quote}


def rejects_file(run: LumeRun) -> RejectsFile | None:
    """The rejects of a run; None if it has rejected nothing.

    Raises:
        click.ClickException: the file is not on this machine, or can't be read here.
    """
    location = run.rejects_location
    if location is None:
        return None
    path = Path(location.removeprefix("file://"))
    if path.suffix not in _KINDS:
        raise click.ClickException(
            f"the rejects of run {short(run.id)} are neither CSV nor NDJSON: {location}"
        )
    try:
        with path.open("rb") as file:
            head = file.readline(_LONGEST_FIELD)
    except OSError as error:
        why = error.strerror or str(error)
        raise click.ClickException(
            f"the rejects are at {location}, which can't be read here: {why}"
        ) from None
    csv.field_size_limit(_LONGEST_FIELD)
    encoding = _encoding(path, head)
    if path.suffix == ".ndjson":
        return RejectsFile(path, "", "", encoding)
    header = head.decode(encoding, "replace").lstrip("\ufeff")
    start = header.find(_FIRST)
    if start not in (0, 1) or len(header) <= start + len(_FIRST) + start:
        raise click.ClickException(f"{location} does not begin with {_FIRST}: it is not a file of rejects")
    delim = header[start + len(_FIRST) + start]
    return RejectsFile(path, delim, header[0] if start else '"', encoding)


def _reasons(row: dict[str, Any]) -> str:
    reasons = row.get("_lume_reasons") or ""
    return "; ".join(map(str, reasons)) if isinstance(reasons, list) else str(reasons)


def _encoding(path: Path, head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    with path.open("rb") as file:
        try:
            for line in file:
                line.decode("utf-8")
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8"

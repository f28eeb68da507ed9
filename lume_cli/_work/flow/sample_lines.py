"""Lines of a sample, none longer than the engine takes: a file without line ends is refused, not read whole."""

from collections.abc import Iterator
from typing import IO, AnyStr

import click

LONGEST = 2_000_000
"""What `source.max_line_bytes` is where a flow does not set it."""


def lines(file: IO[AnyStr], name: str) -> Iterator[AnyStr]:
    """The lines from here on. Raises `click.UsageError` at the first that is too long."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise click.UsageError(
                f"line {number:,} of {name} is longer than {LONGEST:,} {_units(line)}, the most that a flow reads "
                f"by default (source.max_line_bytes): {_advice(line)}"
            )
        yield line


def _units(line: AnyStr) -> str:
    return "characters" if isinstance(line, str) else "bytes"


def _advice(line: AnyStr) -> str:
    if line[:1] in ("\0", b"\0"):
        return "it begins with NUL, so it is not a text file, or was not written completely"
    return "check that it is a text file with line ends"

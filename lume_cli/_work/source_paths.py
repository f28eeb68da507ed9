"""Source paths, one a line, from a file or from stdin; blank lines and lines that begin with # are skipped."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

import anyio
import click

from lume_async import InvalidRequestError, RunRequest

_CHUNK = 65536


class Paths:
    """The requests that a list of source paths stands for.

    Args:
        name: the file, or `-` for stdin.
        request: makes the request for a path.
    """

    def __init__(self, name: str, request: Callable[[str], RunRequest]) -> None:
        self._name = name
        self._request = request

    def count(self) -> int | None:
        """How many there are, after a look at each, so that a mistake is told before anything is sent.

        None for stdin, which is read as it comes.

        Raises:
            click.UsageError: a line is no source path, the file can't be read.
        """
        return None if self._name == "-" else sum(1 for _request in self._from_file())

    def requests(self) -> Iterator[RunRequest] | AsyncIterator[RunRequest]:
        """One request a line."""
        return self._from_stdin() if self._name == "-" else self._from_file()

    def _from_file(self) -> Iterator[RunRequest]:
        try:
            with open(self._name, "rb") as file:
                for number, line in enumerate(file, 1):
                    yield from self._of_line(number, line)
        except OSError as error:
            raise click.UsageError(f"{self._name} can't be read: {error.strerror or error}") from None

    async def _from_stdin(self) -> AsyncIterator[RunRequest]:
        number = 0
        async for line in _lines():
            number += 1
            for request in self._of_line(number, line):
                yield request

    def _of_line(self, number: int, line: bytes) -> Iterator[RunRequest]:
        place = f"{'stdin' if self._name == '-' else self._name}:{number}"
        try:
            path = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if path and not path.startswith("#"):
                yield self._request(path)
        except UnicodeDecodeError:
            raise click.UsageError(f"{place} is not UTF-8") from None
        except InvalidRequestError as error:
            raise click.UsageError(f"{place}: {error}") from None


async def _lines() -> AsyncIterator[bytes]:
    """The lines of stdin. The event loop waits for them where it can, so that Ctrl-C ends the wait."""
    try:
        number = sys.stdin.fileno()
    except OSError:  # no real file
        for text in sys.stdin:
            yield text.encode()
        return
    rest = b""
    while True:
        await _readable(number)
        chunk = os.read(number, _CHUNK)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
        if not chunk:
            if rest:
                yield rest
            return


async def _readable(number: int) -> None:
    """Until a read returns at once; a plain file always does (and can't be waited for)."""
    with suppress(PermissionError):
        await anyio.wait_readable(number)

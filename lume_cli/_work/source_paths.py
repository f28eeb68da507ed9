"""Source paths: from the command line, or from a file or stdin, one per line, skipping blank lines and # comments."""

import glob
import io
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import anyio
import click

from lume_async import InvalidRequestError, RunRequest
from lume_async._base.threads import run_in_thread

_CHUNK = 65536
_AGAIN = 0.05
"""Seconds between two reads of a stdin that does not block."""


class Named:
    """The run requests for source paths and patterns of the command line; see `Paths`.

    Args:
        given: the words of the command line.
        request: builds the request for a path.
    """

    def __init__(self, given: Sequence[str], request: Callable[[str], RunRequest]) -> None:
        self._requests: list[RunRequest] = []
        for path in dict.fromkeys(path for one in given for path in _matching(one)):
            try:
                self._requests.append(request(path))
            except InvalidRequestError as error:
                raise click.UsageError(f"{path}: {error}") from None

    def count(self) -> int:
        """Return the number of requests."""
        return len(self._requests)

    async def requests(self) -> AsyncIterator[RunRequest]:
        """Yield one request per path."""
        for request in self._requests:
            yield request


def _matching(given: str) -> list[str]:
    """Return the files that match a pattern, sorted; a path or a URL stands for itself.

    Raises:
        click.UsageError: no file matches.
    """
    if not glob.has_magic(given) or "://" in given or os.path.exists(given):
        return [given]
    found = sorted(path for path in glob.glob(given, recursive=True) if os.path.isfile(path))
    if not found:
        raise click.UsageError(f"no file matches {given!r}, seen from {os.getcwd()}: check the pattern")
    return [as_written(given, path) for path in found]


def as_written(pattern: str, path: str, separator: str = os.sep) -> str:
    r"""Return a path with the separators of its pattern: on Windows a glob writes `data\*.csv` for `data/*.csv`."""
    return path if separator in pattern else path.replace(separator, "/")


class Paths:
    """The run requests for a list of source paths."""

    def __init__(self, name: str, request: Callable[[str], RunRequest]) -> None:
        self._name = name
        self._request = request

    def count(self) -> int | None:
        """Check every line before anything is sent, and count the paths.

        None for stdin, which is read as it arrives.

        Raises:
            click.UsageError: a line is not a valid source path, or the file can't be read.
        """
        return None if self._name == "-" else sum(1 for _request in self._from_file())

    async def requests(self) -> AsyncIterator[RunRequest]:
        """Yield one request per line."""
        if self._name != "-":
            for request in self._from_file():
                yield request
            return
        number = 0
        async for line in _lines():
            number += 1
            for request in self._of_line(number, line):
                yield request

    def _from_file(self) -> Iterator[RunRequest]:
        try:
            with open(self._name, "rb") as file:
                for number, line in enumerate(file, 1):
                    yield from self._of_line(number, line)
        except OSError as error:
            raise click.UsageError(f"{self._name} can't be read: {error.strerror or error}") from None

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
    """Yield the lines of stdin, read in a thread, so that Ctrl-C interrupts the wait."""
    try:
        number = sys.stdin.fileno()
    except OSError:  # not a real file
        for text in sys.stdin:
            yield text.encode()
        return
    rest = b""
    raw = _raw(number)
    while True:
        chunk = await run_in_thread(raw.read, _CHUNK)
        if chunk is None:  # another program has made it non-blocking, and it has no data yet
            await anyio.sleep(_AGAIN)
            continue
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
        if not chunk:
            if rest:
                yield rest
            return


def _raw(number: int) -> io.RawIOBase:
    """Return the stream without a buffer. Unlike `os.read`, it is UTF-8 at a terminal of Windows."""
    return open(number, "rb", buffering=0, closefd=False)

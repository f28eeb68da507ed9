"""Prepares the standard streams, in whatever state the shell left them."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STDOUT = 1


def prepare() -> None:
    """Open closed streams (`>&-`), and make stdout escape characters that its encoding lacks.

    Otherwise the next opened file, such as a journal, would become stdin, stdout or stderr. A closed stdin reads as
    empty, notes for a closed stderr are dropped, and writing to a closed stdout remains an error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, so this one; inherited by the processes that a server starts.
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY if number == _STDOUT else os.O_RDWR), True)
    # Python sets a stream to None that was closed at start.
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(_STDOUT, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def secret_line(prompt: str) -> bytes:
    """Read the first line of stdin; at a terminal, after a prompt and without echo."""
    if sys.stdin.isatty():
        from getpass import getpass

        return os.fsencode(getpass(prompt, stream=sys.stderr))
    return sys.stdin.buffer.readline().rstrip(b"\r\n")


def write_utf8() -> None:
    """Write UTF-8 into a file or to another command, whatever the terminal's encoding is."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")


@contextmanager
def broken_pipes() -> Iterator[None]:
    """Raise `BrokenPipeError` if the reader of a stream has ended, which Windows reports as a wrong argument."""
    try:
        yield
    except OSError as error:
        from lume_async._base.platform import IS_POSIX  # here: `lume --help` needs none of it

        if IS_POSIX or error.errno != errno.EINVAL:
            raise
        raise BrokenPipeError(errno.EPIPE, "the reader has ended") from None


def is_dumb() -> bool:
    """Return whether a terminal shows lines only; Windows terminals have no name."""
    from lume_async._base.platform import IS_POSIX

    return os.environ.get("TERM", "dumb" if IS_POSIX else "") in ("dumb", "unknown")


def drop_unwritten() -> None:
    """Discard output that can't be written, so that Python does not fail at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

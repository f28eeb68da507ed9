"""The standard streams as a command needs them, whatever the shell has made of them."""

import io
import os
import sys

_STDOUT = 1


def prepare() -> None:
    """Open what is closed (`>&-`), and make stdout write what its encoding has no character for as an escape.

    Else the next file that is opened, a journal say, would be stdin, stdout or stderr. What reads a closed stdin
    finds its end, notes for a closed stderr are dropped, and writing to a closed stdout is an error as before.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, so this one; for the processes that a server begins, too.
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY if number == _STDOUT else os.O_RDWR), True)
    # Python has None for a stream that was closed when it began.
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(_STDOUT, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def write_utf8() -> None:
    """What goes into a file, or to another command, is UTF-8, whatever the encoding of terminals."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")


def drop_unwritten() -> None:
    """Let go of what a stream does not take, so that Python does not fail on it when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

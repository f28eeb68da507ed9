"""Warns the caller of a batch once if the server is silent for a minute, as the batch would wait forever."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lume_async._http.sender import Sender
from lume_async.errors import ApiError

LONG = 60.0
"""Seconds without any answer after which the caller is warned."""


@contextmanager
def warned_of_silence(sender: Sender, timeout: float | None) -> Iterator[None]:
    """Warn once within the block; `timeout` is the batch's, in seconds."""
    has_warned = False

    def listen(seconds: float, error: ApiError) -> None:
        nonlocal has_warned
        if seconds >= LONG and not has_warned:
            has_warned = True
            warnings.warn(_message(sender, seconds, error, timeout), RuntimeWarning, stacklevel=2)

    sender.on_silence.add(listen)
    try:
        yield
    finally:
        sender.on_silence.discard(listen)


def _message(sender: Sender, seconds: float, error: ApiError, timeout: float | None) -> str:
    until = "without end: pass timeout=, " if timeout is None else f"up to its timeout of {timeout:g} s: "
    return (
        f"{sender.settings.base_url} has not answered for {seconds:.0f} s ({error}), and run_many keeps trying "
        f"{until}leave the iteration or press Ctrl-C to end it; runs that were submitted keep running on the server"
    )

"""Undoing a step only if the following ones fail, such as closing a connection or rolling back a transaction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_error(undo: Callable[[], object]) -> Iterator[None]:
    """Call `undo` if the block fails or is interrupted, then raise its error."""
    try:
        yield
    except BaseException:
        undo()
        raise

"""What is undone only if the rest fails: a connection that is not handed over, a transaction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_error(undo: Callable[[], object]) -> Iterator[None]:
    """Call `undo` if the block fails or is interrupted; its error is raised."""
    try:
        yield
    except BaseException:
        undo()
        raise

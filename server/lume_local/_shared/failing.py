"""Failures: obstacles to work here or in another process, missing extras, and undoing a step if a later one fails."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from lume_async._base import extras


class Obstacle(Exception):
    """An obstacle; the message names it and says what to do, without secrets.

    Attributes:
        may_pass: whether it may pass in a while: a place is unreachable, or locked.
        told: the message without anything that a source contains; empty if nobody has looked.
    """

    def __init__(self, message: str, *, may_pass: bool = False, told: str = "") -> None:
        super().__init__(message)
        self.may_pass, self.told = may_pass, told


@contextmanager
def on_error(undo: Callable[[], object]) -> Iterator[None]:
    """Call `undo` if the block fails or is interrupted, then raise its error."""
    try:
        yield
    except BaseException:
        undo()
        raise


require = partial(extras.require, name=extras.SERVER)
"""`require(module, extra, what)` of this distribution; see `lume_async._base.extras`."""

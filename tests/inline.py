"""A journal without its thread, so that each turn of the loop is the same moment in every run."""

from collections.abc import Callable
from concurrent.futures import Future


class Inline:
    """In place of the thread's executor: a call ends at once."""

    def __init__(self, *_arguments: object, **_options: object) -> None:
        pass

    def submit(self, work: Callable[[], object]) -> Future[object]:
        done: Future[object] = Future()
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)
        return done

    def shutdown(self, wait: bool) -> None:
        pass

"""A Ctrl-C at the moments at which Python handles a signal in the code of the facade: where a function begins, and
after a call of a C function.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType

TOOL = 4


@contextmanager
def interrupted_at(*moments: int) -> Iterator[Callable[[], int]]:
    """Raise `KeyboardInterrupt` at these moments of this thread; the value tells how many there were."""
    monitoring, thread, count = sys.monitoring, threading.get_ident(), 0

    def moment(code: CodeType) -> None:
        nonlocal count
        if threading.get_ident() != thread or "/lume_sync/" not in code.co_filename.replace("\\", "/"):
            return
        count += 1
        if count in moments:
            raise KeyboardInterrupt

    events = monitoring.events
    monitoring.use_tool_id(TOOL, "interrupts")
    try:
        monitoring.register_callback(TOOL, events.PY_START, lambda code, _at: moment(code))
        monitoring.register_callback(TOOL, events.C_RETURN, lambda code, *_: moment(code))
        monitoring.register_callback(TOOL, events.CALL, lambda *_: None)
        monitoring.set_events(TOOL, events.PY_START | events.CALL)
        yield lambda: count
    finally:
        monitoring.set_events(TOOL, 0)
        monitoring.free_tool_id(TOOL)

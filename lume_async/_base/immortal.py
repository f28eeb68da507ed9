"""Objects that must never be finalized."""

import ctypes


def immortal(thing: object) -> None:
    """Keep it, and all that it refers to, until the process ends: one reference that nobody gives back.

    What a forked child inherits (connections, a loop's selector) is the parent's, too: finalizing it would
    unregister or shut down the parent's. A list would not do, for at exit lists are emptied as well.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))

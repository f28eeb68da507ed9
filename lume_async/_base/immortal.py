"""Objects that must never be finalized."""

import ctypes


def immortal(thing: object) -> None:
    """Keep the object, and all that it refers to, until the process ends, by leaking one reference.

    A forked child shares connections and a loop's selector with its parent: finalizing them would shut down or
    unregister the parent's. A list can't hold them, since lists are emptied at exit.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))

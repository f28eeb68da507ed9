"""An embedded Lume server that really runs flows: on DuckDB, in worker processes, with its state in SQLite.

`async with serve() as server:` runs it in your event loop, `with serve_in_thread() as server:` beside
synchronous code; `await check_flow(path)` judges a flow file as the server would. All import what they need on
first use, so that `import lume_local` stays cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lume_local._check import CheckedFlow, check_flow
    from lume_local._flow.fields import FlowError
    from lume_local._serve import Server, ThreadedServer, serve, serve_in_thread

__all__ = [
    "CheckedFlow",
    "FlowError",
    "Server",
    "ThreadedServer",
    "check_flow",
    "serve",
    "serve_in_thread",
]

_FILES = {"CheckedFlow": "_check", "check_flow": "_check", "FlowError": "_flow.fields"}


def __getattr__(name: str) -> Any:
    if name in __all__:
        value = getattr(import_module(f"lume_local.{_FILES.get(name, '_serve')}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'lume_local' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""An embedded Lume server that really runs flows: on DuckDB, in worker processes, with its state in SQLite.

`async with serve() as server:` runs it in your event loop, `with serve_in_thread() as server:` beside
synchronous code. Both import what they need on first use, so that `import lume_local` stays cheap.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lume_local._serve import Server, ThreadedServer, serve, serve_in_thread

__all__ = ["Server", "ThreadedServer", "serve", "serve_in_thread"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from lume_local import _serve

        value = getattr(_serve, name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'lume_local' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""A display on stderr while a command waits: redrawn in place at a terminal, absent anywhere else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from lume_cli._output.stderr import Say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lume_async import OnProgress

_PER_SECOND = 8
_MEGABYTE = 1_000_000


class Standing(NamedTuple):
    """The progress of the work: a text, the amount done, and the total, which is None while unknown."""

    text: str
    done: float = 0.0
    total: float | None = None


@contextmanager
def live(say: Say, render: "Callable[[], RenderableType]") -> Iterator[None]:
    """Show the result of `render` while the block runs; nothing of it stays on the screen."""
    if not say.is_lively:
        yield
        return
    from rich.live import Live

    with Live(
        console=say.console,
        get_renderable=render,
        transient=True,
        refresh_per_second=_PER_SECOND,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        yield


@contextmanager
def progress(say: Say, standing: Callable[[], Standing], *, eta: bool = False) -> Iterator[None]:
    """Show one line while the block runs: spinner, clock, bar and text, cut off at the edge of the terminal."""
    if not say.is_lively:
        yield
        return
    from lume_cli._output.progress_line import ProgressLine

    with ProgressLine(say.console, standing, per_second=_PER_SECOND, eta=eta):
        yield


@contextmanager
def sending(say: Say, name: str) -> "Iterator[OnProgress]":
    """Show one line while a file is sent; yield the function that reports its bytes."""
    standing = Standing(f"sending {name}")

    def report(sent: int, total: int | None) -> None:
        nonlocal standing
        of = "" if total is None else f" of {total / _MEGABYTE:,.1f}"
        standing = Standing(f"sending {name}: {sent / _MEGABYTE:,.1f}{of} MB", sent, total)

    with progress(say, lambda: standing, eta=True):
        yield report

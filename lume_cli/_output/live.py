"""A display on stderr while a command waits: drawn over and over at a terminal, absent anywhere else."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lume_cli._output.stderr import Say

if TYPE_CHECKING:
    from rich.console import RenderableType

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PLAIN_FRAMES = "|/-\\"


@contextmanager
def live(say: Say, render: "Callable[[], RenderableType]") -> Iterator[None]:
    """Show what `render` gives, eight times a second, as long as the block lasts; it leaves nothing behind."""
    if not say.is_lively:
        yield
        return
    from rich.live import Live

    with Live(
        console=say.console,
        get_renderable=render,
        transient=True,
        refresh_per_second=8,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        yield


@contextmanager
def live_line(say: Say, text: Callable[[], str]) -> Iterator[None]:
    """One line with a spinner and a clock, cut off where the terminal ends: begin `text` with what matters."""
    began = time.monotonic()

    def render() -> "RenderableType":
        from rich.text import Text

        from lume_cli._output.text import visible

        passed = time.monotonic() - began
        frames = FRAMES if say.console.encoding.startswith("utf") else PLAIN_FRAMES
        frame = frames[int(passed * 8) % len(frames)]
        return Text(f"{frame} {clock(passed)}  {visible(text())}", no_wrap=True, overflow="ellipsis")

    with live(say, render):
        yield


def clock(seconds: float) -> str:
    """`0:07`, `12:03`, `1:02:03`."""
    whole = max(int(seconds), 0)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

"""Rich, plainly: no markup in other people's texts, no colours that nobody asked for."""

from typing import TextIO

from rich.console import Console
from rich.text import Text

from lume_cli._output.text import visible

_STYLES = {
    "SUCCEEDED": "green",
    "PARTIAL_FAILED": "yellow",
    "FAILED": "red",
    "CRASHED": "bold red",
    "CANCELLED": "magenta",
}


def console(stream: TextIO) -> Console:
    """A terminal where the stream is one; NO_COLOR and TERM are heeded by rich itself."""
    return Console(
        file=stream,
        force_terminal=stream.isatty(),
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=False,
    )


def cell(text: str) -> Text:
    """A text that shows as it is; a status has its colour."""
    safe = visible(text)
    return Text(safe, style=_STYLES.get(safe.partition(" ")[0], ""))

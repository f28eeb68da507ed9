"""Rich consoles: markup in foreign text is not interpreted, and NO_COLOR and TERM are honoured."""

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
    """Return a console for the stream; rich itself honours NO_COLOR and TERM."""
    return Console(
        file=stream,
        force_terminal=stream.isatty(),
        markup=False,
        highlight=False,
        emoji=False,
    )


def table_line(text: str, style: str = "") -> Text:
    """Return a line of a table, in which a status is coloured."""
    line = Text(text, style=style)
    for status, colour in _STYLES.items():
        line.highlight_regex(rf"(?<=\s\s){status}\b", colour)
    return line


def cell(text: str) -> Text:
    """Return the text as a table cell, verbatim; a status is coloured."""
    safe = visible(text)
    return Text(safe, style=_STYLES.get(safe.partition(" ")[0], ""))

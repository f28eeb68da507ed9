"""What goes to stdout: data in the requested format, and nothing else."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lume_cli._options import Format
from lume_cli._output.text import as_json, columns, visible


class Data:
    """Stdout of one command."""

    def __init__(self, output: Format) -> None:
        self.format = output

    def line(self, text: str) -> None:
        """Write one line, flushed: a reader at the other end of a pipe may be waiting for it."""
        print(text, flush=True)

    def text(self, text: str) -> None:
        """Write several lines for people."""
        for line in text.splitlines():
            self.line(visible(line))

    def document(self, value: Any) -> None:
        """Write a JSON value: indented with `json`, on one line with `ndjson`."""
        narrow = (sys.stdout.encoding or "").lower().replace("-", "") not in ("utf8", "utf8sig")
        self.line(as_json(value, indent=2 if self.format == "json" else None, ascii_only=narrow))

    def page(self, lines: Iterable[tuple[str, str]]) -> None:
        """Write (name, value) pairs, one per line."""
        for line in columns([(name, visible(value)) for name, value in lines]):
            self.line(line)

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Write a table, in colour at a terminal; nothing if there are no rows. Nothing is cut off: what does not fit
        is wrapped by the terminal, so that it can be copied whole.
        """
        cells = [tuple(map(visible, row)) for row in rows]
        if not cells:
            return
        lines = columns([tuple(headers), *cells])
        if not sys.stdout.isatty():
            for line in lines:
                self.line(line)
            return
        from lume_cli._output.console import console, table_line

        screen = console(sys.stdout)
        screen.print(table_line(lines[0], "bold"), soft_wrap=True)
        for line in lines[1:]:
            screen.print(table_line(line), soft_wrap=True)

    def many(
        self,
        items: Sequence[Any],
        headers: Sequence[str],
        rows: Callable[[Sequence[Any]], Iterable[Sequence[str]]],
        to_dict: Callable[[Any], Any],
    ) -> None:
        """Write a list of items in the requested format."""
        if self.format == "table":
            self.table(headers, rows(items))
        elif self.format == "json":
            self.document([to_dict(item) for item in items])
        else:
            for item in items:
                self.document(to_dict(item))

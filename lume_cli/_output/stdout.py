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
        """Write a table: at a terminal fitted to its width, else untruncated; nothing if there are no rows."""
        cells = [tuple(map(visible, row)) for row in rows]
        if not cells:
            return
        if not sys.stdout.isatty():
            for line in columns([tuple(headers), *cells]):
                self.line(line)
            return
        from rich.table import Table

        from lume_cli._output.console import cell, console

        table = Table(box=None, pad_edge=False, header_style="bold")
        screen = console(sys.stdout)
        # The first two columns, such as id and status, are whole where they leave room for the others.
        widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
        begin_is_whole = sum(widths[:2]) <= 0.6 * screen.width
        for number, header in enumerate(headers):
            table.add_column(header, overflow="fold", no_wrap=begin_is_whole and number < 2)
        for row in cells:
            table.add_row(*map(cell, row))
        screen.print(table)

    def many(
        self,
        items: Sequence[Any],
        headers: Sequence[str],
        row: Callable[[Any], Sequence[str]],
        to_dict: Callable[[Any], Any],
    ) -> None:
        """Write a list of items in the requested format."""
        if self.format == "table":
            self.table(headers, map(row, items))
        elif self.format == "json":
            self.document([to_dict(item) for item in items])
        else:
            for item in items:
                self.document(to_dict(item))

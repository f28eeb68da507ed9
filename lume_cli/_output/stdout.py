"""Output to stdout: data in the requested format, and nothing else."""

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lume_cli._options import Format
from lume_cli._output.errors import OutputError
from lume_cli._output.text import as_json, columns, visible, wrapped
from lume_cli._streams import broken_pipes


@contextmanager
def writing() -> Iterator[None]:
    """Raise `OutputError` if stdout can't be written, and `BrokenPipeError` if its reader has ended."""
    try:
        with broken_pipes():
            yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error) from None


class Data:
    def __init__(self, output: Format) -> None:
        self.format = output

    def line(self, text: str) -> None:
        """Write one line as it is; at a terminal, which it could drive, with control characters as escapes."""
        self._write(visible(text) if sys.stdout.isatty() else text)

    def _write(self, text: str) -> None:
        """Write it, flushed: a reader at the other end of a pipe may be waiting for it."""
        with writing():
            print(text, flush=True)

    def text(self, text: str) -> None:
        """Write several lines for people."""
        for line in text.splitlines():
            self.line(visible(line))

    def prose(self, text: str) -> None:
        """Write lines for people; a terminal gets them wrapped between words."""
        width = self.width
        for line in text.splitlines():
            for part in [line] if width is None or len(line) <= width else wrapped(line, width):
                self.line(visible(part))

    @property
    def width(self) -> int | None:
        """The terminal's width in characters; None if stdout is not a terminal."""
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else None

    def document(self, value: Any) -> None:
        """Write a JSON value: indented with `json`, on one line with `ndjson`."""
        narrow = (sys.stdout.encoding or "").lower().replace("-", "") not in ("utf8", "utf8sig")
        self._write(as_json(value, indent=2 if self.format == "json" else None, ascii_only=narrow))

    def one(self, text: str, value: Any) -> None:
        """Write one thing: its line for people, or its JSON value."""
        if self.format == "table":
            self.line(text)
        else:
            self.document(value)

    def page(self, lines: Iterable[tuple[str, str]]) -> None:
        """Write (name, value) pairs, one per line."""
        for line in columns([(visible(name), visible(value)) for name, value in lines]):
            self.line(line)

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Write a table, in colour at a terminal; nothing if there are no rows. Nothing is cut off: a last
        column that does not fit is put on a line of its own, so that it can be copied whole.
        """
        cells = [tuple(map(visible, row)) for row in rows]
        if not cells:
            return
        lines = columns([tuple(headers), *cells])
        width = self.width
        if width is None:
            for line in lines:
                self.line(line)
            return
        from lume_cli._output.rich_console import console, table_line

        screen = console(sys.stdout)
        for n, (line, row) in enumerate(zip(lines, [headers, *cells], strict=True)):
            # If it is too long and the rest fits, the last cell is on a second line.
            last = row[-1]
            rest = line.removesuffix(last).rstrip()
            for part in [rest, f"    {last}"] if len(line) > width >= len(rest) and last and rest else [line]:
                screen.print(table_line(part, "" if n else "bold"), soft_wrap=True)

    def many(
        self,
        items: Sequence[Any],
        headers: Sequence[str],
        rows: Callable[[Sequence[Any]], Iterable[Sequence[str]]],
        to_json: Callable[[Any], Any] = lambda item: item,
    ) -> None:
        """Write a list of items in the requested format."""
        if self.format == "table":
            self.table(headers, rows(items))
        else:
            self.values([to_json(item) for item in items])

    def values(self, values: Sequence[Any]) -> None:
        """Write JSON values: a list of them, or each on a line."""
        for value in [values] if self.format == "json" else values:
            self.document(value)

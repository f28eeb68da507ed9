"""Output to stderr: notes, warnings, errors. With the JSON formats only JSON is written there, so that a
script can parse both streams; at a terminal the progress displays are shown with every format.
"""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lume_async._base.elided import elided
from lume_cli._options import Format
from lume_cli._output import errors
from lume_cli._output.text import as_json, visible
from lume_cli._streams import is_dumb

if TYPE_CHECKING:
    from rich.console import Console


_LONGEST = 2000
"""The maximum length of a line: longer than for quoted data, so that a path or a command can be copied whole."""


class Say:
    def __init__(self, output: Format) -> None:
        self._as_json = output in ("json", "ndjson")
        self._console: Console | None = None
        self.is_terminal = sys.stderr.isatty()
        # A display on stderr and lines on stdout would write over each other on one screen.
        mixed = output == "ndjson" and sys.stdout.isatty()
        self.is_lively = self.is_terminal and not mixed and not is_dumb()

    @property
    def console(self) -> "Console":
        """The terminal on stderr, for displays."""
        if self._console is None:
            from lume_cli._output.rich_console import console

            self._console = console(sys.stderr)
        return self._console

    def note(self, text: str) -> None:
        """Write a note for people; with a JSON format only at a terminal."""
        if not self._as_json or self.is_terminal:
            self.text(text)

    def record(self, name: str, text: str, **values: Any) -> None:
        """Write text; with the JSON formats `{name: {...}}` instead."""
        if self._as_json:
            self._json({name: values})
        else:
            self.text(text)

    def warn(self, text: str) -> None:
        text = elided(text)
        if self._as_json:
            self._json({"warning": {"message": text}})
        else:
            self.text(f"warning: {text}")

    def error(self, error: BaseException, *, subject: str | None = None, because: str | None = None) -> None:
        """Report an error; `subject` names the one item of many that it concerns, `because` adds to its message."""
        added = f"; {because}" if because else ""
        if self._as_json:
            described = errors.to_dict(error)
            described["error"]["message"] += added
            if subject is not None:
                described["error"]["subject"] = subject
            self._json(described)
            return
        text = errors.in_options(str(error)) + added
        self.text(f"error: {subject}: {text}" if subject and subject not in text else f"error: {text}")
        if hint := errors.hint(error):
            self.text(f"  hint: {hint}")

    def problem(self, code: str, message: str, **extras: Any) -> None:
        """Report an error that is not an exception of the library."""
        message = elided(message)
        if self._as_json:
            described = {"code": code, "message": message, "request_id": None, "retryable": False}
            self._json({"error": described | extras})
        else:
            self.text(message)

    def _json(self, value: dict[str, Any]) -> None:
        self._print(as_json(value, ascii_only=True))

    def text(self, text: str) -> None:
        """Write text with every format."""
        self._print("\n".join(visible(elided(line, _LONGEST)) for line in text.splitlines()))

    def _print(self, text: str) -> None:
        with suppress(OSError):  # stderr is closed or its disk is full: that can't be reported anywhere
            if self._console is not None:
                # Through the display, if there is one, so that it is drawn below.
                self._console.print(text, soft_wrap=True)
            else:
                print(text, file=sys.stderr, flush=True)

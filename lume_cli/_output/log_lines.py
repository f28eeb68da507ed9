"""Formats of log records on stderr. Text quoted in a record can't drive the terminal, nor begin a new line."""

import logging
from datetime import UTC, datetime

from lume_cli._output.text import as_json, visible

_OWN = "lume_"
"""The prefix of the attributes that the server adds to its records."""


class TextLines(logging.Formatter):
    """A line for each record, and the lines of its traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return visible(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        return "\n".join(map(visible, super().formatException(ei).split("\n")))  # type: ignore[arg-type]


class JsonLines(logging.Formatter):
    """One JSON object per line, with the attributes that the server added to the record."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{
                name.removeprefix(_OWN): value
                for name, value in vars(record).items()
                if name.startswith(_OWN) and value is not None
            },
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return as_json(document, default=str)

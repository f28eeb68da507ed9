"""The log of `lume serve` on stderr: a line for each request, each end of a run, and each error."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

Format = Literal["text", "json"]
_OWN = "lume_"
"""The prefix of the attributes that the server adds to its records."""


class JsonLines(logging.Formatter):
    """One JSON object per line, with the attributes that the server added to the record."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
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
        return json.dumps(document, ensure_ascii=False, default=str)


def log_url(base_url: str) -> None:
    """Log the server's URL."""
    logging.getLogger("lume_local").info("serving at %s", base_url, extra={"lume_base_url": base_url})


def log_to_stderr(wanted: Format) -> None:
    """Print the server's log from now on."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if wanted == "json" else text)
    logger = logging.getLogger("lume_local")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False

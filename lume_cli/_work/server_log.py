"""The log of `lume serve` on stderr: a line for each request, each end of a run, and each error."""

import logging
import sys
from typing import Literal

from lume_cli._output.log_lines import JsonLines, TextLines

Format = Literal["text", "json"]


def log_url(base_url: str) -> None:
    """Log the server's URL."""
    logging.getLogger("lume_local").info("serving at %s", base_url, extra={"lume_base_url": base_url})


def log_to_stderr(wanted: Format | None) -> None:
    """Print the server's log from now on; without a format only its warnings and errors, for people."""
    handler = logging.StreamHandler(sys.stderr)
    text = "%(message)s" if wanted is None else "%(asctime)s %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(JsonLines() if wanted == "json" else TextLines(text))
    logger = logging.getLogger("lume_local")
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if wanted is None else logging.INFO)
    logger.propagate = False

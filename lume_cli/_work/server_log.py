"""The log of `lume serve` on stderr: a line for each request, each end of a run, and each error."""

import logging
import sys
from typing import Literal

from lume_cli._output.log_lines import JsonLines, TextLines

Format = Literal["text", "json"]


def log_url(base_url: str) -> None:
    """Log the server's URL."""
    logging.getLogger("lume_local").info("serving at %s", base_url, extra={"lume_base_url": base_url})


def log_to_stderr(wanted: Format) -> None:
    """Print the server's log from now on."""
    handler = logging.StreamHandler(sys.stderr)
    text = TextLines("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if wanted == "json" else text)
    logger = logging.getLogger("lume_local")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False

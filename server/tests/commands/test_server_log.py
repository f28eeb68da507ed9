"""The log of `lume serve`: a message is one line, whatever it quotes."""

import json
import logging
from collections.abc import Iterator

import pytest

from lume_local.commands.serving import LogFormat, log_to_stderr

NAME = "in/two\nlines\x1b[2J.csv"
SHOWN = r"in/two\nlines\x1b[2J.csv"


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("lume_local")
    before = logger.handlers[:], logger.level, logger.propagate
    yield logger
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.mark.parametrize("wanted", ["text", None])
def test_a_message_is_one_line(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], wanted: LogFormat | None
) -> None:
    log_to_stderr(wanted)
    logger.warning("arrival acme: %s is refused", NAME)
    try:
        raise LookupError(NAME)
    except LookupError:
        logger.exception("arrival acme: an error")
    logger.info("arrival acme: a run")
    first, second, trace, *_ = capsys.readouterr().err.splitlines()
    assert first.endswith(f"arrival acme: {SHOWN} is refused")
    assert second.endswith("arrival acme: an error")
    assert trace.startswith("Traceback")
    assert first.startswith("arrival" if wanted is None else "20")


def test_json_has_the_message_as_it_is(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("json")
    logger.info("%s", NAME)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == NAME

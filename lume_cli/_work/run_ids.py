"""Run ids from the command line and, for `-`, from stdin, one per line."""

import sys
from collections.abc import Iterator, Sequence

import click

from lume_async import InvalidRequestError
from lume_async.models import check_run_id
from lume_cli._session import Session

MOST = 100_000
"""Distinct ids in one command; bounds an endless stream."""
_LONGEST_LINE = 4096


def run_ids(session: Session, given: Sequence[str]) -> list[str]:
    """The ids without duplicates, in input order. Stdin is read to its end first.

    Raises:
        click.UsageError: a line is not a valid run id, there are too many, or stdin is also to hold the API key.
    """
    found: dict[str, None] = {}
    for one in given:
        for run in _from_stdin(session) if one == "-" else (one,):
            found[run] = None
            if len(found) > MOST:
                raise click.UsageError(f"more than {MOST:,} runs: pass fewer at a time")
    if not found:
        session.say.note("no run ids on stdin; nothing to do")
    return list(found)


def _from_stdin(session: Session) -> Iterator[str]:
    if session.options.api_key_stdin:
        raise click.UsageError("stdin can't supply both the API key and the run ids: use LUME_API_KEY")
    if sys.stdin.isatty():
        session.say.note("reading run ids from the terminal, one per line; Ctrl-D to finish")
    number = 0
    while line := sys.stdin.buffer.readline(_LONGEST_LINE):
        number += 1
        text = line.decode("utf-8-sig", "replace").strip()
        if text and not text.startswith("#"):
            try:
                yield check_run_id(text)
            except InvalidRequestError as error:
                raise click.UsageError(f"stdin:{number}: {error} (`lume list -o ids` prints ids)") from None

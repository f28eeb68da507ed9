"""Reads webhook secrets from variables, stdin or a profile; never from the command line."""

import os
import sys
from collections.abc import Sequence

import click

from lume_cli._session import CommandSession
from lume_cli._settings import webhook_secret


def secrets(session: CommandSession, variables: Sequence[str], *, from_stdin: bool) -> list[bytes]:
    """The secrets, at least one.

    Raises:
        click.UsageError: a named secret is missing or blank, or there is none at all.
        ConfigurationError: the configuration file is unreadable or invalid.
    """
    missing = [name for name in variables if not os.environ.get(name)]
    if missing:
        raise click.UsageError(f"--secret-env: the variable {missing[0]} is not set")
    found = [os.fsencode(os.environ[name]) for name in variables]
    if from_stdin:
        found.append(_from_stdin())
    found = found or [webhook_secret(session.options, session.say.warn)]
    if any(not secret.strip() for secret in found):
        raise click.UsageError("the secret is blank, so anyone could sign; set a real one")
    return found


def _from_stdin() -> bytes:
    """The first line of stdin; at a terminal, prompted for without echo."""
    if sys.stdin.isatty():
        from getpass import getpass

        secret = os.fsencode(getpass("Webhook secret: ", stream=sys.stderr))
    else:
        secret = sys.stdin.buffer.readline().rstrip(b"\r\n")
    if not secret:
        raise click.UsageError("--secret-stdin: the first line of stdin is empty")
    return secret

"""Reads webhook secrets from variables, stdin or a profile; never from the command line."""

import os
from collections.abc import Sequence

import click

from lume_cli._session import CommandSession
from lume_cli._settings import webhook_secret
from lume_cli._streams import secret_line


def secrets(session: CommandSession, variables: Sequence[str], *, from_stdin: bool) -> list[bytes]:
    """Return the secrets, at least one. Raises `click.UsageError` if there is none, or one is missing or blank."""
    missing = [name for name in variables if not os.environ.get(name)]
    if missing:
        raise click.UsageError(f"--secret-env: the variable {missing[0]} is not set")
    found = [os.fsencode(os.environ[name]) for name in variables]
    if from_stdin:
        found.append(secret_line("Webhook secret: "))
        if not found[-1]:
            raise click.UsageError("--secret-stdin: the first line of stdin is empty")
    found = found or [webhook_secret(session.options, session.say.warn)]
    if any(not secret.strip() for secret in found):
        raise click.UsageError("the secret is blank, so anyone could sign; set a real one")
    return found

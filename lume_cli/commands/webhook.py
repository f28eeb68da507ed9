"""`lume webhook`: check what the service has sent."""

import os
from typing import BinaryIO

import click

from lume_cli._options import Options, output_options


@click.group("webhook")
def command() -> None:
    """Check webhook deliveries."""


@command.command("verify", short_help="Check a delivery's signature.")
@click.option("--signature", required=True, metavar="TEXT", help="The header X-Lume-Signature-256.")
@click.option(
    "--secret-env",
    "variables",
    required=True,
    multiple=True,
    metavar="VARIABLE",
    help="Environment variable with the secret; repeat it during a rotation.",
)
@click.argument("body", type=click.File("rb"), default="-", metavar="[FILE]")
@output_options
@click.pass_obj
def verify(options: Options, *, signature: str, variables: tuple[str, ...], body: BinaryIO) -> None:
    """Check that the raw body in FILE (or stdin) was signed with the secret.

    Exits with 0 where it was, with 1 where it was not. The body must be the delivery byte for byte.

    \b
    lume webhook verify --signature sha256=6f0c… --secret-env LUME_WEBHOOK_SECRET body.json
    """
    from lume_async import webhooks
    from lume_cli._session import Session

    session = Session(options)
    missing = [name for name in variables if not os.environ.get(name)]
    if missing:
        raise click.UsageError(f"--secret-env: the variable {missing[0]} is not set")
    webhooks.verify(body.read(), signature, [os.environ[name] for name in variables])
    if session.data.format == "table":
        session.data.line("valid")
    else:
        session.data.document({"valid": True})

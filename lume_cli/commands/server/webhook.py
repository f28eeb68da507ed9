"""`lume webhook`: receive and verify webhook deliveries."""

import click

from lume_cli._options import (
    GlobalOptions,
    Seconds,
    output_options,
    profile_option,
    secret_options,
    verbose_option,
)


@click.group("webhook")
def command() -> None:
    """Receive and verify webhook deliveries."""


@command.command("verify", short_help="Verify the signature of a delivery.")
@click.option(
    "--signature",
    required=True,
    metavar="TEXT",
    help="Value of the header X-Lume-Signature-256; or that of webhook-signature, with --id and --timestamp.",
)
@click.option("--id", "delivery_id", metavar="TEXT", help="Value of the header webhook-id.")
@click.option("--timestamp", metavar="TEXT", help="Value of the header webhook-timestamp.")
@click.option(
    "--tolerance",
    type=Seconds(),
    default=300.0,
    show_default="5m",
    metavar="S",
    help="How far the timestamp may be from now: 90, 5m, 2h …",
)
@secret_options
@click.argument(
    "body", type=click.Path(exists=True, dir_okay=False, allow_dash=True), default="-", metavar="[FILE]"
)
@profile_option
@output_options
@click.pass_obj
def verify(
    options: GlobalOptions,
    *,
    signature: str,
    delivery_id: str | None,
    timestamp: str | None,
    tolerance: float,
    variables: tuple[str, ...],
    secret_stdin: bool,
    body: str,
) -> None:
    """Verify that the raw body in FILE (or stdin) was signed with the secret.

    Exits with 0 if the signature is valid, else with 1. The body must be the delivery byte for byte.

    \b
    lume webhook verify --signature sha256=6f0c… --secret-env LUME_WEBHOOK_SECRET body.json
    lume webhook verify --signature "v1,K5oZ…" --id dlv_1 --timestamp 1764087000 body.json
    """
    from lume_async import webhooks
    from lume_cli._session import CommandSession
    from lume_cli._settings import webhook_secrets

    signed = _signed(signature, delivery_id, timestamp)
    session = CommandSession(options)
    if secret_stdin and body == "-":
        raise click.UsageError("stdin can't supply both the secret and the body: pass the body as FILE")
    found = webhook_secrets(options, variables, from_stdin=secret_stdin, warn=session.say.warn)
    with click.open_file(body, "rb") as file:
        webhooks.verify(file.read(), signed, found, tolerance=tolerance)
    session.data.one("valid", {"valid": True})


def _signed(signature: str, delivery_id: str | None, timestamp: str | None) -> str | dict[str, str]:
    """Return the argument of `webhooks.verify`: our own header's value, or the Standard Webhooks headers."""
    is_standard = "v1," in signature
    if delivery_id is None and timestamp is None and not is_standard:
        return signature
    if delivery_id is None or timestamp is None or not is_standard:
        raise click.UsageError(
            "the headers of Standard Webhooks belong together: pass --id, --timestamp and the value of "
            "webhook-signature, which begins with v1, as --signature"
        )
    return {"webhook-id": delivery_id, "webhook-timestamp": timestamp, "webhook-signature": signature}


@command.command("listen", short_help="Receive deliveries and print them.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    default=0,
    help="Port to listen on; default: a free one.",
)
@secret_options
@click.option("--once", is_flag=True, help="Same as --count 1.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Exit after N verified deliveries.")
@click.option(
    "--timeout",
    type=Seconds(above_zero=True),
    metavar="S",
    help="Exit after this time (90, 5m, 2h …); with 124 if --count was not reached.",
)
@click.option(
    "--forward",
    "forward_url",
    metavar="URL",
    help="Forward verified deliveries to this URL and return its response.",
)
@profile_option
@output_options
@verbose_option
@click.pass_obj
def listen(
    options: GlobalOptions,
    *,
    host: str,
    port: int,
    variables: tuple[str, ...],
    secret_stdin: bool,
    once: bool,
    count: int | None,
    timeout: float | None,
    forward_url: str | None,
) -> None:
    """Receive webhooks during development: verify each delivery, respond, and print a line.

    The URL for the server is printed on stderr. Deliveries not signed with the secret are rejected.

    \b
    lume webhook listen --port 9000
    lume webhook listen --once --timeout 1m -o ndjson | jq .run_id
    lume webhook listen --forward http://127.0.0.1:8000/lume/
    """
    from lume_cli._session import CommandSession
    from lume_cli._settings import webhook_secrets
    from lume_cli._work.webhook import Forward, Listening

    if once and count is not None:
        raise click.UsageError("--once and --count are mutually exclusive")
    session = CommandSession(options)
    found = webhook_secrets(options, variables, from_stdin=secret_stdin, warn=session.say.warn)
    forward = Forward(forward_url) if forward_url is not None else None
    listening = Listening(session, found, wanted=1 if once else count, forward=forward)
    session.finish(
        listening.until_ended(host, port, timeout), lambda: (f"interrupted: {listening.summary()}", None)
    )

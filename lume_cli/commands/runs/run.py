"""`lume run`: submit a run and, with --wait, wait for it."""

from pathlib import Path
from typing import Any

import click

from lume_cli._options import (
    GlobalOptions,
    Waiting,
    pairs,
    server_or_ids_options,
    submit_and_wait_options,
    submit_options,
)


@click.command("run")
@click.argument("flow")
@click.argument("source")
@submit_options
@click.option(
    "--idempotency-key", metavar="KEY", help="Your own idempotency key: it never creates a second run."
)
@click.option("--webhook-url", metavar="URL", help="Where the server sends a webhook when the run has ended.")
@click.option(
    "--priority",
    type=click.IntRange(0, 9),
    metavar="N",
    default=0,
    help="Above 0: begin before other waiting runs; the key needs the role admin.",
)
@click.option("--upload", is_flag=True, help="SOURCE is a file on this machine: send it to the server first.")
@click.option(
    "--seed",
    "seeds",
    multiple=True,
    metavar="NAME=FILE",
    callback=lambda _context, parameter, values: pairs(parameter, values),
    help="A CSV file on this machine in place of a seed of FLOW, for this run; repeatable.",
)
@submit_and_wait_options
@server_or_ids_options
@click.pass_obj
def command(
    options: GlobalOptions,
    /,
    *,
    flow: str,
    source: str,
    upload: bool,
    seeds: dict[str, str] | None,
    waiting: Waiting | None,
    **how: Any,
) -> None:
    """Run FLOW (such as customer_cleaner:v1) on SOURCE and print the run's id.

    SOURCE is a file path or URI that the server can read, or a batch identifier, as the flow expects it.
    With --upload it is a file on this machine, which is a new source each time.

    \b
    lume run customer_cleaner:v1 customers.csv --wait
    lume run customer_cleaner:v1 ~/Downloads/customers.csv --upload --wait
    lume run sales:v2 march.csv --seed rates=march_rates.csv
    run=$(lume run invoices:v3 batch_42 --metadata ticket=OPS-7)
    """
    from lume_cli._session import CommandSession
    from lume_cli._work.run import RunSubmission

    if upload:
        _check_file("--upload", source)
    for name, file in (seeds or {}).items():
        if "://" not in file:
            _check_file(f"--seed {name}", file)
    session = CommandSession(options, "ids")
    submission = RunSubmission(session, waiting)
    session.finish_with_client(
        lambda client: submission.to_end(client, flow, source, is_uploaded=upload, seeds=seeds, **how),
        submission.interruption,
    )


def _check_file(option: str, name: str) -> None:
    path = Path(name)
    if not path.is_file():
        what = "is a folder: pass a file in it" if path.is_dir() else "is not a file that can be sent"
        raise click.UsageError(f"{option}: {name} {what if path.exists() else 'does not exist'}")

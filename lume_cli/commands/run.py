"""`lume run`: submit a run and, with --wait, wait for it."""

from pathlib import Path

import click

from lume_cli._options import GlobalOptions, server_or_ids_options, submit_options, wait_options


@click.command("run")
@click.argument("flow")
@click.argument("source")
@submit_options
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Your own idempotency key: it never creates a second run.",
)
@click.option("--upload", is_flag=True, help="SOURCE is a file on this machine: send it to the server first.")
@click.option(
    "--wait", "-w", is_flag=True, help="Wait for the run to finish; the exit code reflects its status."
)
@wait_options
@server_or_ids_options
@click.pass_obj
def command(
    options: GlobalOptions,
    *,
    flow: str,
    source: str,
    force_rerun: bool,
    metadata: dict[str, str] | None,
    on_duplicate: str,
    idempotency_key: str | None,
    upload: bool,
    wait: bool,
    timeout: float | None,
    poll_interval: float | None,
    allow_partial: bool,
) -> None:
    """Run FLOW (such as customer_cleaner:v1) on SOURCE and print the run's id.

    SOURCE is a file path or URI that the server can read, or a batch identifier, as the flow expects it.
    With --upload it is a file on this machine, which is a new source each time.

    \b
    lume run customer_cleaner:v1 customers.csv --wait
    lume run customer_cleaner:v1 ~/Downloads/customers.csv --upload --wait
    run=$(lume run invoices:v3 batch_42 --metadata ticket=OPS-7)
    """
    from lume_cli._output import exit_codes
    from lume_cli._session import CommandSession
    from lume_cli._work.run import RunSubmission

    if not wait and (timeout is not None or poll_interval is not None):
        raise click.UsageError("--timeout and --poll-interval need --wait")
    if upload and not Path(source).is_file():
        what = f"{source} is a folder: pass a file in it" if Path(source).is_dir() else f"no file at {source}"
        raise click.UsageError(f"--upload: {what}")
    session = CommandSession(options, ids=True)
    submission = RunSubmission(session, flow, source)

    async def work() -> int:
        async with session.client() as client:
            run = await submission.begin(
                client,
                is_waited_for=wait,
                timeout=timeout,
                is_uploaded=upload,
                run_metadata=metadata,
                force_rerun=force_rerun,
                idempotency_key=idempotency_key,
                on_duplicate=on_duplicate,
            )
            if not wait:
                return exit_codes.OK
            return await submission.until_ended(run, timeout, poll_interval, allow_partial=allow_partial)

    session.finish(work(), submission.interruption)

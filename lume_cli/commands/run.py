"""`lume run`: submit a run, and wait for it if asked to."""

import click

from lume_cli._options import Options, server_options, submit_options, wait_options


@click.command("run")
@click.argument("flow")
@click.argument("source")
@submit_options
@click.option("--idempotency-key", metavar="KEY", help="Your own key: the same one never makes a second run.")
@click.option("--wait", "-w", is_flag=True, help="Wait for the end; the exit code says how the run ended.")
@wait_options
@server_options
@click.pass_obj
def command(
    options: Options,
    *,
    flow: str,
    source: str,
    force_rerun: bool,
    metadata: dict[str, str] | None,
    on_duplicate: str,
    idempotency_key: str | None,
    wait: bool,
    timeout: float | None,
    poll_interval: float | None,
    allow_partial: bool,
) -> None:
    """Run FLOW (such as customer_cleaner:v1) on SOURCE and print the run's id.

    SOURCE is the file's URI or the batch identifier that the flow understands.

    \b
    lume run customer_cleaner:v1 customers.csv --wait
    run=$(lume run invoices:v3 batch_42 --metadata ticket=OPS-7)
    """
    from lume_async import LumeRun, RunStatus
    from lume_cli import _exits, _runs
    from lume_cli._session import Session
    from lume_cli._waiting import follow

    if not wait and (timeout is not None or poll_interval is not None):
        raise click.UsageError("--timeout and --poll-interval are for waiting: add --wait")
    session = Session(options)
    data, started, shown = session.data, list[LumeRun](), list[RunStatus | None]()

    async def work() -> int:
        async with session.client() as client:
            run = await client.run(
                flow,
                source,
                dict(metadata) if metadata else None,
                force_rerun,
                idempotency_key=idempotency_key,
                on_duplicate="attach" if on_duplicate == "attach" else "raise",
            )
            started.append(run)
            shown.append(run.status)
            if run.reused:
                session.say.note(f"run {run.id} holds this source already: following it")
            if data.format == "table":
                data.line(run.id)
            elif data.format == "ndjson" or not wait:
                data.document(_runs.to_dict(run))
            if not wait:
                return _exits.OK
            try:
                await follow(session, run, timeout, poll_interval, changed)
            finally:
                if data.format == "json":
                    data.document(_runs.to_dict(run))
            return _exits.of_status(run.status, allow_partial=allow_partial)

    def changed(snapshot: LumeRun) -> None:
        if data.format == "ndjson" and snapshot.status != shown[-1]:
            shown.append(snapshot.status)
            data.document(_runs.to_dict(snapshot))

    def interrupted() -> tuple[str, str | None]:
        if started:
            return session.resume_wait([started[0].id])
        looking = session.command("list", "--flow", flow, "--source", source)
        return f"interrupted while submitting: a run may exist, see `{looking}`", None

    session.finish(work(), interrupted)

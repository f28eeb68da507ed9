"""`lume show`: show runs in detail."""

import click

from lume_cli._options import GlobalOptions, runs_argument, server_options


@click.command("show")
@runs_argument
@server_options
@click.pass_obj
def command(options: GlobalOptions, *, runs: tuple[str, ...]) -> None:
    """Show each RUN in detail: times, stages, rows, reject reasons, output locations, webhooks and messages.

    With -o json, one RUN is an object; several, or - (ids from stdin, one per line), are a list.

    \b
    lume show run_01HY
    lume show run_01HY -o json | jq .metadata.metrics.reject_reasons
    lume list --status FAILED -o ids | lume show -
    """
    from lume_async import ApiError, Client, NotSupportedError
    from lume_cli._output import exit_codes, run_view
    from lume_cli._output.run_view import Shown
    from lume_cli._session import CommandSession
    from lume_cli._work.run_ids import each, run_ids, whole_ids

    session = CommandSession(options)
    ids, data = run_ids(session, runs), session.data
    is_list = len(ids) != 1 or "-" in runs

    async def work(client: Client) -> int:
        async def shown(run_id: str) -> Shown:
            run = await client.run_status(run_id)
            try:
                return run, await run.deliveries()
            except NotSupportedError:
                return run, None
            except ApiError as error:
                session.say.warn(f"the deliveries of run {run.id} are not shown: {error}")
                return run, None

        found, codes = await each(session, await whole_ids(client, ids), shown)
        if data.format == "table":
            for number, one in enumerate(found):
                if number:
                    data.line("")
                data.page(run_view.whole_page(*one))
        elif data.format == "json" and is_list:
            data.document([run_view.whole_dict(*one) for one in found])
        else:
            for one in found:
                data.document(run_view.whole_dict(*one))
        return exit_codes.worst(codes)

    session.finish_with_client(work)

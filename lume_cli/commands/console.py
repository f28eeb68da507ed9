"""`lume console`: a link to the console of an embedded server."""

import click

from lume_cli._options import Options, server_options


@click.command("console")
@server_options
@click.pass_obj
def command(options: Options) -> None:
    """Print a link to the console of a server that `lume serve` runs. It works once, within 10 minutes.

    \b
    xdg-open "$(lume console)"
    """
    from lume_cli._output import exit_codes
    from lume_cli._session import Session
    from lume_cli._work.console import link

    session = Session(options)

    async def work() -> int:
        url = await link(session)
        if session.data.format == "table":
            session.data.line(url)
        else:
            session.data.document({"url": url})
        return exit_codes.OK

    session.finish(work(), lambda: ("interrupted", None))

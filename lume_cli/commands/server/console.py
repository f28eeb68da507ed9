"""`lume console`: a link to the console of an embedded server."""

from typing import TYPE_CHECKING

import click

from lume_cli._options import GlobalOptions, server_options

if TYPE_CHECKING:
    from lume_async import Client


@click.command("console")
@server_options
@click.pass_obj
def command(options: GlobalOptions) -> None:
    """Print a link to the console of a server that `lume serve` runs. It works once, within 10 minutes.

    \b
    xdg-open "$(lume console)"
    """
    from lume_async import InvalidRequestError, ResponseDecodeError
    from lume_cli._session import CommandSession

    session = CommandSession(options)

    async def work(client: "Client") -> None:
        # How a browser signs in is not in the contract, so the client has no method for it.
        try:
            token = (await client.request("POST", "/console/links")).json()["token"]
        except (InvalidRequestError, ResponseDecodeError, LookupError, TypeError) as error:
            raise click.ClickException(f"{client.base_url} has no console ({error}): `lume doctor`") from None
        url = f"{client.base_url}/#token={token}"
        session.data.one(url, {"url": url})

    session.finish_with_client(work)

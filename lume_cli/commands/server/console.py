"""`lume console`: a link to the console of an embedded server."""

from typing import TYPE_CHECKING

import click

from lume_cli._options import server_options
from lume_cli.commands import with_client

if TYPE_CHECKING:
    from lume_async import Client
    from lume_cli._session import CommandSession


@click.command("console")
@click.option(
    "--name", metavar="NAME", help="Who will open it, for the audit and the console's header; default: you."
)
@server_options
@with_client
async def command(session: "CommandSession", client: "Client", *, name: str | None) -> None:
    """Print a link to the console of a server that `lume serve` runs. It works once, within 10 minutes.

    The audit and runs name its user as server:NAME, or by the key if that was made with `lume key`.

    \b
    xdg-open "$(lume console)"
    lume console --name anna
    """
    from lume_async import InvalidRequestError, ResponseDecodeError
    from lume_cli._server_file import user

    # How a browser signs in is not in the contract, so the client has no method for it.
    try:
        body = {"name": name or user()}
        made = (await client.request("POST", "/console/links", json=body)).json()
        token, bearer = made["token"], made.get("name")
    except (InvalidRequestError, ResponseDecodeError, LookupError, TypeError, AttributeError) as error:
        raise click.ClickException(f"{client.base_url} has no console ({error}): `lume doctor`") from None
    if name is not None and bearer != f"server:{name}":
        raise click.ClickException(f"this key is {bearer}'s, and so are its links: leave out --name")
    url = f"{client.base_url}/#token={token}"
    session.data.one(url, {"url": url})

"""`lume console`: a link to the console of an embedded server."""

from typing import TYPE_CHECKING

import click

from lume_cli._options import GlobalOptions, server_options

if TYPE_CHECKING:
    from lume_cli._session import CommandSession

_TIMEOUT = 10.0


@click.command("console")
@server_options
@click.pass_obj
def command(options: GlobalOptions) -> None:
    """Print a link to the console of a server that `lume serve` runs. It works once, within 10 minutes.

    \b
    xdg-open "$(lume console)"
    """
    from lume_cli._session import CommandSession

    session = CommandSession(options)

    async def work() -> None:
        url = await _link(session)
        session.data.one(url, {"url": url})

    session.finish(work())


async def _link(session: "CommandSession") -> str:
    """Return a new link. How a browser signs in is not in the contract, so it is not in the client."""
    from aiohttp import ClientError, ClientSession, ClientTimeout

    from lume_async import AuthenticationError
    from lume_cli._settings import resolve

    settings = resolve(session.options, session.say.warn).check()
    base_url = (settings.base_url or "").rstrip("/")
    headers = {"lume-api-key": settings.key()}
    timeout = ClientTimeout(settings.request_timeout or _TIMEOUT)
    try:
        async with (
            ClientSession(headers=headers, trust_env=True, timeout=timeout) as http,
            http.post(f"{base_url}/console/links", allow_redirects=False) as answer,
        ):
            if answer.status in (401, 403):
                raise AuthenticationError(f"{base_url} rejected the API key", status_code=answer.status)
            if answer.status != 201:
                raise click.ClickException(f"{base_url} has no console (status {answer.status})")
            token = (await answer.json())["token"]
    except (ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError) as error:
        why = str(error) or type(error).__name__
        raise click.ClickException(
            f"{base_url} does not respond as expected ({why}): `lume doctor`"
        ) from None
    return f"{base_url}/#token={token}"

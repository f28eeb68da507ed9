"""A link to the console. The work of `console`; how a browser signs in is not in the contract, nor in the client."""

import click
from aiohttp import ClientError, ClientSession, ClientTimeout

from lume_async import AuthenticationError
from lume_cli._session import Session
from lume_cli._settings import resolve

_TIMEOUT = 10.0


async def link(session: Session) -> str:
    """A new link.

    Raises:
        ConfigurationError: a setting is missing or invalid.
        ApiConnectionError: the server of the nearest `.lume` does not run.
        AuthenticationError: the key was refused.
        click.ClickException: the server doesn't respond, or has no console.
    """
    settings = resolve(session.options, session.say.warn).checked()
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

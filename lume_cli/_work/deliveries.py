"""The webhooks and messages of a run, from servers that list them."""

from lume_async import ApiError, Delivery, LumeRun, NotSupportedError
from lume_cli._session import CommandSession


async def deliveries_of(session: CommandSession, run: LumeRun) -> list[Delivery] | None:
    """Return the deliveries of a run; None if the server does not list them, or on an error, which is reported."""
    try:
        return await run.deliveries()
    except NotSupportedError:
        return None
    except ApiError as error:
        session.say.warn(f"what was sent about run {run.id} is not shown: {error}")
        return None

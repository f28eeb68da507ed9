"""The runs that earlier attempts of a task have started, by their keys: a server need not know keys, or keep them.

What is not forced it refuses as a duplicate all the same; what is forced would become a second run.
"""

from collections.abc import Collection
from typing import Any

from lume_airflow._identity import key_of
from lume_async import Client, LumeRun, NotSupportedError


async def runs_by_key(client: Client, keys: Collection[str], **filters: Any) -> dict[str, LumeRun]:
    """Those among the runs that the filters let through; none where the server has no list.

    Raises:
        LumeError: the list could not be read.
    """
    found: dict[str, LumeRun] = {}
    try:
        async for run in client.list_runs(**filters):
            key = key_of(run)
            if key in keys:
                found.setdefault(str(key), run)
                if len(found) == len(keys):
                    break
    except NotSupportedError as error:
        if not error.is_certain:
            raise
    return found

"""The runs that earlier attempts of a task have started, by their keys: a server need not know keys, or keep them.

What is not forced it refuses as a duplicate all the same; what is forced would become a second run.
"""

from collections.abc import Collection
from typing import Any

from lume_airflow._identity import key_of
from lume_async import ApiError, Client, LumeRun

NO_LIST = (405, 501)
"""What a server says that takes submissions at that path and has no list; a 404 is one of a gateway."""


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
    except ApiError as error:
        if error.status_code not in NO_LIST:
            raise
    return found

"""Finds the runs that earlier attempts of a task have started, as servers may not support or keep idempotency keys.

Without `force_rerun` such a server refuses a duplicate; with it, it would start a second run.
"""

from collections.abc import Collection
from typing import Any

from lume_airflow._identity import key_of
from lume_async import ApiError, Client, LumeRun

NO_LIST = (405, 501)
"""The statuses of a server that accepts submissions at that path but has no list; a 404 comes from a gateway."""


async def runs_by_key(client: Client, keys: Collection[str], **filters: Any) -> dict[str, LumeRun]:
    """The runs with these keys among those that match the filters; empty if the server has no list.

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

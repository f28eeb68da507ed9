"""`LumeHook`: clients from an Airflow connection of type `lume`."""

from typing import Any

import lume_async
import lume_sync
from lume_airflow._compat import BaseHook
from lume_airflow._connection import ConnectionSettings
from lume_airflow._supervisor import ask_once
from lume_airflow.provider_info import ui_field_behaviour

__all__ = ["LumeHook"]


class LumeHook(BaseHook):
    """Clients for the service of a connection: its host is the base URL, its password the API key.

    Args:
        lume_conn_id: the connection.
    """

    conn_name_attr = "lume_conn_id"
    default_conn_name = "lume_default"
    conn_type = "lume"
    hook_name = "Lume"

    def __init__(self, lume_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.lume_conn_id = lume_conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form of a connection, for an Airflow that does not read it from the provider's metadata."""
        return {name.replace("-", "_"): value for name, value in ui_field_behaviour().items()}

    def settings(self) -> ConnectionSettings:
        """Return the connection, checked.

        Raises:
            ConfigurationError: a field is missing or not valid; the message names it.
        """
        return ConnectionSettings.of(self.get_connection(self.lume_conn_id))

    async def asettings(self) -> ConnectionSettings:
        """Return the same for triggers, where looking up a connection must not block."""
        look_up = getattr(self, "aget_connection", None)
        if look_up is not None:
            key = ("connection", self.lume_conn_id)
            return ConnectionSettings.of(await ask_once(key, lambda: look_up(self.lume_conn_id)))
        from asgiref.sync import sync_to_async  # for Airflow 2, which can only look up with blocking

        settings: ConnectionSettings = await sync_to_async(self.settings)()
        return settings

    def get_conn(self) -> "lume_sync.Client":
        """Return the same as `get_client`, under Airflow's name."""
        return self.get_client()

    def get_client(self) -> "lume_sync.Client":
        """Return a synchronous client; close it, or use it in a `with` block."""
        return lume_sync.Client(**self.settings().client_options())

    async def get_async_client(self) -> "lume_async.Client":
        """Return an asynchronous client, for a trigger or a task on an event loop; close it."""
        return lume_async.Client(**(await self.asettings()).client_options())

    def test_connection(self) -> tuple[bool, str]:
        """Return whether the service answers and accepts the API key, and a message."""
        try:
            with self.get_client() as client:
                newest = next(iter(client.list_runs(limit=1)), None)
        except lume_async.LumeError as error:
            return False, str(error)
        seen = f"its newest run is {newest.id}" if newest else "it has no runs yet"
        return True, f"{client.base_url} accepts the key; {seen}"
